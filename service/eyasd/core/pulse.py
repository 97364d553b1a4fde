"""JOB_DIR/pulse.json: signs of life of a training program, and what their absence means. Pure but for the reading.

A long step is not a stall. What hangs shows in one of three ways: it gives no sign at all; it neither computes, reads nor writes;
or it computes for far longer than any step takes. All durations are by clocks that never jump.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Final

from eyasd.core import document

BEAT_SECONDS: Final = 2.0
# A library that serialises a large network holds Python's lock, and the pulse with it, for seconds.
SILENT_SECONDS: Final = 60.0
# Until the first beat, a machine that is short of memory or disk may take its time.
BIRTH_SECONDS: Final = 300.0
IDLE_SECONDS: Final = 120.0
BUSY_SECONDS: Final = 1800.0
# Who has not looked for longer does not know what happened meanwhile: it may have been stopped together with the program.
_GAP_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True)
class Pulse:
    """One sign of life.

    Attributes:
        beat: its number, from 1.
        stage: see `core.jobs.Progress`.
        still_seconds: since the program last said how far it is.
        idle_seconds: since its processes last computed, read or wrote anything to speak of.
    """

    beat: int
    stage: str
    still_seconds: float
    idle_seconds: float


def read_pulse(path: Path) -> Pulse | None:
    """Returns what a file holds; None where it is not there yet, or half written."""
    try:
        return document.load(Pulse, path.read_text())
    except (OSError, ValueError):
        return None


class Watchdog:
    """Judges an attempt by its pulse."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Begins to watch; the clock is in seconds, and never jumps."""
        self._clock = clock
        self._beat = 0
        self._stage = ""
        self._changed = self._looked = clock()
        self._since = inf

    def look(self, pulse: Pulse | None) -> str | None:
        """Returns what there is to say: that the program hangs, once, or that it goes on; None for nothing.

        Args:
            pulse: the newest; None where none can be read.
        """
        now = self._clock()
        if now - self._looked > _GAP_SECONDS:
            self._changed = now
        self._looked = now
        if pulse is not None and pulse.beat != self._beat:
            self._beat, self._stage, self._changed = pulse.beat, pulse.stage, now
        why = self._judged(pulse, now)
        if why and not self.stalled:
            self._since = now
            return why
        if not why and self.stalled:
            seconds, self._since = now - self._since, inf
            return f"The training program goes on, {seconds:.0f} s after that was said."
        return None

    @property
    def stalled(self) -> bool:
        """Whether it hangs, as of the last look."""
        return self._since < inf

    def _judged(self, pulse: Pulse | None, now: float) -> str:
        stage = f" in stage {self._stage!r}" if self._stage else ""
        if (silent := now - self._changed) >= (SILENT_SECONDS if self._beat else BIRTH_SECONDS):
            return f"The training program hangs{stage}: it has given no sign of life for {silent:.0f} s."
        if pulse is None:
            return ""
        still = f"it is no further than {pulse.still_seconds:.0f} s ago"
        if min(pulse.still_seconds, pulse.idle_seconds) >= IDLE_SECONDS:
            idle = f"has neither computed, read nor written anything for {pulse.idle_seconds:.0f} s"
            return f"The training program hangs{stage}: {still}, and {idle}."
        if pulse.still_seconds >= BUSY_SECONDS:
            return f"The training program may hang{stage}: {still}, though it computes."
        return ""
