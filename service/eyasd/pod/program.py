"""The training program of a pod, all its processes, from its start to its end; what it writes is said again, as the pod's log."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import BinaryIO, Final

from eyasd.core import jobdir, kin, stacks
from eyasd.core.pulse import BEAT_SECONDS, Watchdog, read_pulse

# Nodes are found, and the image is pulled, at different times.
_MEETING_SECONDS: Final = 1800
_MOST_BYTES: Final = 1 << 20  # of the log at one look


@dataclass(frozen=True, slots=True)
class Group:
    """The processes that train together.

    Attributes:
        processes: how many of them this pod has.
        nodes: how many pods there are, all alike.
        node: number of this one, from 0.
        meeting: HOST:PORT at the first pod, where they find each other.
    """

    processes: int = 1
    nodes: int = 1
    node: int = 0
    meeting: str = ""

    def command(self, folder: Path) -> list[str]:
        """Returns the command line of this pod's part."""
        if self.nodes > 1:
            # Each is told its number: its name may not be known yet, by which torchrun would find out.
            meeting = ("--rdzv-backend=static", f"--rdzv-endpoint={self.meeting}", f"--rdzv-conf=timeout={_MEETING_SECONDS}")
            several = (f"--nnodes={self.nodes}", f"--node-rank={self.node}", *meeting, f"--nproc-per-node={self.processes}")
            program: tuple[str, ...] = ("torch.distributed.run", *several, "-m", "eyasd.training")
        elif self.processes > 1:
            program = ("eyasd.training.launch", str(self.processes))
        else:
            program = ("eyasd.training",)
        return [sys.executable, "-m", *program, str(folder)]


class Program:
    """A program under way."""

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str], folder: Path, grace_seconds: float, said: BinaryIO
    ) -> None:
        """Starts it.

        Args:
            command: its command line.
            environment: all that it has of one.
            folder: JOB_DIR.
            grace_seconds: from when it is told to end until it is killed.
            said: where its output goes on to.
        """
        self._folder, self._grace, self._said = folder, grace_seconds, said
        self._log = folder / jobdir.LOG
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(command, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log)  # noqa: S603
        self._position = 0
        self._asked = inf
        self._watchdog, self._next = Watchdog(), 0.0

    def stop(self) -> None:
        """Asks it to write a checkpoint and end; whoever asks again changes nothing."""
        if self._asked == inf:
            self._asked = time.monotonic()
            self._process.terminate()

    def look(self, tell: Callable[[str], None]) -> bool:
        """Passes on what it writes, says of it that it hangs, and where, and kills it when its grace is over.

        Args:
            tell: takes sentences for people.

        Returns:
            Whether it is at work.
        """
        ended = self._process.poll() is not None
        self._pass_on()
        if ended:
            return False
        if time.monotonic() > self._next:
            self._next = time.monotonic() + BEAT_SECONDS
            if said := self._watchdog.look(read_pulse(self._folder / jobdir.PULSE)):
                where = stacks.place(stacks.ask(os.getpid(), self._log)) if self._watchdog.stalled else ""
                tell(f"{said} It is at {where}." if where else said)
        if time.monotonic() - self._asked > self._grace:
            self.kill()
        return True

    def kill(self) -> None:
        """Ends it at once, and all that descends from it."""
        if self._process.poll() is not None:
            return
        for process in [*kin.descendants(self._process.pid), self._process.pid]:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)

    def status(self) -> int:
        """Returns its exit status once it has ended, as a shell has it; torchrun's own says nothing but that something failed."""
        status = self._process.wait()
        if status == jobdir.OK:
            return status
        if (self._folder / jobdir.ERROR).exists():
            return jobdir.USER_ERROR
        if self._asked < inf:
            return jobdir.TERMINATED
        return status if status > 0 else 128 - status

    def _pass_on(self) -> None:
        with self._log.open("rb") as log:
            log.seek(self._position)
            while piece := log.read(_MOST_BYTES):
                self._position += len(piece)
                self._said.write(piece)
        self._said.flush()
