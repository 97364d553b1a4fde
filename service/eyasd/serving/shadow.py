"""What a model's shadow says of pictures that production has answered, counted beside what production said.

The shadow delays nobody: it is asked once the answer is out, decodes what it must in a thread of the lowest priority, and is not
asked at all while an engine has pictures of others, or while it is not done with the request before.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import structlog
from numpy.typing import NDArray

from eyasd.core.threads import give_way, pool
from eyasd.serving.decoding.decoding import Decoding, Here
from eyasd.serving.engine.loading import LoadedVersion
from eyasd.serving.fleet import Fleet
from eyasd.serving.question import Picture
from eyasd.serving.queue.turns import SHADOW
from eyasd.serving.seen import Seen
from eyasd.serving.spans import Spans, Times
from eyasd.telemetry import tracing
from eyasd.telemetry.metrics import Metrics
from eyasd.telemetry.names import MOST_PAIRS, OTHER, admit
from eyasd.telemetry.tracing import OFF, Kind, Trace, Tracing

# Far enough that everything else in its queue is more urgent.
_PATIENCE_SECONDS: Final = 30.0


@dataclass(slots=True)
class Sample:
    """A request that the shadow shall see: by which version it was answered, and of each picture that was, what is needed.

    Attributes:
        production: that answered.
        pictures: with their pixels, if there were any.
    """

    production: LoadedVersion
    pictures: list[Seen] = field(default_factory=list)


def distance(
    labels: Sequence[str], probabilities: NDArray[np.float32], others: Sequence[str], other_probabilities: NDArray[np.float32]
) -> float:
    """Returns the total variation distance of two distributions over labels: half of the sum of absolute differences, 0..1.

    Args:
        labels: C of them.
        probabilities: float32 [C].
        others: D labels of the other distribution; one that only one of the two knows is improbable for the other.
        other_probabilities: float32 [D].
    """
    if labels == others:
        return float(np.abs(probabilities - other_probabilities).sum()) / 2
    mine, theirs = (
        dict(zip(names, map(float, values), strict=True))
        for names, values in ((labels, probabilities), (others, other_probabilities))
    )
    return sum(abs(mine.get(label, 0.0) - theirs.get(label, 0.0)) for label in mine.keys() | theirs.keys()) / 2


class Shadows:
    """The shadows of all models, on this server. Belongs to one event loop."""

    def __init__(
        self,
        fleet: Fleet,
        metrics: Metrics,
        log: structlog.typing.FilteringBoundLogger,
        draw: Callable[[], float] = random.random,
        traces: Tracing = OFF,
        on_flip: Callable[[Seen, str, float], None] = lambda *_: None,
        decoding: Decoding | None = None,
    ) -> None:
        """Knows no shadow yet.

        Args:
            fleet: has the versions.
            metrics: counts.
            log: hears of failures.
            draw: a random number of 0..1.
            traces: where what it does is traced.
            on_flip: is told of a picture that a shadow gives another label, which, and how far its probabilities are, 0..1.
            decoding: opens files; None does so in a thread.
        """
        self._fleet = fleet
        self._metrics = metrics
        self._log = log
        self._draw = draw
        self._tracing = traces
        self._spans = Spans(fleet.provider)
        self._on_flip = on_flip
        self._decoding = decoding or Here()
        self._running: dict[str, asyncio.Task[None]] = {}
        self._flips: dict[str, tuple[int, set[tuple[str, str]]]] = {}
        self._decoder = pool(1, "shadow", give_way)

    def sample(self, production: LoadedVersion) -> Sample | None:
        """Returns a sample to fill with what production says of a request, if the model's shadow is to see it; else None."""
        share = self._fleet.shadow_percent(production.model)
        if not share or self._draw() * 100 >= share:
            return None
        shadow = self._fleet.shadow(production.model)
        return None if shadow and shadow.version == production.version else Sample(production)

    def show(self, sample: Sample) -> None:
        """Shows the shadow an answered request, or drops it; returns at once.

        What is begun here runs when the caller next waits for something, and by then the answer has been handed to gRPC.
        """
        model = sample.production.model
        shadow = self._fleet.shadow(model)
        if shadow is None:
            self._drop(model, "not_loaded", len(sample.pictures))
        elif model in self._running:
            self._drop(model, "unfinished", len(sample.pictures))
        else:
            task = self._running[model] = asyncio.create_task(self._show(sample, shadow))
            task.add_done_callback(lambda _: self._running.pop(model, None))

    async def close(self) -> None:
        """Leaves what is under way, and ends the decoder's thread."""
        running = list(self._running.values())
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        self._decoder.shutdown(wait=False, cancel_futures=True)

    async def _show(self, sample: Sample, shadow: LoadedVersion) -> None:
        """Compares, in a trace of its own that is linked to that of the call, which is over and in which this task was made."""
        origin = tracing.leave()
        trace = self._tracing.trace("shadow", Kind.INTERNAL, links=[origin.context], always=True) if origin is not None else None
        try:
            await self._compare(sample, shadow, trace)
        finally:
            if trace is not None:
                self._tracing.finish(trace)

    async def _compare(self, sample: Sample, shadow: LoadedVersion, trace: Trace | None) -> None:
        production = sample.production
        with shadow.engine.hold():
            for number, seen in enumerate(sample.pictures):
                if self._fleet.waiting:
                    self._drop(shadow.model, "busy", len(sample.pictures) - number)
                    return
                same = shadow.manifest.preprocess == production.manifest.preprocess
                if not same and not isinstance(seen.picture, bytes):
                    self._drop(shadow.model, "other_size", 1)
                    continue
                try:
                    answer = await self._ask(shadow, seen.picture, seen.pixels if same else None, trace)
                except Exception as error:  # noqa: BLE001 - whatever befalls the shadow, nobody but its metrics is to notice
                    self._log.warning("a shadow failed", model=shadow.model, version=shadow.version, error=str(error))
                    self._drop(shadow.model, "failed", 1)
                    continue
                self._count(seen, shadow, answer)

    async def _ask(
        self, shadow: LoadedVersion, picture: Picture, pixels: NDArray[np.uint8] | None, trace: Trace | None
    ) -> NDArray[np.float32]:
        """Returns the probabilities, float32 [C], of a picture, which is decoded where there are no pixels of it."""
        start = time.monotonic()
        deadline = start + _PATIENCE_SECONDS
        async with shadow.engine.slot(deadline) as slot:
            entered = time.monotonic()
            if pixels is None and isinstance(picture, bytes):
                await slot.in_thread(self._decoder, self._decoding.load, picture, shadow.manifest.preprocess, slot.pixels, deadline)
            else:
                slot.pixels[:] = picture if pixels is None else pixels
            decoded = time.monotonic()
            answer = await slot.infer(deadline, priority=SHADOW)
        if trace is not None:
            self._spans.add(trace, shadow, Times(start, entered, decoded), answer, {"eyas.decoded_again": pixels is None})
        return answer.probabilities

    def _count(self, seen: Seen, shadow: LoadedVersion, shadow_probabilities: NDArray[np.float32]) -> None:
        production, probabilities = seen.loaded, seen.said.probabilities
        model, version = shadow.model, str(shadow.version)
        before = production.manifest.labels[int(probabilities.argmax())]
        after = shadow.manifest.labels[int(shadow_probabilities.argmax())]
        self._metrics.shadow_images.labels(model, version, "same" if before == after else "different").inc()
        apart = distance(production.manifest.labels, probabilities, shadow.manifest.labels, shadow_probabilities)
        self._metrics.shadow_distance.labels(model, version).observe(apart)
        if before != after:
            self._metrics.shadow_flips.labels(model, version, *self._flip(model, shadow.version, (before, after))).inc()
            self._on_flip(seen, after, apart)

    def _flip(self, model: str, version: int, flip: tuple[str, str]) -> tuple[str, str]:
        """Returns a pair of labels that may be a series: itself, or `other` where the model has enough of them."""
        of, known = self._flips.get(model, (version, set()))
        if of != version:  # what its shadow before did is history
            self._metrics.shadow_flips.forget({"model": model, "version": str(of)})
            known = set()
        self._flips[model] = (version, known)
        return flip if admit(known, flip, MOST_PAIRS) else (OTHER, OTHER)

    def _drop(self, model: str, reason: str, images: int) -> None:
        self._metrics.shadow_dropped.labels(model, reason).inc(images)
