"""A canary beside production: what both did at the same time, and whether that is enough to roll the canary back.

Requests are shared out by chance, or by a hash of their keys, so the two do the same work under the same load, and a difference is
the versions' own. Requests of many pictures take longer, so latencies are compared among requests of about as many. Pure: knows no
clock and no registry.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import chain
from typing import Final

from eyasd.core.traffic import Bounds
from eyasd.serving.traffic.evidence import is_slower, p_above, p_more

# A sound canary is rolled back in less than this share of windows, for each of errors, latency and accuracy: the looks at a window
# share it out evenly, so that looking often does not make an alarm likelier.
_ALARM: Final = 0.001
_LOOKS: Final = 10
# Half of the requests, and the slow ones that people complain of.
_QUANTILES: Final = (0.5, 0.95)
_MOST_TIMES: Final = 1000


class Cause(StrEnum):
    """What a canary was rolled back for."""

    ERRORS = "errors"
    LATENCY = "latency"
    ACCURACY = "accuracy"


@dataclass(frozen=True, slots=True)
class Verdict:
    """That a canary is to be rolled back: what for, and what was found, as the end of a sentence."""

    cause: Cause
    finding: str


@dataclass(slots=True)
class _Sample:
    """A fair sample of times, in seconds, however many come (Vitter's algorithm R)."""

    draw: random.Random
    times: list[float] = field(default_factory=list)
    seen: int = 0

    def add(self, seconds: float) -> None:
        self.seen += 1
        if len(self.times) < _MOST_TIMES:
            self.times.append(seconds)
        elif (place := self.draw.randrange(self.seen)) < _MOST_TIMES:
            self.times[place] = seconds


@dataclass(slots=True)
class _Answers:
    """How many of one's answers were judged in a window, and how many of them are wrong."""

    judged: int = 0
    wrong: int = 0


class _Requests:
    """What became of one's requests in a window."""

    def __init__(self, draw: random.Random) -> None:
        self.count = self.failed = 0
        # By the number of pictures, to the next power of two.
        self.times: defaultdict[int, _Sample] = defaultdict(lambda: _Sample(draw))


class Trial:
    """A canary beside production.

    Looked at after every `min_requests` of the canary's requests, and of its answers that were judged; after ten looks a new window
    begins, so that what goes wrong late is not outweighed by a good start.
    """

    def __init__(self, bounds: Bounds, draw: random.Random | None = None) -> None:
        self._bounds = bounds
        self._draw = draw or random.Random()  # noqa: S311 - a sample, no secret
        self._begin_requests()
        self._begin_answers()

    def observe(self, *, canary: bool, images: int, seconds: float | None, failed: bool) -> Verdict | None:
        """Takes down a request; returns a verdict where it is enough to roll the canary back.

        Args:
            canary: whether the canary answered it, else production did.
            images: number of pictures in it.
            seconds: from the choice of the version to the answer; None where that says nothing of the version.
            failed: whether it failed through no fault of the caller.
        """
        side = self._canary if canary else self._production
        side.count += 1
        side.failed += failed
        if seconds is not None:
            side.times[(images - 1).bit_length()].add(seconds)
        verdicts = chain(self._of_errors(), self._of_latency())
        return self._look(side.count, verdicts, self._begin_requests) if canary else None

    def observe_answer(self, *, canary: bool, right: bool) -> Verdict | None:
        """Takes down whether an answer was right, as is known afterwards; returns a verdict as `observe` does."""
        side = self._canary_answers if canary else self._production_answers
        side.judged += 1
        side.wrong += not right
        return self._look(side.judged, self._of_accuracy(), self._begin_answers) if canary else None

    def _begin_requests(self) -> None:
        self._canary, self._production = _Requests(self._draw), _Requests(self._draw)

    def _begin_answers(self) -> None:
        self._canary_answers, self._production_answers = _Answers(), _Answers()

    def _look(self, seen: int, verdicts: Iterator[Verdict], begin: Callable[[], None]) -> Verdict | None:
        if seen % self._bounds.min_requests:
            return None
        verdict = next(verdicts, None)
        if verdict is None and seen >= _LOOKS * self._bounds.min_requests:
            begin()
        return verdict

    def _of_errors(self) -> Iterator[Verdict]:
        canary, production, bound = self._canary, self._production, self._bounds.max_error_rate
        if p_above(canary.failed, canary.count, bound) > _ALARM / _LOOKS:
            return
        # Where production answers next to nothing there is nothing to compare with, and the bound decides.
        compared = production.count >= self._bounds.min_requests
        if compared and p_more(canary.failed, canary.count, production.failed, production.count) > _ALARM / _LOOKS:
            return
        yield Verdict(
            Cause.ERRORS,
            f"{canary.failed} of its {canary.count} requests failed, and {production.failed} of {production.count} of production's",
        )

    def _of_latency(self) -> Iterator[Verdict]:
        ratio = self._bounds.max_latency_ratio
        strata = [size for size in self._canary.times if size in self._production.times]
        for size in strata:
            times, others = self._canary.times[size].times, self._production.times[size].times
            for quantile in _QUANTILES:
                if is_slower(times, others, ratio, quantile, _ALARM / _LOOKS / len(_QUANTILES) / len(strata)):
                    took, other = (1000 * sorted(all_)[int(quantile * (len(all_) - 1))] for all_ in (times, others))
                    yield Verdict(
                        Cause.LATENCY,
                        f"{quantile:.0%} of its requests of {_sizes(size)} take up to {took:,.1f} ms, of production's "
                        f"{other:,.1f} ms; at most {ratio:g} times as long is allowed",
                    )

    def _of_accuracy(self) -> Iterator[Verdict]:
        canary, production = self._canary_answers, self._production_answers
        if p_more(canary.wrong, canary.judged, production.wrong, production.judged) <= _ALARM / _LOOKS:
            yield Verdict(
                Cause.ACCURACY,
                f"{canary.wrong} of its {canary.judged} judged answers are wrong, and {production.wrong} of {production.judged} of "
                "production's",
            )


def _sizes(size: int) -> str:
    """Returns how many pictures the requests of a stratum have."""
    low, high = (1 << size) // 2 + 1, 1 << size
    return f"{high} pictures" if low == high and high > 1 else "1 picture" if high == 1 else f"{low} to {high} pictures"
