"""What answers and pictures are like is counted into the bins of the version's reference."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import numpy as np
import pytest
import structlog

from builders import COLOURS, SIDE, colour_network, golden, picture, write_bundle
from eyasd.core.device import Transport
from eyasd.core.names import ModelRef
from eyasd.core.reference import Histogram, Reference
from eyasd.core.unknown import DistributionRule, UnknownRules
from eyasd.registry.models import Models
from eyasd.serving.cache import Said
from eyasd.serving.catalog import FleetOptions
from eyasd.serving.drift.unusual import unusual
from eyasd.serving.drift.watcher import Drift
from eyasd.serving.engine.loading import EngineOptions, LoadedVersion
from eyasd.serving.fleet import Fleet
from eyasd.serving.labelling import labelled
from eyasd.serving.network.providers import CPU
from eyasd.serving.question import Question
from eyasd.serving.seen import Seen
from eyasd.telemetry import names
from eyasd.telemetry.instruments import Registry
from eyasd.telemetry.merged import Merged, families, merge
from eyasd.telemetry.metrics import Metrics

COUNTED, SHARE = "eyas_drift_images_total", "eyas_drift_reference_ratio"
REFERENCE = Reference(
    pictures=100,
    split="test",
    unknown=2,
    labels={"blue": 60, "other": 40},
    numbers={
        "confidence": Histogram((0.6, 0.9), (10, 20, 70), 0.4, 1.0),
        "brightness": Histogram((50.0, 200.0), (0, 50, 0), 40.0, 210.0),
        "size": Histogram((29.5, 30.5), (0, 50, 0), 30.0, 30.0),
        "ood_score": Histogram((1.0,), (99, 1), 0.0, 1.5),
    },
)
SEEN = dict(zip(COLOURS, golden().probabilities, strict=True))


@pytest.fixture
def unusual_ones() -> list[tuple[Seen, float]]:
    return []


@pytest.fixture
def drift(metrics: Metrics, unusual_ones: list[tuple[Seen, float]]) -> Iterator[Drift]:
    made = Drift(metrics, lambda seen, degree: unusual_ones.append((seen, degree)))
    yield made
    made.close()


@pytest.fixture
async def fleet(
    models: Models, metrics: Metrics, log: structlog.typing.FilteringBoundLogger, tmp_path: Path, drift: Drift
) -> AsyncIterator[Fleet]:
    """A fleet whose first version has a reference, and whose second was trained before there were any."""
    rules = UnknownRules(DistributionRule("largest value", 2.0, 0.99, 0.02))
    network = colour_network(ood_score=True)
    models.publish("colours", write_bundle(tmp_path / "1", job="job1", network=network, reference=REFERENCE, unknown=rules), "job1")
    models.publish("colours", write_bundle(tmp_path / "2", job="job2"), "job2")
    engine = EngineOptions(
        provider=CPU, precision="fp32", threads=1, max_batch_size=4, max_delay_seconds=0, slots=16, transport=Transport.THREAD
    )
    made = Fleet(
        models, FleetOptions(engine=engine, poll_interval_seconds=1, retry_interval_seconds=60, memory_bytes=10**9), metrics, log
    )
    made.on_load.append(drift.watch)
    made.on_unload.append(drift.leave)
    yield made
    await made.close()


@pytest.fixture
async def first(fleet: Fleet) -> LoadedVersion:
    return await fleet.find(ModelRef("colours", version=1))


def seen(loaded: LoadedVersion, colour: str, score: float = 0.5, *, pixels: bool = False, size: tuple[int, int] = (40, 30)) -> Seen:
    said = Said(SEEN[colour], score)
    file = picture(COLOURS[colour], size)
    shown = np.full((SIDE, SIDE, 3), COLOURS[colour], np.uint8) if pixels else None
    question = Question(ModelRef("colours", version=1), [file], 1.0)
    return Seen(loaded, file, shown, said, labelled(loaded, said, question), False)


def value(metrics: Metrics, name: str, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(name, {"model": "colours", "version": "1", **labels})


async def test_a_version_that_is_loaded_shows_its_reference_and_a_zero_for_each_bin(metrics: Metrics, first: LoadedVersion) -> None:
    assert value(metrics, SHARE, signal="label", bin="blue") == 60.5 / 101
    assert value(metrics, SHARE, signal="brightness", bin="0: to 50") == 0.5 / 51.5
    assert value(metrics, "eyas_drift_reference_images", signal="confidence") == 100
    assert value(metrics, "eyas_drift_reference_images", signal="brightness") == 50
    assert value(metrics, "eyas_drift_unknown_reference_ratio") == 0.02
    assert value(metrics, "eyas_drift_unknown_total") == 0
    assert value(metrics, COUNTED, signal="size", bin="2: over 30.5") == 0


async def test_processes_that_share_the_work_count_together_beside_one_reference(
    metrics: Metrics, drift: Drift, first: LoadedVersion
) -> None:
    drift.see(seen(first, "red"))
    drift.count()
    both = Registry()
    both.register(Merged(lambda: merge([families(metrics.registry)] * 2)))
    of = {"model": "colours", "version": "1", "signal": "label"}
    assert both.get_sample_value(COUNTED, {**of, "bin": "other"}) == 2
    assert both.get_sample_value(SHARE, {**of, "bin": "other"}) == 40.5 / 101
    assert both.get_sample_value("eyas_drift_reference_images", of) == 100


async def test_answers_are_counted_some_at_once_or_after_a_moment(metrics: Metrics, drift: Drift, first: LoadedVersion) -> None:
    for colour in ("blue", "red", "green", "blue"):
        drift.see(seen(first, colour))
    assert value(metrics, COUNTED, signal="label", bin="blue") == 0
    drift.count()
    assert value(metrics, COUNTED, signal="label", bin="blue") == 2
    assert value(metrics, COUNTED, signal="label", bin="other") == 2
    assert value(metrics, COUNTED, signal="confidence", bin="2: over 0.9") == 4
    assert value(metrics, COUNTED, signal="ood_score", bin="0: to 1") == 4
    for _ in range(128):
        drift.see(seen(first, "red"))
    assert value(metrics, COUNTED, signal="label", bin="other") == 130
    assert value(metrics, COUNTED, signal="brightness", bin="1: 50 to 200") == 0  # nobody wanted the pixels


async def test_what_the_rules_call_unknown_is_counted_though_the_caller_did_not_allow_it(
    metrics: Metrics, drift: Drift, first: LoadedVersion
) -> None:
    for score in (1.9, 2.1, float("nan")):
        drift.see(seen(first, "red", score))
    drift.count()
    assert value(metrics, "eyas_drift_unknown_total") == 2
    assert value(metrics, COUNTED, signal="ood_score", bin="1: over 1") == 3


async def test_pixels_and_files_are_looked_at_where_they_were_wanted(
    metrics: Metrics, drift: Drift, first: LoadedVersion, unusual_ones: list[tuple[Seen, float]]
) -> None:
    assert drift.wants(first)
    usual, wide = seen(first, "green", pixels=True), seen(first, "green", pixels=True, size=(300, 90))
    for one in (usual, wide, seen(first, "green")):
        drift.see(one)
    await drift.settle()
    assert value(metrics, COUNTED, signal="brightness", bin="1: 50 to 200") == 2
    assert value(metrics, COUNTED, signal="size", bin="1: 29.5 to 30.5") == 1
    assert value(metrics, COUNTED, signal="size", bin="2: over 30.5") == 1
    assert unusual_ones == [(wide, 1.0)]  # all pictures of the reference had 30 pixels


async def test_pixels_without_a_file_have_no_size(metrics: Metrics, drift: Drift, first: LoadedVersion) -> None:
    one = seen(first, "green", pixels=True)
    drift.see(one._replace(picture=one.pixels))
    await drift.settle()
    assert value(metrics, COUNTED, signal="brightness", bin="1: 50 to 200") == 1
    assert value(metrics, COUNTED, signal="size", bin="1: 29.5 to 30.5") == 0


async def test_more_pictures_at_once_than_the_thread_has_room_for_are_left_out(
    metrics: Metrics, drift: Drift, first: LoadedVersion
) -> None:
    one = seen(first, "green", pixels=True)
    for _ in range(64):
        drift.see(one)
    await drift.settle()
    assert value(metrics, COUNTED, signal="brightness", bin="1: 50 to 200") == 64  # all of a request
    for _ in range(200):
        drift.see(one)
    await drift.settle()
    assert value(metrics, COUNTED, signal="brightness", bin="1: 50 to 200") == 64 + 128


async def test_a_version_without_a_reference_shows_and_costs_nothing(metrics: Metrics, drift: Drift, fleet: Fleet) -> None:
    second = await fleet.find(ModelRef("colours", version=2))
    assert not drift.wants(second)
    one = seen(second, "red", pixels=True)
    drift.see(one)
    drift.count()
    await drift.settle()
    assert unusual(one) == 0
    assert not [family for family in metrics.registry.collect() if "drift" in family.name and family.samples]


async def test_a_version_that_is_one_of_too_many_is_not_compared_with_the_others(
    metrics: Metrics, drift: Drift, fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(names, "MOST_VERSIONS", 0)
    first = await fleet.find(ModelRef("colours", version=1))
    assert not drift.wants(first)
    assert (
        metrics.registry.get_sample_value(SHARE, {"model": "colours", "version": "other", "signal": "label", "bin": "blue"}) is None
    )


async def test_a_version_that_is_unloaded_is_compared_no_more(
    metrics: Metrics, drift: Drift, fleet: Fleet, first: LoadedVersion
) -> None:
    drift.see(seen(first, "red"))
    drift.count()
    await fleet.close()
    assert value(metrics, SHARE, signal="label", bin="blue") is None
    assert value(metrics, "eyas_drift_reference_images", signal="label") is None
    assert value(metrics, "eyas_drift_unknown_reference_ratio") is None
    assert value(metrics, COUNTED, signal="label", bin="other") == 1
    drift.see(seen(first, "red", pixels=True))  # answered by what held the engine
    await asyncio.sleep(0)
    assert not drift.wants(first)


async def test_how_unusual_a_picture_is_for_who_has_no_time(first: LoadedVersion) -> None:
    assert unusual(seen(first, "red", 1.0)) == 0
    assert unusual(seen(first, "red", 3.0)) == 0.5
    assert unusual(seen(first, "red", float("nan"))) == 1
