"""From encoded pictures to labels: the order of the steps, and where the time goes.

    admission -> find the version -> decode in a thread -> engine -> top-k

A picture that cannot be read fails alone. Knows nouns only; `api.classify` speaks gRPC.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from eyasd.core.errors import DeadlineExceeded, EyasError, InvalidArgument, NotExplainable, NoUnknownRule, UndecodableImage
from eyasd.core.names import PRODUCTION
from eyasd.core.preprocess import load_image
from eyasd.core.unknown import UnknownRules
from eyasd.serving.admission import Admission, Admitted
from eyasd.serving.answer import Classified, Labelled, Prediction, Timing
from eyasd.serving.decoders import Decoders
from eyasd.serving.engine.link import Answer
from eyasd.serving.engine.loading import LoadedVersion
from eyasd.serving.fleet import Fleet
from eyasd.serving.question import Question
from eyasd.telemetry.metrics import Metrics

_Outcome = tuple[Labelled | UndecodableImage, Timing]


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
        self._decoders = Decoders(threads)

    async def classify(self, question: Question) -> Classified:
        """Labels the pictures of one request.

        Raises:
            NotFound: there is no such model, alias or version.
            InvalidArgument: the pixels are not those of the version's network.
            NoUnknownRule: a picture may be called unknown, and the version cannot tell which.
            NotExplainable: an explanation is asked for, and the version has no class-activation maps.
            Overloaded: refused before anything was decoded.
            DeadlineExceeded: the deadline passed on the way.
            Unavailable: the version cannot be loaded.
        """
        arrival = time.monotonic()
        deadline = arrival + question.timeout_seconds
        with self._admission.admit(question) as admitted:
            loaded, outcomes = await self._answered(question, deadline, admitted)
        timing = outcomes[0][1]
        for _, stages in outcomes[1:]:
            timing = timing.longest(stages)
        stage_seconds = (("decode", timing.preprocessing), ("queue", timing.queue), ("inference", timing.inference))
        total = time.monotonic() - arrival
        for stage, seconds in (*stage_seconds, ("total", total)):
            self._metrics.stage_seconds.labels(loaded.model, stage).observe(seconds)
        multi_label = loaded.manifest.thresholds is not None
        classified = Classified(loaded.model, loaded.version, tuple(result for result, _ in outcomes), timing, multi_label)
        loaded.statistics.observe(classified, total)
        return classified

    def close(self) -> None:
        """Ends the decoders' threads."""
        self._decoders.close()

    async def _find(self, question: Question, deadline: float, key: str | None = None) -> LoadedVersion:
        """Returns the version that answers, a canary only where there is a key, see `Fleet.find`."""
        ready = self._fleet.find_loaded(question.ref, key)
        if ready is not None:
            return ready
        try:
            async with asyncio.timeout(deadline - time.monotonic()):
                return await self._fleet.find(question.ref, key)
        except TimeoutError:
            raise DeadlineExceeded("The deadline passed while the model version was being loaded: allow more time.") from None

    async def _answered(self, question: Question, deadline: float, admitted: Admitted) -> tuple[LoadedVersion, list[_Outcome]]:
        """Returns the version that answered, and what it says of each picture; what a canary cannot answer, production does."""
        loaded = await self._find(question, deadline, question.routing_key)
        try:
            _check(loaded, question)
            return loaded, await self._observed(loaded, question, deadline, admitted)
        except Exception:
            routed = question.ref.alias == PRODUCTION and self._fleet.router.is_canary(loaded.model, loaded.version)
            if not routed or time.monotonic() >= deadline:
                raise
        self._metrics.canary_fallbacks.labels(loaded.model).inc()
        loaded = await self._find(question, deadline)
        _check(loaded, question)
        return loaded, await self._observed(loaded, question, deadline, admitted)

    async def _observed(self, loaded: LoadedVersion, question: Question, deadline: float, admitted: Admitted) -> list[_Outcome]:
        """Returns what a version says of each picture, and tells the router how that went."""
        start = time.monotonic()
        try:
            outcomes = await self._outcomes(loaded, question, deadline, admitted)
        except Exception:  # not that the caller has left, which says nothing of the version
            loaded.statistics.failed.add(time.monotonic() - start)
            self._observe(loaded, question, start, failed=True)
            raise
        self._observe(loaded, question, start, failed=False)
        return outcomes

    def _observe(self, loaded: LoadedVersion, question: Question, start: float, *, failed: bool) -> None:
        if question.ref.alias == PRODUCTION:
            seconds, images = time.monotonic() - start, len(question.images)
            self._fleet.router.observe(loaded.model, loaded.version, images=images, seconds=seconds, failed=failed)

    async def _outcomes(self, loaded: LoadedVersion, question: Question, deadline: float, admitted: Admitted) -> list[_Outcome]:
        """Returns what a version says of each picture."""
        with loaded.engine.hold():
            if len(question.images) == 1:  # what most ask: no task of its own
                return [await self._label(loaded, question.images[0], question, deadline, admitted)]
            labels = (self._label(loaded, image, question, deadline, admitted) for image in question.images)
            tasks = [asyncio.create_task(label) for label in labels]
            try:
                return await asyncio.gather(*tasks)
            finally:
                for task in tasks:  # of a request that failed or whose caller left, nothing goes on
                    task.cancel()

    async def _label(
        self,
        loaded: LoadedVersion,
        picture: bytes | NDArray[np.uint8],
        question: Question,
        deadline: float,
        admitted: Admitted,
    ) -> _Outcome:
        start = time.monotonic()
        decoders = self._decoders.of(question, deadline)
        async with loaded.engine.slot(deadline) as slot:
            entered = time.monotonic()
            try:
                if isinstance(picture, np.ndarray):
                    slot.pixels[:] = picture
                else:
                    self._admission.decoded(await slot.in_thread(decoders, _decode, loaded, picture, deadline, slot.pixels))
            except UndecodableImage as error:
                admitted.leave()
                self._metrics.images.labels(loaded.model, error.reason).inc()
                return error, Timing(preprocessing=time.monotonic() - entered)
            decoded = time.monotonic()
            try:
                answer = await slot.infer(deadline, priority=question.priority, caller=question.caller, explain=question.explain)
            except EyasError as error:
                self._metrics.images.labels(loaded.model, error.reason).inc()
                raise
            self._admission.ran(loaded.model, answer.batch_size, answer.inference_seconds, loaded.engine.count)
            labelled = _labelled(loaded, answer, question)
            if loaded.head is not None and answer.feature_map is not None:
                index = labelled.predictions[0].class_index
                explanation = await slot.in_thread(decoders, loaded.head.explain, slot.pixels, answer.feature_map, index)
                labelled = replace(labelled, explanation=explanation)
        admitted.leave()
        self._metrics.images.labels(loaded.model, labelled.unknown.reason.upper() if labelled.unknown else "OK").inc()
        return labelled, Timing(decoded - entered, entered - start + answer.queue_seconds, answer.inference_seconds)


def _decode(loaded: LoadedVersion, encoded: bytes, deadline: float, out: NDArray[np.uint8]) -> float:
    """Returns how long it took. Runs in a decoder's thread; the wait for it may have used up the time."""
    start = time.monotonic()
    if start >= deadline:
        raise DeadlineExceeded("The deadline passed while the picture waited to be decoded: allow more time, or send less.")
    load_image(encoded, loaded.manifest.preprocess, out)
    return time.monotonic() - start


def _labelled(loaded: LoadedVersion, answer: Answer, question: Question) -> Labelled:
    """Returns what is said of a picture, without its explanation."""
    predictions = _top(answer.probabilities, loaded.manifest.labels, loaded.manifest.thresholds, question.top_k)
    labelled, rules = Labelled(predictions, answer.probabilities, ood_score=answer.ood_score), loaded.manifest.unknown
    return _judged(labelled, rules) if question.allow_unknown and rules else labelled


def _check(loaded: LoadedVersion, question: Question) -> None:
    """Raises InvalidArgument, NoUnknownRule or NotExplainable where a version cannot do what is asked of it."""
    side = loaded.manifest.preprocess.crop_px
    for image in question.images:
        if isinstance(image, np.ndarray) and image.shape != (side, side, 3):
            raise InvalidArgument(
                "images",
                f"The network of {loaded.model}/{loaded.version} sees pictures of {side} x {side} x 3 pixels, and these have "
                f"{' x '.join(map(str, image.shape))}: send them in its size, or as files.",
            )
    if question.allow_unknown and loaded.manifest.unknown is None:
        raise NoUnknownRule(
            f"{loaded.model}/{loaded.version} was trained by an Eyas that did not teach it to tell unknown pictures: "
            "train it again, or leave allow_unknown out.",
            model=loaded.model,
            version=loaded.version,
        )
    if question.explain and loaded.head is None:
        raise NotExplainable(
            f"{loaded.model}/{loaded.version} cannot explain its answers: its network ({loaded.manifest.lineage.backbone}) "
            "does not end in the mean of a map and one linear layer, or was trained before Eyas kept the map. Train it "
            "again with a backbone such as tf_efficientnet_lite0, or leave explain out.",
            model=loaded.model,
            version=loaded.version,
        )


def _judged(labelled: Labelled, rules: UnknownRules) -> Labelled:
    """Returns the same with the rules' verdict; no label of an unknown picture applies."""
    best = labelled.predictions[0]
    unknown = rules.verdict(best.class_index, best.probability, labelled.ood_score)
    if unknown is None:
        return labelled
    return replace(labelled, predictions=tuple(replace(p, applies=False) for p in labelled.predictions), unknown=unknown)


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
    if thresholds is None and k <= 1:  # what nearly everybody asks, in a quarter of the time
        best = int(probabilities.argmax())
        return (Prediction(labels[best], best, float(probabilities[best]), True),)
    order = np.argsort(-probabilities, kind="stable")
    applies = np.arange(len(labels)) == order[0] if thresholds is None else probabilities >= np.array(thresholds, np.float32)
    chosen = order[: k or 1] if k or not applies.any() else order[applies[order]]
    return tuple(Prediction(labels[i], int(i), float(probabilities[i]), bool(applies[i])) for i in chosen)
