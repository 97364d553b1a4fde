"""Picks the most instructive pictures of production, of models whose policy says so, and has them kept.

    answer -> why it is worth keeping -> the best of some seconds -> a thread: redaction, metadata, the store

Where no policy is on an answer costs a look into a dictionary. Where one is, most pictures cost a comparison or two; a picture is
held, as its caller sent it, only while it is among the best of its window, or remembered for feedback.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Final

from eyasd.core.capture import CapturePolicy, CaptureReason
from eyasd.core.captured import GivenLabels, LabelSource
from eyasd.serving.capture.picking import Candidate, candidate, found, worth_of
from eyasd.serving.capture.recent import Recent
from eyasd.serving.capture.window import Window
from eyasd.serving.capture.writing import Writer
from eyasd.serving.engine.loading import LoadedVersion
from eyasd.serving.feedback.ids import nonce_of
from eyasd.serving.feedback.judged import Judged
from eyasd.serving.seen import Seen
from eyasd.telemetry.metrics import Metrics

_TIDY_SECONDS: Final = 60.0

# How unlike the training pictures one that was answered is, 0..1; 0 is as most are. In the event loop, so at once.
Unusual = Callable[[Seen], float]


class Capture:
    """A watcher of answers, a listener to feedback, and told of what shadows say. Belongs to one event loop."""

    def __init__(
        self,
        policies: Callable[[], Mapping[str, CapturePolicy]],
        writer: Writer,
        metrics: Metrics,
        *,
        hourly_images: float,
        memory_bytes: int,
        unusual: Unusual = lambda _: 0.0,
        window_seconds: float = 10.0,
        draw: Callable[[], float] = random.random,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        """Picks nothing yet.

        Args:
            policies: of each model that ever had one, in force or not.
            writer: keeps.
            metrics: counts what is dropped.
            hourly_images: see `Window`.
            memory_bytes: of pictures that were just answered, see `Recent`.
            unusual: see there.
            window_seconds: of which the best are kept.
            draw: a random number of 0..1.
            now: seconds on a monotonic clock.
        """
        self._policies, self._writer, self._metrics = policies, writer, metrics
        self._unusual, self._draw = unusual, draw
        self._window_seconds = window_seconds
        self._window = Window(hourly_images, now, self._drop)
        self._recent = Recent(memory_bytes, now)

    def wants(self, loaded: LoadedVersion) -> bool:  # noqa: ARG002 - the seam's
        """See `Watcher.wants`: the few pictures that are kept are decoded again, by the thread that keeps them."""
        return False

    def see(self, seen: Seen) -> None:
        """See `Watcher.see`."""
        policy = self._policies().get(seen.loaded.model)
        if policy is None or not policy.on:
            return
        reasons = found(seen, policy, self._draw() * 100, self._unusual(seen))
        remembers = self._recent.takes() and CaptureReason.WRONG in policy.reasons and bool(seen.labelled.prediction_id)
        if not reasons and not remembers:
            return
        worth = max((worth_of(*reason) for reason in reasons), default=0)
        if not remembers and not self._window.takes(seen.loaded.model, reasons[0][0], worth):
            self._drop(seen.loaded.model, "rate")
            return
        made = _candidate(seen)
        if remembers:
            self._recent.remember(made)
        for reason, degree in reasons:
            made.give(reason, degree)
        if reasons:
            self._window.offer(made)

    def unusual(self, seen: Seen, degree: float) -> None:
        """Takes note that a picture, once it was looked at, is unlike the training pictures, 0..1."""
        self._offer(seen, CaptureReason.DRIFT, degree, None)

    def disagreed(self, seen: Seen, label: str, distance: float) -> None:
        """Takes note that a shadow calls a picture by another label, and how far its probabilities are, 0..1."""
        self._offer(seen, CaptureReason.SHADOW, distance, label)

    def judged(self, judged: Judged) -> None:
        """See `Listener.judged`."""
        stamp = judged.stamp
        policy = self._policy(stamp.model)
        if policy is None:
            return
        prediction = stamp.nonce.hex()
        known = self._recent.take(prediction)
        if not judged.right and CaptureReason.WRONG in policy.reasons:
            if known is None:
                self._drop(stamp.model, "gone")  # unless it is kept for another reason
            else:
                known.give(CaptureReason.WRONG, stamp.confidence)
                self._window.offer(known)
        self._writer.name(
            stamp.model, prediction, GivenLabels(tuple(sorted(judged.labels)), datetime.now(UTC), LabelSource.FEEDBACK)
        )

    async def run(self) -> None:
        """Has the best of each window kept, and every minute what is too much removed, until cancelled."""
        due = 0.0
        while True:
            if time.monotonic() >= due:
                self._writer.tidy(self._policies())
                due = time.monotonic() + _TIDY_SECONDS
            await asyncio.sleep(self._window_seconds)
            self.close_window()

    def close_window(self) -> None:
        """Has the best of the window that is open kept, and opens another."""
        self._writer.keep(self._window.close(), {model: policy for model, policy in self._policies().items() if policy.on})

    async def close(self) -> None:
        """Has the best of what is held kept, and ends the thread."""
        self.close_window()
        await asyncio.to_thread(self._writer.close)

    def _policy(self, model: str) -> CapturePolicy | None:
        """Returns the policy of a model; None where nothing of it is kept."""
        policy = self._policies().get(model)
        return policy if policy is not None and policy.on else None

    def _offer(self, seen: Seen, reason: CaptureReason, degree: float, shadow_label: str | None) -> None:
        policy = self._policy(seen.loaded.model)
        if policy is not None and reason in policy.reasons:
            made = _candidate(seen)
            made.shadow_label = shadow_label
            made.give(reason, degree)
            self._window.offer(made)

    def _drop(self, model: str, reason: str) -> None:
        self._metrics.capture_dropped.labels(model, reason).inc()


def _candidate(seen: Seen) -> Candidate:
    prediction_id = seen.labelled.prediction_id
    return candidate(seen, datetime.now(UTC), nonce_of(prediction_id).hex() if prediction_id else "")
