"""A shadow sees what production answered, is counted beside it, and stands in nobody's way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import structlog

from builders import COLOURS, SIDE, golden, picture, write_bundle
from eyasd.core.device import Transport
from eyasd.core.names import ModelRef
from eyasd.core.preprocess import Preprocess
from eyasd.core.traffic import Shadow
from eyasd.registry.models import Models
from eyasd.serving.cache import Said
from eyasd.serving.catalog import FleetOptions
from eyasd.serving.decoding.decoding import Here
from eyasd.serving.engine.loading import EngineOptions, LoadedVersion
from eyasd.serving.fleet import Fleet
from eyasd.serving.labelling import labelled
from eyasd.serving.network.session import CPU
from eyasd.serving.question import Question
from eyasd.serving.seen import Seen
from eyasd.serving.shadow import Sample, Shadows, distance
from eyasd.telemetry.metrics import Metrics

ANN: dict[str, Any] = {"actor": "ann", "reason": ""}
PIXELS = dict(zip(COLOURS, golden().images, strict=True))
SAID = dict(zip(COLOURS, golden().probabilities, strict=True))


@pytest.fixture
async def fleet(
    models: Models, metrics: Metrics, log: structlog.typing.FilteringBoundLogger, tmp_path: Path
) -> AsyncIterator[Fleet]:
    """A fleet in whose model `colours` the second version calls blue red and red blue, and is the shadow."""
    names = tuple(reversed(COLOURS))
    for number, more in enumerate(({}, {"labels": names}, {"preprocess": Preprocess(SIDE, crop_fraction=0.5)}), 1):
        models.publish("colours", write_bundle(tmp_path / str(number), job=f"job{number}", **more), f"job{number}")  # type: ignore[arg-type]
    models.aliases.set("colours", "production", 1, **ANN)
    models.set_traffic("colours", None, Shadow(ModelRef("colours", version=2), 25.0), **ANN)
    engine = EngineOptions(
        provider=CPU, precision="fp32", threads=1, max_batch_size=4, max_delay_seconds=0, slots=16, transport=Transport.THREAD
    )
    options = FleetOptions(engine=engine, poll_interval_seconds=1, retry_interval_seconds=60, memory_bytes=10**9)
    made = Fleet(models, options, metrics, log)
    await made.refresh()
    await made.settle()
    yield made
    await made.close()


@pytest.fixture
async def production(fleet: Fleet) -> LoadedVersion:
    return await fleet.find(ModelRef("colours", alias="production"))


@pytest.fixture
def flips() -> list[Any]:
    """What was told of pictures that the shadow gave another label."""
    return []


@pytest.fixture
async def shadows(
    fleet: Fleet, metrics: Metrics, log: structlog.typing.FilteringBoundLogger, flips: list[Any]
) -> AsyncIterator[Shadows]:
    made = Shadows(fleet, metrics, log, draw=iter([0.24, 0.25] * 10).__next__, on_flip=lambda *flip: flips.append(flip))
    yield made
    await made.close()


async def done(shadows: Shadows) -> None:
    while shadows._running:
        await asyncio.wait(shadows._running.values())


def sample(production: LoadedVersion, *colours: str, with_pixels: bool = True) -> Sample:
    files = [picture(COLOURS[colour]) for colour in colours]
    pixels = [PIXELS[colour] if with_pixels else None for colour in colours]
    answers = [(file, seen, SAID[colour]) for file, seen, colour in zip(files, pixels, colours, strict=True)]
    return Sample(production, [answered(production, *answer) for answer in answers])


def answered(production: LoadedVersion, picture: Any, pixels: Any, probabilities: Any) -> Seen:
    said = Said(probabilities, None)
    labels = labelled(production, said, Question(ModelRef("colours", version=1), [picture], 1.0))
    return Seen(production, picture, pixels, said, labels, routed=True)


def counted(metrics: Metrics, name: str, **labels: str) -> float:
    return metrics.registry.get_sample_value(f"eyas_shadow_{name}", {"model": "colours", **labels}) or 0


def test_the_distance_is_by_label() -> None:
    one, other = np.array([0.7, 0.3], np.float32), np.array([0.5, 0.5], np.float32)
    assert distance(("a", "b"), one, ("a", "b"), other) == pytest.approx(0.2)
    assert distance(("a", "b"), one, ("b", "a"), np.array([0.3, 0.7], np.float32)) == pytest.approx(0.0)
    assert distance(("a", "b"), one, ("a", "c"), one) == pytest.approx(0.3)
    assert distance(("a", "b"), one, ("c", "d"), one) == pytest.approx(1.0)


async def test_its_share_is_drawn(shadows: Shadows, production: LoadedVersion, models: Models, fleet: Fleet) -> None:
    assert [shadows.sample(production) is not None for _ in range(4)] == [True, False, True, False]
    models.set_traffic("colours", None, None, **ANN)
    await fleet.refresh()
    assert shadows.sample(production) is None


async def test_what_it_says_is_counted_beside_production(
    shadows: Shadows, production: LoadedVersion, metrics: Metrics, flips: list[Any]
) -> None:
    shadows.show(sample(production, "red", "green", "red", "blue"))
    await done(shadows)
    assert counted(metrics, "images_total", version="2", label="same") == 1
    assert counted(metrics, "images_total", version="2", label="different") == 3
    assert counted(metrics, "flips_total", version="2", production_label="red", shadow_label="blue") == 2
    assert counted(metrics, "flips_total", version="2", production_label="blue", shadow_label="red") == 1
    assert counted(metrics, "distance_count", version="2") == 4
    assert counted(metrics, "distance_bucket", version="2", le="0.1") == 1
    told = [(list(COLOURS)[seen.said.probabilities.argmax()], label) for seen, label, _ in flips]
    assert told == [("red", "blue"), ("red", "blue"), ("blue", "red")]
    assert all(0.1 < apart <= 1 for *_, apart in flips)


async def test_pixels_are_used_again_where_both_see_alike(
    shadows: Shadows, production: LoadedVersion, models: Models, fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[Preprocess] = []
    load_image = Here.load

    def load(self: Here, encoded: bytes, spec: Preprocess, *rest: Any) -> None:
        decoded.append(spec)
        load_image(self, encoded, spec, *rest)

    monkeypatch.setattr(Here, "load", load)
    shadows.show(sample(production, "red"))
    await done(shadows)
    assert decoded == []
    shadows.show(sample(production, "red", with_pixels=False))  # as its answer was in the cache
    await done(shadows)
    models.set_traffic("colours", None, Shadow(ModelRef("colours", version=3), 25.0), **ANN)
    await fleet.refresh()
    await fleet.settle()
    await fleet.refresh()
    shadows.show(sample(production, "red"))
    await done(shadows)
    assert [spec.crop_fraction for spec in decoded] == [1.0, 0.5]


async def test_it_is_dropped_where_it_would_be_in_the_way(
    shadows: Shadows,
    production: LoadedVersion,
    models: Models,
    fleet: Fleet,
    metrics: Metrics,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shadows.show(sample(production, "red"))
    shadows.show(sample(production, "red", "red"))
    await done(shadows)
    assert counted(metrics, "dropped_total", reason="unfinished") == 2
    monkeypatch.setattr(Fleet, "waiting", True)
    shadows.show(sample(production, "red", "red", "red"))
    await done(shadows)
    assert counted(metrics, "dropped_total", reason="busy") == 3
    monkeypatch.setattr(Fleet, "waiting", False)
    broken = Sample(production, [answered(production, b"no picture", None, SAID["red"])])
    shadows.show(broken)
    await done(shadows)
    assert counted(metrics, "dropped_total", reason="failed") == 1
    models.set_traffic("colours", None, Shadow(ModelRef("colours", version=3), 25.0), **ANN)
    await fleet.refresh()
    shadows.show(sample(production, "red"))  # the new one is being loaded
    assert counted(metrics, "dropped_total", reason="not_loaded") == 1
    await fleet.settle()
    await fleet.refresh()
    shadows.show(Sample(production, [answered(production, PIXELS["red"], PIXELS["red"], SAID["red"])]))  # which were never a file
    await done(shadows)
    assert counted(metrics, "dropped_total", reason="other_size") == 1
    assert counted(metrics, "images_total", version="2", label="different") == 1


def test_of_many_flips_the_rest_are_other(shadows: Shadows, metrics: Metrics) -> None:
    for number in range(150):
        flip = shadows._flip("colours", 2, (f"label {number}", "red"))
        metrics.shadow_flips.labels("colours", "2", *flip).inc()
        assert flip == ((f"label {number}", "red") if number < 100 else ("other", "other"))
    assert shadows._flip("colours", 2, ("label 7", "red")) == ("label 7", "red")
    assert counted(metrics, "flips_total", version="2", production_label="other", shadow_label="other") == 50
    assert shadows._flip("colours", 3, ("label 149", "red")) == ("label 149", "red")
    assert counted(metrics, "flips_total", version="2", production_label="label 7", shadow_label="red") == 0
