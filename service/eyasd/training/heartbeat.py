"""JOB_DIR/pulse.json as the program writes it, from a thread; `core.pulse` says what it means."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol

from eyasd.core import document, kin
from eyasd.core.pulse import BEAT_SECONDS, Pulse

# Less than this between two beats is what idle processes take, these threads among them: of one processor, and of reads and writes.
_COMPUTING: Final = 0.02
_MOVING_BYTES: Final = 256 * 1024
_SIZE: Final = 256  # of the file: always the same, so that no beat needs room on a disk that has become full


class Beating(Protocol):
    """What has a pulse: `journal.Journal`."""

    @property
    def current_stage(self) -> str:
        """The stage under way."""
        ...

    @property
    def moves(self) -> int:
        """How often it has said how far it is."""
        ...


class Heartbeat:
    """Gives signs of life of this process, and of all that descend from it."""

    def __init__(
        self,
        path: Path,
        beating: Beating,
        clock: Callable[[], float] = time.monotonic,
        usage: Callable[[], dict[int, kin.Usage]] | None = None,
    ) -> None:
        """Writes nothing yet.

        Args:
            path: of the file.
            beating: whose progress counts.
            clock: in seconds, which never jumps.
            usage: what each process has used so far; None is this one and its descendants.
        """
        self._path, self._beating, self._clock = path, beating, clock
        self._usage = usage or (lambda: kin.usage([os.getpid(), *kin.descendants(os.getpid())]))
        self._beat = 0
        self._moves = -1
        self._last = clock()
        self._used: dict[int, kin.Usage] = {}
        self._still = self._idle = 0.0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="heartbeat", daemon=True)

    def start(self) -> None:
        """Beats until `close`."""
        self._thread.start()

    def close(self) -> None:
        """Beats no more."""
        self._ended.set()

    def beat(self) -> None:
        """Gives one sign of life. Raises OSError."""
        now, used = self._clock(), self._usage()
        elapsed = now - self._last
        # A process that was stopped, as a whole or with its machine, has not stood still.
        counted = min(elapsed, 2 * BEAT_SECONDS)
        moves = self._beating.moves
        self._still = self._still + counted if moves == self._moves else 0.0
        self._idle = 0.0 if self._busy(used, elapsed) else self._idle + counted
        self._last, self._used, self._moves = now, used, moves
        self._beat += 1
        pulse = Pulse(self._beat, self._beating.current_stage, round(self._still, 1), round(self._idle, 1))
        file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            os.pwrite(file, document.dump(pulse).ljust(_SIZE).encode(), 0)
        finally:
            os.close(file)

    def _busy(self, used: dict[int, kin.Usage], elapsed: float) -> bool:
        nothing = kin.Usage(0.0, 0)
        before = [self._used.get(process, nothing) for process in used]
        seconds = sum(now.processor_seconds - then.processor_seconds for now, then in zip(used.values(), before, strict=True))
        moved = sum(now.moved_bytes - then.moved_bytes for now, then in zip(used.values(), before, strict=True))
        return seconds >= _COMPUTING * elapsed or moved >= _MOVING_BYTES

    def _run(self) -> None:
        while not self._ended.wait(BEAT_SECONDS):
            try:
                self.beat()
            except OSError:
                continue  # the disk may take the next one
