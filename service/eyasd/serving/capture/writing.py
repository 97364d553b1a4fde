"""The thread that keeps pictures, so that whatever befalls the store no answer waits.

What does not fit its queue is dropped and counted, and so is everything for a while after the store has failed. It has a few
pictures a minute to do, and no lower priority than others: a thread that is put off while it holds the interpreter puts off all.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from concurrent.futures import TimeoutError as TookTooLong
from contextlib import suppress
from typing import Final, Protocol

import structlog

from eyasd.core.capture import CapturePolicy
from eyasd.core.captured import GivenLabels, Outcome, Sighting
from eyasd.core.errors import EyasError
from eyasd.core.threads import pool
from eyasd.serving.capture.picking import Candidate
from eyasd.serving.capture.preparing import NotKept, Redact, Strip, bare, prepared
from eyasd.telemetry.metrics import Metrics

_MOST_PICTURES: Final = 512
_MOST_LABELS: Final = 10_000
_PAUSE_SECONDS: Final = 30.0
_LAST_SECONDS: Final = 5.0


class Keeper(Protocol):
    """Keeps pictures. Every call may touch a disk or a network, and raise StorageFailed."""

    def size_bytes(self, model: str) -> int:
        """Returns how many bytes the pictures of a model take."""
        ...

    def keep(self, model: str, content: bytes, sighting: Sighting, policy: CapturePolicy) -> Outcome:
        """Keeps a picture, and returns what became of it."""
        ...

    def name(self, model: str, prediction: str, given: GivenLabels) -> None:
        """Names the labels of the picture of an answer, if it is kept."""
        ...

    def remember(self, model: str, prediction: str, given: GivenLabels) -> None:
        """Does so at the next look; touches nothing now."""
        ...

    def tidy(self, policies: Mapping[str, CapturePolicy]) -> int:
        """Removes what is too much, and returns how many pictures that was."""
        ...


class Writer:
    """Hands what is to be kept to a thread. Called from one event loop."""

    def __init__(
        self,
        keeper: Keeper,
        redact: Redact | None,
        metrics: Metrics,
        log: structlog.typing.FilteringBoundLogger,
        now: Callable[[], float] = time.monotonic,
        strip: Strip = bare,
    ) -> None:
        """Starts no thread yet.

        Args:
            keeper: keeps; in the thread alone.
            redact: the operator's hook; None leaves pictures as they are.
            metrics: counts.
            log: hears of failures, but of no picture.
            now: seconds on a monotonic clock.
            strip: see `preparing.prepared`.
        """
        self._strip = strip
        self._keeper, self._redact, self._metrics, self._log, self._now = keeper, redact, metrics, log, now
        self._thread = pool(1, "capture")
        self._pictures = 0  # in the queue
        self._labels: deque[tuple[str, str, GivenLabels]] = deque(maxlen=_MOST_LABELS)
        self._tidying: Future[None] | None = None
        self._away_until = 0.0

    def keep(self, candidates: Sequence[Candidate], policies: Mapping[str, CapturePolicy]) -> None:
        """Has pictures kept by the policies of their models, or drops them."""
        for candidate in candidates:
            if self._pictures >= _MOST_PICTURES:
                self._drop(candidate.model, "busy")
            elif (policy := policies.get(candidate.model)) is not None:
                self._pictures += 1
                self._thread.submit(self._keep, candidate, policy)

    def name(self, model: str, prediction: str, given: GivenLabels) -> None:
        """Has the labels of the picture of an answer named, if it is kept."""
        self._labels.append((model, prediction, given))
        if len(self._labels) == 1:
            self._thread.submit(self._name)

    def tidy(self, policies: Mapping[str, CapturePolicy]) -> None:
        """Has what is too much removed, unless that is being done."""
        if self._tidying is None or self._tidying.done():
            self._tidying = self._thread.submit(self._tidy, dict(policies))

    def close(self) -> None:
        """Writes what waits, if the store takes it within seconds, and ends the thread."""
        with suppress(TookTooLong, RuntimeError):  # or where somebody closes it twice
            self._thread.submit(lambda: None).result(_LAST_SECONDS)
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _keep(self, candidate: Candidate, policy: CapturePolicy) -> None:
        model = candidate.model
        try:
            if self._now() < self._away_until:
                self._drop(model, "store")
                return
            content, digest = prepared(candidate.picture, self._redact, self._strip)
            outcome = self._keeper.keep(model, content, candidate.sighting(digest), policy)
        except NotKept as error:
            self._drop(model, str(error))
            if error.args == ("redaction_failed",):
                self._log.warning("a picture was not kept, as capture.redact failed", model=model, error=repr(error.__cause__))
        except Exception as error:  # noqa: BLE001 - whatever befalls a picture that might be kept, the next one is not to suffer
            self._drop(model, "store")
            self._fail(error)
        else:
            if outcome is Outcome.KEPT:
                for reason in candidate.reasons:
                    self._metrics.captured_images.labels(model, reason).inc()
                self._metrics.captured_bytes.labels(model).set(self._keeper.size_bytes(model))
            else:
                self._drop(model, outcome)
        finally:
            self._pictures -= 1

    def _name(self) -> None:
        while self._labels:
            model, prediction, given = self._labels.popleft()
            try:
                if self._now() < self._away_until:
                    self._keeper.remember(model, prediction, given)
                else:
                    self._keeper.name(model, prediction, given)
            except Exception as error:  # noqa: BLE001 - as above
                self._fail(error)

    def _tidy(self, policies: Mapping[str, CapturePolicy]) -> None:
        try:
            removed = self._keeper.tidy(policies)
        except Exception as error:  # noqa: BLE001 - as above
            self._fail(error)
            return
        if removed:
            self._log.info("captured pictures were removed", pictures=removed)
        for model in policies:
            self._metrics.captured_bytes.labels(model).set(self._keeper.size_bytes(model))

    def _fail(self, error: Exception) -> None:
        """Leaves the store alone for a while."""
        if self._now() >= self._away_until:
            says = error.message if isinstance(error, EyasError) else repr(error)
            self._log.warning("captured pictures could not be kept", error=says)
        self._away_until = self._now() + _PAUSE_SECONDS

    def _drop(self, model: str, reason: str) -> None:
        self._metrics.capture_dropped.labels(model, reason).inc()
