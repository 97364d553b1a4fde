"""How long things take, measured so that they can be compared on a machine that has other work, too."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence


def quickest(runs: Sequence[Callable[[], object]], rounds: int) -> list[float]:
    """Returns the seconds of the quickest call of each.

    They take turns, so that a slow moment of the machine meets all alike, and the quickest of several calls is the one that least
    came between.
    """
    best = [float("inf")] * len(runs)
    for _ in range(rounds):
        for number, run in enumerate(runs):
            start = time.perf_counter()
            run()
            best[number] = min(best[number], time.perf_counter() - start)
    return best
