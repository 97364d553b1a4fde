"""Who watches answers is told of each picture that was answered, with its pixels where they were wanted, once the answer is out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
import structlog

from builders import COLOURS, golden, picture, write_bundle
from eyasd.core.device import Transport
from eyasd.core.names import ModelRef
from eyasd.registry.models import Models
from eyasd.serving.cache import Cache
from eyasd.serving.catalog import FleetOptions
from eyasd.serving.classifier import Classifier
from eyasd.serving.engine.loading import EngineOptions, LoadedVersion
from eyasd.serving.fleet import Fleet
from eyasd.serving.network.session import CPU
from eyasd.serving.question import Question
from eyasd.serving.queue.admission import Admission
from eyasd.serving.seen import Seen
from eyasd.serving.shadow import Shadows
from eyasd.telemetry.metrics import Metrics


class EverySecond:
    """Wants the pixels of every second picture."""

    def __init__(self) -> None:
        self.asked = 0
        self.seen: list[Seen] = []

    def wants(self, loaded: LoadedVersion) -> bool:
        self.asked += 1
        return self.asked % 2 == 0

    def see(self, seen: Seen) -> None:
        self.seen.append(seen)


@pytest.fixture
def watcher() -> EverySecond:
    return EverySecond()


@pytest.fixture
async def classifier(
    models: Models, metrics: Metrics, log: structlog.typing.FilteringBoundLogger, tmp_path: Path, watcher: EverySecond
) -> AsyncIterator[Classifier]:
    models.publish("colours", write_bundle(tmp_path, job="job1"), "job1")
    models.aliases.set("colours", "production", 1, actor="ann", reason="")
    engine = EngineOptions(
        provider=CPU, precision="fp32", threads=1, max_batch_size=4, max_delay_seconds=0, slots=16, transport=Transport.THREAD
    )
    options = FleetOptions(engine=engine, poll_interval_seconds=1, retry_interval_seconds=60, memory_bytes=10**9)
    fleet = Fleet(models, options, metrics, log)
    await fleet.refresh()
    shadows = Shadows(fleet, metrics, log)
    made = Classifier(fleet, Admission(64, 1), shadows, Cache(10**6), metrics, threads=1, watchers=[watcher])
    yield made
    made.close()
    await shadows.close()
    await fleet.close()


async def test_it_is_told_of_what_was_answered_after_the_answer(classifier: Classifier, watcher: EverySecond) -> None:
    files = [picture(COLOURS["red"]), b"no picture", picture(COLOURS["blue"])]
    classified = await classifier.classify(Question(ModelRef("colours", alias="production"), files, 30.0))
    assert not watcher.seen
    await asyncio.sleep(0)
    assert [seen.picture for seen in watcher.seen] == [files[0], files[2]]
    assert [seen.labelled for seen in watcher.seen] == [classified.results[0], classified.results[2]]
    assert all(seen.routed and seen.said.probabilities is seen.labelled.probabilities for seen in watcher.seen)


async def test_pixels_are_kept_where_they_are_wanted_and_the_cache_did_not_answer(
    classifier: Classifier, watcher: EverySecond
) -> None:
    for colour in ("red", "blue", "green", "blue"):
        await classifier.classify(Question(ModelRef("colours", version=1), [picture(COLOURS[colour])], 30.0))
        await asyncio.sleep(0)
    _, pixels, none, cached = (seen.pixels for seen in watcher.seen)
    assert pixels is not None
    assert np.array_equal(pixels, golden().images[list(COLOURS).index("blue")])
    assert none is None
    assert cached is None
    assert not any(seen.routed for seen in watcher.seen)
