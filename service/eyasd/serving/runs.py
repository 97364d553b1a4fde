"""One picture through a decoder and a version's network, or out of the cache."""

from __future__ import annotations

import asyncio
import time
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from eyasd.core.errors import DeadlineExceeded
from eyasd.serving.answer import Timing
from eyasd.serving.cache import Cache, Said, digest
from eyasd.serving.decoding.decoding import Decoding, Here
from eyasd.serving.engine.loading import LoadedVersion
from eyasd.serving.labelling import labelled
from eyasd.serving.question import Picture, Question
from eyasd.serving.queue.admission import Admission
from eyasd.serving.queue.decoders import Decoders
from eyasd.serving.spans import Spans, Times
from eyasd.telemetry import tracing
from eyasd.telemetry.metrics import Metrics

# The digest of a longer file takes over half a millisecond, in which the event loop would do nothing else.
_LONG_BYTES: Final = 1_000_000


class Run(NamedTuple):
    """What came of a picture.

    Attributes:
        said: by the network.
        timing: where the time went.
        explanation: a PNG file; None where nobody asked for one.
        pixels: uint8 [H, W, 3]; None where they were not to be kept, or the picture was not decoded.
    """

    said: Said
    timing: Timing
    explanation: bytes | None = None
    pixels: NDArray[np.uint8] | None = None


class Runs:
    """Runs pictures. Belongs to one event loop."""

    def __init__(
        self,
        decoders: Decoders,
        admission: Admission,
        cache: Cache | None,
        metrics: Metrics,
        spans: Spans,
        decoding: Decoding | None = None,
    ) -> None:
        """Remembers what to use.

        Args:
            decoders: decode.
            admission: learns how long that and the network took.
            cache: keeps what networks said; None keeps nothing.
            metrics: where its hits are shown.
            spans: of pictures whose calls are traced.
            decoding: opens files; None does so in the decoders' threads.
        """
        self._decoders = decoders
        self._admission = admission
        self._cache = cache
        self._metrics = metrics
        self._decoding = decoding or Here()
        self._spans = spans
        if cache is not None:
            metrics.cache_bytes.set_function(lambda: cache.size_bytes)

    async def run(self, loaded: LoadedVersion, picture: Picture, question: Question, deadline: float, *, keep: bool) -> Run:
        """Returns what the version's network says of a picture.

        Args:
            loaded: the version.
            picture: a file, or what it is decoded to.
            question: what is asked of it; explanations are not kept in the cache.
            deadline: on the clock of `time.monotonic`.
            keep: whether the pixels are wanted afterwards.

        Raises:
            UndecodableImage: it is no picture, or over a limit.
            DeadlineExceeded: the deadline passed on the way.
            Unavailable: the engine ended, and no other could take over.
        """
        if self._cache is None or question.explain or not isinstance(picture, bytes):
            return await self._run(loaded, picture, question, deadline, keep=keep)
        start, runs = time.monotonic(), list[Run]()
        long = len(picture) > _LONG_BYTES
        found = await asyncio.to_thread(digest, picture) if long else digest(picture)
        hashed = time.monotonic()

        async def compute() -> Said:
            runs.append(await self._run(loaded, picture, question, deadline, keep=keep))
            return runs[0].said

        said, computed = await self._cache.fetch((found, loaded.model, loaded.version, loaded.precision), deadline, compute)
        self._metrics.cache_lookups.labels(loaded.model, "miss" if computed else "hit").inc()
        if computed:
            return runs[0]
        found_at = time.monotonic()
        if (trace := tracing.trace()) is not None:
            trace.span("cache", start, found_at, {"eyas.bytes": len(picture)})
        return Run(said, Timing(hashed - start, found_at - hashed))

    async def _run(self, loaded: LoadedVersion, picture: Picture, question: Question, deadline: float, *, keep: bool) -> Run:
        start = time.monotonic()
        decoders = self._decoders.of(question, deadline)
        async with loaded.engine.slot(deadline) as slot:
            entered = time.monotonic()
            if isinstance(picture, np.ndarray):
                slot.pixels[:] = picture
            elif (size := self._decoding.tiny_size(picture)) is not None:
                self._decode(loaded, picture, deadline, slot.pixels, size)
            else:
                began, ended = await slot.in_thread(decoders, self._decode, loaded, picture, deadline, slot.pixels)
                self._admission.decoded(ended - began, time.monotonic() - ended)
            decoded = time.monotonic()
            answer = await slot.infer(deadline, priority=question.priority, caller=question.caller, explain=question.explain)
            self._admission.ran(loaded.model, answer.batch_size, answer.inference_seconds, loaded.engine.count)
            said, explanation = Said(answer.probabilities, answer.ood_score), None
            if loaded.head is not None and answer.feature_map is not None:
                index = labelled(loaded, said, question).predictions[0].class_index
                explanation = await slot.in_thread(decoders, loaded.head.explain, slot.pixels, answer.feature_map, index)
            pixels = slot.pixels.copy() if keep else None
        if (trace := tracing.trace()) is not None:
            self._spans.add(
                trace,
                loaded,
                Times(start, entered, decoded),
                answer,
                {"eyas.bytes": len(picture) if isinstance(picture, bytes) else picture.nbytes},
            )
        timing = Timing(decoded - entered, entered - start + answer.queue_seconds, answer.inference_seconds)
        return Run(said, timing, explanation, pixels)

    def _decode(
        self,
        loaded: LoadedVersion,
        encoded: bytes,
        deadline: float,
        out: NDArray[np.uint8],
        size: tuple[int, int] | None = None,
    ) -> tuple[float, float]:
        """Returns when it began and ended. Runs in a decoder's thread; the wait for it may have used up the time."""
        start = time.monotonic()
        if start >= deadline:
            raise DeadlineExceeded("The deadline passed while the picture waited to be decoded: allow more time, or send less.")
        self._decoding.load(encoded, loaded.manifest.preprocess, out, deadline, size)
        return start, time.monotonic()
