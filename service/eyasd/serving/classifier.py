"""From encoded pictures to labels: the order of the steps, and where the time goes.

    admission -> find the version -> decode in a thread -> engine -> top-k

A picture that cannot be read fails alone. Knows nouns only; `api.classify` speaks gRPC.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eyasd.core.errors import DeadlineExceeded, EyasError, UndecodableImage
from eyasd.core.names import ModelRef
from eyasd.core.preprocess import load_image
from eyasd.core.types import Prediction, Timing
from eyasd.serving.admission import Admission
from eyasd.serving.fleet import Fleet, LoadedVersion
from eyasd.telemetry.metrics import Metrics


@dataclass(frozen=True, slots=True)
class Classified:
    """The answer to one request.

    Attributes:
        results: one a picture, in order: the most probable labels first, or why there are none.
        timing: the longest of each stage.
        multi_label: whether any number of labels may apply to a picture.
    """

    model: str
    version: int
    results: tuple[tuple[Prediction, ...] | UndecodableImage, ...]
    timing: Timing
    multi_label: bool


class Classifier:
    """Labels pictures with the fleet's versions."""

    def __init__(self, fleet: Fleet, admission: Admission, metrics: Metrics, *, threads: int) -> None:
        """Starts the decoders.

        Args:
            fleet: finds the version that answers.
            admission: refuses what cannot be answered in time.
            metrics: where each stage's time is shown.
            threads: how many pictures are decoded at once. Pillow releases the interpreter lock while it decodes and resizes.
        """
        self._fleet = fleet
        self._admission = admission
        self._metrics = metrics
        self._decoders = ThreadPoolExecutor(threads, thread_name_prefix="decode")

    async def classify(self, ref: ModelRef, images: Sequence[bytes], *, top_k: int, timeout_seconds: float) -> Classified:
        """Labels the pictures of one request.

        Args:
            ref: which version answers.
            images: encoded pictures, at least one.
            top_k: labels for each; 0 is all that apply, but the most probable one at least.
            timeout_seconds: until the caller's deadline.

        Raises:
            NotFound: there is no such model, alias or version.
            Overloaded: refused before anything was decoded.
            DeadlineExceeded: the deadline passed on the way.
            Unavailable: the version cannot be loaded.
        """
        arrival = time.monotonic()
        deadline = arrival + timeout_seconds
        with self._admission.admit(len(images), timeout_seconds):
            in_flight = self._admission.in_flight
            try:
                async with asyncio.timeout_at(asyncio.get_running_loop().time() + timeout_seconds):
                    loaded = await self._fleet.find(ref)
            except TimeoutError:
                raise DeadlineExceeded("The deadline passed while the model version was being loaded: allow more time.") from None
            start = time.monotonic()
            with loaded.engine.hold():
                tasks = [asyncio.create_task(self._label(loaded, image, top_k, deadline)) for image in images]
                try:
                    outcomes = await asyncio.gather(*tasks)
                finally:
                    for task in tasks:  # of a request that failed or whose caller left, nothing goes on
                        task.cancel()
            self._admission.observe(len(images), time.monotonic() - start, in_flight)
        timing = Timing()
        for _, stages in outcomes:
            timing = timing.longest(stages)
        stage_seconds = (("decode", timing.preprocessing), ("queue", timing.queue), ("inference", timing.inference))
        for stage, seconds in (*stage_seconds, ("total", time.monotonic() - arrival)):
            self._metrics.stage_seconds.labels(loaded.model, stage).observe(seconds)
        multi_label = loaded.manifest.thresholds is not None
        return Classified(loaded.model, loaded.version, tuple(result for result, _ in outcomes), timing, multi_label)

    def close(self) -> None:
        """Ends the decoders' threads."""
        self._decoders.shutdown(wait=False, cancel_futures=True)

    async def _label(
        self, loaded: LoadedVersion, encoded: bytes, top_k: int, deadline: float
    ) -> tuple[tuple[Prediction, ...] | UndecodableImage, Timing]:
        start = time.monotonic()
        try:
            image = await asyncio.get_running_loop().run_in_executor(self._decoders, self._decode, loaded, encoded, deadline)
        except UndecodableImage as error:
            self._metrics.images.labels(loaded.model, error.reason).inc()
            return error, Timing(preprocessing=time.monotonic() - start)
        decoded = time.monotonic()
        try:
            answer = await loaded.engine.infer(image, deadline)
        except EyasError as error:
            self._metrics.images.labels(loaded.model, error.reason).inc()
            raise
        self._metrics.images.labels(loaded.model, "OK").inc()
        timing = Timing(decoded - start, answer.queue_seconds, answer.inference_seconds)
        return _top(answer.probabilities, loaded.manifest.labels, loaded.manifest.thresholds, top_k), timing

    @staticmethod
    def _decode(loaded: LoadedVersion, encoded: bytes, deadline: float) -> NDArray[np.uint8]:
        """Runs in a decoder's thread; the wait for a thread may have used up the time."""
        if time.monotonic() >= deadline:
            raise DeadlineExceeded("The deadline passed while the picture waited to be decoded: allow more time, or send less.")
        return load_image(encoded, loaded.manifest.preprocess)


def _top(
    probabilities: NDArray[np.float32], labels: Sequence[str], thresholds: Sequence[float] | None, k: int
) -> tuple[Prediction, ...]:
    """Returns the k most probable labels, most probable first; of equals the lower class index.

    Args:
        probabilities: float32 [C].
        labels: C of them.
        thresholds: C of them, in a multi-label model; None in another, where the most probable label applies.
        k: more than C is C; 0 is all that apply, but one at least.
    """
    order = np.argsort(-probabilities, kind="stable")
    applies = np.arange(len(labels)) == order[0] if thresholds is None else probabilities >= np.array(thresholds, np.float32)
    chosen = order[: k or 1] if k or not applies.any() else order[applies[order]]
    return tuple(Prediction(labels[i], int(i), float(probabilities[i]), bool(applies[i])) for i in chosen)
