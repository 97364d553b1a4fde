"""From encoded pictures to labels: the order of the steps, and where the time goes.

    admission -> find the version -> decode in a thread -> engine -> top-k

A picture that cannot be read fails alone. Knows nouns only; `api.classify` speaks gRPC.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

import numpy as np

from eyasd.core.errors import DeadlineExceeded, EyasError, InvalidArgument, NotExplainable, NoUnknownRule, UndecodableImage
from eyasd.core.names import PRODUCTION
from eyasd.serving.answer import Classified, Labelled, Timing
from eyasd.serving.cache import Cache
from eyasd.serving.decoding.decoding import Decoding
from eyasd.serving.engine.loading import LoadedVersion
from eyasd.serving.feedback.ids import PredictionIds
from eyasd.serving.fleet import Fleet
from eyasd.serving.labelling import Mint, labelled
from eyasd.serving.question import Picture, Question
from eyasd.serving.queue.admission import Admission, Admitted
from eyasd.serving.queue.decoders import Decoders
from eyasd.serving.runs import Runs
from eyasd.serving.seen import Seen, Watcher
from eyasd.serving.shadow import Shadows
from eyasd.serving.spans import Spans
from eyasd.telemetry import tracing
from eyasd.telemetry.metrics import Metrics

_Outcome = tuple[Labelled | UndecodableImage, Timing]


class Classifier:
    """Labels pictures with the fleet's versions."""

    def __init__(
        self,
        fleet: Fleet,
        admission: Admission,
        shadows: Shadows,
        cache: Cache | None,
        metrics: Metrics,
        *,
        threads: int,
        decoding: Decoding | None = None,
        ids: PredictionIds | None = None,
        watchers: Sequence[Watcher] = (),
    ) -> None:
        """Starts the decoders.

        Args:
            fleet: finds the version that answers.
            admission: refuses what cannot be answered in time.
            shadows: see what production has answered.
            cache: keeps what networks said; None keeps nothing.
            metrics: where each stage's time is shown.
            threads: how many pictures are decoded at once. Pillow releases the interpreter lock while it decodes and resizes.
            decoding: opens files; None does so in these threads.
            ids: makes the ids of answers; None is that they have none.
            watchers: are told of each picture that was answered.
        """
        self._fleet = fleet
        self._admission = admission
        metrics.in_flight.set_function(lambda: admission.requests)
        self._metrics = metrics
        self._shadows = shadows
        self._ids = ids
        self._watchers = watchers
        self._decoders = Decoders(threads)
        self._runs = Runs(self._decoders, admission, cache, metrics, Spans(fleet.provider), decoding)

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
        trace = tracing.trace()
        with self._admission.admit(question) as admitted:
            if trace is not None:
                trace.span("admission", arrival, time.monotonic())
            loaded, let_in, outcomes = await self._answered(question, deadline, admitted)
        timing = outcomes[0][1]
        for _, stages in outcomes[1:]:
            timing = timing.longest(stages)
        total, traced = time.monotonic() - arrival, tracing.trace_id()
        stage_seconds, model, version = self._metrics.stage_seconds, loaded.model, str(loaded.version)
        stage_seconds.labels(model, version, "admission").observe(let_in - arrival, traced)
        stage_seconds.labels(model, version, "decode").observe(timing.preprocessing, traced)
        stage_seconds.labels(model, version, "queue").observe(timing.queue, traced)
        stage_seconds.labels(model, version, "inference").observe(timing.inference, traced)
        stage_seconds.labels(model, version, "total").observe(total, traced)
        multi_label = loaded.manifest.thresholds is not None
        classified = Classified(loaded.model, loaded.version, tuple(result for result, _ in outcomes), timing, multi_label)
        loaded.statistics.observe(classified, total)
        return classified

    def knows(self, model: str) -> bool:
        """Returns whether there is such a model, as far as is known without a look at the registry."""
        return self._fleet.knows(model)

    def close(self) -> None:
        """Ends the decoders' threads."""
        self._decoders.close()

    async def _find(self, question: Question, deadline: float, key: str | None = None) -> LoadedVersion:
        """Returns the version that answers, a canary only where there is a key, see `Fleet.find`."""
        ready = self._fleet.find_loaded(question.ref, key)
        if ready is not None:
            return ready
        start = time.monotonic()
        try:
            async with asyncio.timeout(deadline - start):
                return await self._fleet.find(question.ref, key)
        except TimeoutError:
            raise DeadlineExceeded("The deadline passed while the model version was being loaded: allow more time.") from None
        finally:
            if (trace := tracing.trace()) is not None:
                trace.span("load", start, time.monotonic(), {"eyas.model": question.ref.model})

    async def _answered(
        self, question: Question, deadline: float, admitted: Admitted
    ) -> tuple[LoadedVersion, float, list[_Outcome]]:
        """Returns the version that answered, since when it was known, and what it says of each picture.

        What a canary cannot answer, production does.
        """
        loaded = await self._find(question, deadline, question.routing_key)
        let_in = time.monotonic()
        try:
            _check(loaded, question)
            return loaded, let_in, await self._observed(loaded, question, deadline, admitted)
        except Exception:
            routed = question.ref.alias == PRODUCTION and self._fleet.router.is_canary(loaded.model, loaded.version)
            if not routed or time.monotonic() >= deadline:
                raise
        self._metrics.canary_fallbacks.labels(loaded.model).inc()
        loaded = await self._find(question, deadline)
        _check(loaded, question)
        return loaded, let_in, await self._observed(loaded, question, deadline, admitted)

    async def _observed(self, loaded: LoadedVersion, question: Question, deadline: float, admitted: Admitted) -> list[_Outcome]:
        """Returns what a version says of each picture; tells the router how that went, and shows it to a shadow."""
        routed, images = question.ref.alias == PRODUCTION, len(question.images)
        by_production = routed and not self._fleet.router.is_canary(loaded.model, loaded.version)
        sample = self._shadows.sample(loaded) if by_production else None
        seen: list[Seen] = []
        start = time.monotonic()
        try:
            outcomes = await self._outcomes(loaded, question, deadline, admitted, seen, keep=sample is not None)
        except Exception as error:  # not that the caller has left, which says nothing of the version
            if isinstance(error, EyasError):
                error.version = loaded.version
            loaded.statistics.failed.add(time.monotonic() - start)
            if routed:
                self._fleet.router.observe(loaded.model, loaded.version, images=images, seconds=None, failed=True)
            raise
        if routed:
            # What the cache or the decoder answered says nothing of a version's speed, and one has more of it than the other.
            seconds = time.monotonic() - start if all(timing.inference for _, timing in outcomes) else None
            self._fleet.router.observe(loaded.model, loaded.version, images=images, seconds=seconds, failed=False)
        if sample is not None:
            sample.pictures.extend(seen)
            self._shadows.show(sample)
        if seen and self._watchers:  # told once this request's coroutine waits, and by then its answer has been handed to gRPC
            asyncio.get_running_loop().call_soon(self._tell, seen)
        return outcomes

    def _tell(self, seen: list[Seen]) -> None:
        for one in seen:
            for watcher in self._watchers:
                watcher.see(one)

    async def _outcomes(
        self,
        loaded: LoadedVersion,
        question: Question,
        deadline: float,
        admitted: Admitted,
        seen: list[Seen],
        *,
        keep: bool,
    ) -> list[_Outcome]:
        """Returns what a version says of each picture, and tells `seen`, with the pixels where they are to be kept."""

        async def label(picture: Picture) -> _Outcome:
            outcome, timing = await self._label(loaded, picture, question, deadline, seen, keep=keep)
            admitted.leave()
            return outcome, timing

        with loaded.engine.hold():
            if len(question.images) == 1:  # what most ask: no task of its own
                return [await label(question.images[0])]
            tasks = [asyncio.create_task(label(picture)) for picture in question.images]
            try:
                return await asyncio.gather(*tasks)
            finally:
                for task in tasks:  # of a request that failed or whose caller left, nothing goes on
                    task.cancel()

    async def _label(
        self,
        loaded: LoadedVersion,
        picture: Picture,
        question: Question,
        deadline: float,
        seen: list[Seen],
        *,
        keep: bool,
    ) -> _Outcome:
        start = time.monotonic()
        # Each is asked, though the first may have said yes: one that counts pictures must hear of all of them.
        wanted = [watcher.wants(loaded) for watcher in self._watchers]
        try:
            run = await self._runs.run(loaded, picture, question, deadline, keep=keep or True in wanted)
        except UndecodableImage as error:
            self._failed(loaded, error, start)
            return error, Timing(preprocessing=time.monotonic() - start)
        except EyasError as error:
            self._failed(loaded, error, start)
            raise
        routed = question.ref.alias == PRODUCTION
        said = labelled(loaded, run.said, question, run.explanation, self._mint(loaded, routed=routed))
        self._metrics.images.labels(loaded.model, said.unknown.reason.upper() if said.unknown else "OK").inc()
        if self._watchers or keep:
            seen.append(Seen(loaded, picture, run.pixels, run.said, said, routed))
        return said, run.timing

    def _mint(self, loaded: LoadedVersion, *, routed: bool) -> Mint | None:
        """Returns what makes the ids of a version's answers."""
        ids, manifest = self._ids, loaded.manifest
        if ids is None:
            return None
        canary = routed and self._fleet.router.is_canary(loaded.model, loaded.version)
        return lambda best, probabilities: ids.mint(
            loaded.model, loaded.version, best, probabilities, manifest.thresholds, routed=routed, canary=canary
        )

    def _failed(self, loaded: LoadedVersion, error: EyasError, start: float) -> None:
        """Counts a picture that has no answer, and shows in its trace for how long it was tried."""
        self._metrics.images.labels(loaded.model, error.reason).inc()
        if (trace := tracing.trace()) is not None:
            trace.span("picture", start, time.monotonic(), {"error.type": error.reason}, error="")


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
