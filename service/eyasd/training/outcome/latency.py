"""How long networks take on this machine, measured in turn, so that whatever else the machine does slows all of them alike."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from statistics import median
from time import perf_counter
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from eyasd.core.bundle import INPUT, PROBABILITIES

_ROUNDS: Final = 20
_SECONDS: Final = 5.0  # for all rounds of one batch size; one round is made in any case
_SECONDS_OF_ONE: Final = 1.0  # at the end of a training, whose budget it takes


@dataclass(frozen=True, slots=True)
class Latency:
    """Medians: of one picture by itself, and of a batch divided by its pictures."""

    single: timedelta
    batch: timedelta


def measure(sessions: Sequence[Any], batches: Sequence[NDArray[np.uint8]]) -> tuple[Latency, ...]:
    """Returns how long each session takes.

    Args:
        sessions: of ONNX Runtime.
        batches: uint8 [n, H, W, 3] for each, of at least one picture.
    """
    singles = _medians(sessions, [batch[:1] for batch in batches])
    whole = _medians(sessions, batches)
    return tuple(
        Latency(timedelta(seconds=single), timedelta(seconds=seconds / len(batch)))
        for single, seconds, batch in zip(singles, whole, batches, strict=True)
    )


def of_one(session: Any, image: NDArray[np.uint8]) -> timedelta:
    """Returns how long a session takes for one picture, uint8 [H, W, 3], by itself."""
    return timedelta(seconds=_medians([session], [image[None]], _SECONDS_OF_ONE)[0])


def _medians(sessions: Sequence[Any], batches: Sequence[NDArray[np.uint8]], most: float = _SECONDS) -> list[float]:
    """Returns the median seconds of each session for its batch; the first run of a batch size, which plans memory, is left out."""
    for session, batch in zip(sessions, batches, strict=True):
        session.run([PROBABILITIES], {INPUT: batch})
    seconds: list[list[float]] = [[] for _ in sessions]
    begun = perf_counter()
    for _ in range(_ROUNDS):
        for session, batch, taken in zip(sessions, batches, seconds, strict=True):
            start = perf_counter()
            session.run([PROBABILITIES], {INPUT: batch})
            taken.append(perf_counter() - start)
        if perf_counter() - begun > most:
            break
    return [median(taken) for taken in seconds]
