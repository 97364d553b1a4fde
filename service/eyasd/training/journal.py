"""What the program says while it works, line by line, and how it hears that it shall stop.

Knows how much of a job each stage usually is, not what the stages do.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Final

from eyasd.core.evaluation import EpochMetrics
from eyasd.core.jobs import Progress
from eyasd.core.places import is_remote
from eyasd.core.spec import TrainSpec
from eyasd.training.lines import Lines

_MIN_INTERVAL_SECONDS: Final = 0.5
# Shares of the wall-clock time; they need not sum to 1. Measured on the 3,781 pictures of the clothing data set, 2 cores.
FAST_SHARES: Final = {"audit": 1, "weights": 3, "decode": 17, "head": 30, "export": 25, "evaluate": 5, "publish": 1}
FINE_TUNE_SHARES: Final = {
    "audit": 1,
    "weights": 3,
    "decode": 17,
    "head": 30,
    "fine-tune": 1500,
    "export": 25,
    "evaluate": 5,
    "publish": 1,
}
# Of every backbone but the first, and of the trials of `best`.
_RANKING_SHARE: Final = 50
_TRIALS_SHARE: Final = 1000
_VARIANT_SHARE: Final = 20
EVALUATION_SHARES: Final = {"audit": 2, "evaluate": 98}
INSPECTION_SHARES: Final = {"audit": 1, "weights": 3, "decode": 17, "features": 30, "suspects": 3}
RETRACING_SHARES: Final = {"audit": 1, "decode": 17}
# Of what lies in a bucket; a guess, as it depends on the way there.
_FETCH_SHARE: Final = 20


def training_shares(spec: TrainSpec) -> dict[str, int]:
    """Returns the shares of a training's stages, in their order."""
    shares = FINE_TUNE_SHARES if spec.fine_tunes else FAST_SHARES
    search = _RANKING_SHARE * spec.ranks + _TRIALS_SHARE * spec.searches
    found: dict[str, int] = {}
    for stage, share in shares.items():
        found[stage] = share
        if stage == "head" and search:
            found["search"] = search
        if stage == "evaluate" and spec.variants:
            found["variants"] = _VARIANT_SHARE * len(spec.variants)
    return found


def with_fetching(shares: Mapping[str, float], place: str) -> dict[str, float]:
    """Returns the shares of a job's stages, with that of the fetching where its dataset lies in a bucket."""
    return {**({"fetch": _FETCH_SHARE} if is_remote(place) else {}), **shares}


class Interrupted(Exception):
    """The program was told to stop, and does so between two steps."""


@dataclass
class Journal:
    """Appends lines to progress.jsonl, at most two a second but for news.

    Attributes:
        path: of progress.jsonl.
        shares: each stage's share of the job, in the order of the stages.
        tells_parts: whether somebody wants to know which part of a stage is under way.
        lines: where what it says goes.
        moves: how often it has heard that the program goes on.
    """

    path: Path
    shares: Mapping[str, float]
    tells_parts: bool = False

    def __post_init__(self) -> None:
        self._stop = threading.Event()
        # Where several processes train together, all have to stop at the same step: any of them stops all.
        self.agree: Callable[[bool], bool] = bool
        self._start = self._written = time.monotonic()
        self._stage_start = 0.0  # seconds after the start
        self._measured = False
        self._progress = Progress(stage=next(iter(self.shares)))
        self.moves = 0
        self.lines = Lines(self.path)

    def stop(self) -> None:
        """Asks the program to stop at the next step; safe in a signal handler."""
        self._stop.set()

    def check(self) -> None:
        """Raises Interrupted once somebody asked the program to stop."""
        self.moves += 1
        if self.agree(self._stop.is_set()):
            raise Interrupted

    def message(self, text: str) -> None:
        """Tells a person something, in a sentence."""
        self.moves += 1
        self.lines.put(message=text)

    @property
    def current_stage(self) -> str:
        """The stage under way."""
        return self._progress.stage

    def stage(self, stage: str) -> None:
        """Begins a stage."""
        self.check()
        self._progress = Progress(stage=stage, fraction=self._progress.fraction, validation=self._progress.validation)
        self._stage_start = time.monotonic() - self._start
        self._write()

    def part(self, part: str) -> None:
        """Begins a part of the stage, which lasts until the next one, or the end of the stage."""
        self.check()
        if self.tells_parts:
            self._progress = replace(self._progress, part=part)
            self._write()

    def advance(self, fraction: float, *, images_per_second: float = 0.0, loss: float | None = None) -> None:
        """Says how much of the stage is done, 0..1, and stops the program if it was asked to."""
        self.check()
        self._progress = replace(self._progress, stage_fraction=min(fraction, 1.0), images_per_second=images_per_second, loss=loss)
        if time.monotonic() - self._written >= _MIN_INTERVAL_SECONDS:
            self._write()

    def expect(self, seconds: float) -> None:
        """Says how long the whole of this stage will take, where that was measured; the estimates follow."""
        before = self._before()
        self._measured = True
        if self._stage_start > 0:
            self.shares = {**self.shares, self._progress.stage: before * seconds / self._stage_start}

    def stepped(self, step: int, learning_rate: float) -> None:
        """Notes how many steps are done, and the learning rate of the last; told with what comes next."""
        self._progress = replace(self._progress, step=step, learning_rate=learning_rate)

    def epoch(self, epoch: int, epochs: int) -> None:
        """Begins an epoch, counted from 1, of as many as are planned now."""
        self._progress = replace(self._progress, epoch=epoch, epochs=epochs, loss=None)

    def measured(self, validation: EpochMetrics) -> None:
        """Tells the newest figures on the validation split."""
        self._progress = replace(self._progress, validation=validation)
        self._write()

    def _write(self) -> None:
        self._written = now = time.monotonic()
        done = self._before() + self.shares[self._progress.stage] * self._progress.stage_fraction
        fraction = max(done / sum(self.shares.values()), self._progress.fraction)  # a new estimate never takes progress back
        elapsed = now - self._start
        # No estimate is better than a wild one: two per cent in, the shares say more than the clock, except that how long a
        # fine-tuning takes depends on its epochs and its budget, and is known once it has been measured.
        known = fraction > 0.02 and (self._measured or "fine-tune" not in self._to_come())
        left = timedelta(seconds=round(elapsed * (1 - fraction) / fraction, 1)) if known else None
        self._progress = replace(self._progress, fraction=round(fraction, 4), time_left=left)
        self.lines.put(progress=self._progress)

    def _before(self) -> float:
        """Returns the shares of the stages that are over."""
        return sum(share for stage, share in self.shares.items() if stage not in self._to_come())

    def _to_come(self) -> list[str]:
        """Returns the stage under way and those after it."""
        stages = list(self.shares)
        return stages[stages.index(self._progress.stage) :]
