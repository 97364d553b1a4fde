"""`python -m eyasd.jobs.guard [BOUNDS] JOB_DIR COMMAND...`: one attempt of a job on this machine, from its start to its end.

Stands between the daemon and the program, because either may be killed: it outlives the daemon, and no process of the program
outlives it. Orphans become its children, the program dies with it by the kernel's hand, and it ends when the last of them has.
SIGTERM is passed on to the program, SIGQUIT kills all at once.

How it ended is written to JOB_DIR/ending.json, as a daemon that was started again is not its parent and sees no exit status. It
imports the standard library alone, as there are as many guards as jobs.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from math import inf
from pathlib import Path
from typing import Final

from eyasd.core import kin

ENDING: Final = "ending.json"  # of `core.jobdir`, which takes too long to import
LOCK: Final = "lock"
PID_BYTES: Final = 16  # of that file, so that there is room for its number on a full disk
LEASE: Final = "lease"
_TERMINATED: Final = 143
OUT_OF_MEMORY: Final = "out_of_memory"  # of `runner.Cause`, likewise
TIME_LIMIT: Final = "time_limit"
LOST: Final = "lost"
PROGRAM: Final = "program"

_LOOK_SECONDS: Final = 0.25
_LEASE_GRACE_SECONDS: Final = 1.0  # another may soon begin
_REAP_SECONDS: Final = 0.01
_HEARD: Final = {signal.SIGCHLD, signal.SIGTERM, signal.SIGQUIT}
_VMSTAT: Final = Path("/proc/vmstat")


class Guard:
    """An attempt at work."""

    def __init__(self, bounds: argparse.Namespace) -> None:
        """Starts the program.

        Args:
            bounds: what `main` has read.
        """
        self._bounds = bounds
        self._kills = _memory_kills()
        self._start = time.monotonic()
        self._lease = _changed(bounds.job_dir / LEASE), self._start
        self._looked = self._start
        self._kill_at = inf
        self._cause, self._message = PROGRAM, ""
        self._status: int | None = None
        parent = os.getpid()

        def prepare() -> None:
            signal.pthread_sigmask(signal.SIG_SETMASK, ())
            kin.end_with(parent)

        # Its files are the daemon's gift: the lock of JOB_DIR and those of its GPUs, which all that descends from it holds, too.
        program = subprocess.Popen(bounds.command, close_fds=False, preexec_fn=prepare)  # noqa: S603, PLW1509 -- one thread
        program.returncode = 0  # nobody but `_reap` waits for it
        self._program = program.pid

    def follow(self) -> int:
        """Returns the program's exit status, negative for a signal, when nothing of it runs any more."""
        while self._status is None:
            heard = signal.sigtimedwait(_HEARD, _LOOK_SECONDS)
            self._reap()
            if heard is not None and heard.si_signo == signal.SIGTERM:
                self._ask()
            elif heard is not None and heard.si_signo == signal.SIGQUIT:
                self._kill()
            self._look()
        if self._status < 0 and self._cause == PROGRAM and self._status != -signal.SIGTERM:
            self._cause = LOST
            if self._status == -signal.SIGKILL and _memory_kills() > self._kills:
                self._cause = OUT_OF_MEMORY
                self._message = "The machine ran out of memory, and its kernel killed the training program."
        while self._reap():
            self._kill()
            time.sleep(_REAP_SECONDS)
        return _TERMINATED if self._status == -signal.SIGTERM else self._status

    def _reap(self) -> bool:
        """Takes down who has ended; returns whether anybody is left."""
        try:
            while True:
                process, status = os.waitpid(-1, os.WNOHANG)
                if process == 0:
                    return True
                if process == self._program:
                    self._status = os.waitstatus_to_exitcode(status)
        except ChildProcessError:
            return False

    def _ask(self) -> None:
        if self._status is None:  # until it has been waited for, its number is nobody else's
            os.kill(self._program, signal.SIGTERM)

    def _kill(self) -> None:
        for process in kin.descendants(os.getpid()):
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)

    def _look(self) -> None:
        """Ends the program where it has exceeded a bound."""
        bounds, now = self._bounds, time.monotonic()
        if now > self._kill_at:
            self._kill()
        if self._cause != PROGRAM or self._status is not None:
            return
        if bounds.memory and (held := kin.memory_bytes(kin.descendants(os.getpid()))) > bounds.memory:
            taken, most = f"{held / 1e9:.2f} GB", f"{bounds.memory / 1e9:.2f} GB"
            self._cause, self._message = OUT_OF_MEMORY, f"The training program took {taken} of memory, and may take {most}."
            self._kill()
        elif bounds.seconds and now - self._start > bounds.seconds:
            told = f"The training program ran for {bounds.seconds:g} s, which is as long as an attempt may."
            self._end(TIME_LIMIT, told, bounds.grace)
        elif bounds.lease:
            if self._lease[0] != (newest := _changed(bounds.job_dir / LEASE)):
                self._lease = newest, self._looked  # at the earliest: who was stopped meanwhile does not know when
            if now - self._lease[1] > bounds.lease:
                told = f"No daemon has renewed the lease of the job for {bounds.lease:g} s."
                self._end(LOST, told, min(bounds.grace, _LEASE_GRACE_SECONDS))
        self._looked = now

    def _end(self, cause: str, message: str, grace: float) -> None:
        """Lets the program write a checkpoint, and kills it after the grace."""
        self._cause, self._message = cause, message
        self._kill_at = time.monotonic() + grace
        self._ask()

    def record(self, status: int) -> None:
        """Writes how it ended, at once or not at all."""
        path: Path = self._bounds.job_dir / ENDING
        told = {"status": status, "cause": self._cause, "message": self._message}
        with suppress(OSError):  # a full disk; then nobody knows how it ended, and that is what happens
            path.with_suffix(".new").write_text(json.dumps(told))
            path.with_suffix(".new").replace(path)


def main() -> int:
    """Guards the command that the command line names; returns its exit status, as a shell reports it."""
    reader = argparse.ArgumentParser(prog="python -m eyasd.jobs.guard", description="Runs a program within bounds; 0 is none.")
    reader.add_argument("--memory", type=int, default=0, help="bytes that all its processes may take together")
    reader.add_argument("--seconds", type=float, default=0.0, help="how long it may run")
    reader.add_argument("--lease", type=float, default=0.0, help="seconds without a change of JOB_DIR/lease after which it ends")
    reader.add_argument("--grace", type=float, default=30.0, help="seconds that it has to end in, before it is killed")
    reader.add_argument("job_dir", type=Path)
    reader.add_argument("command", nargs=argparse.REMAINDER)
    bounds = reader.parse_args()
    # Blocked, a signal waits until it is asked for: none is lost between two looks.
    signal.pthread_sigmask(signal.SIG_BLOCK, _HEARD)
    kin.adopt()
    lock = os.open(bounds.job_dir / LOCK, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
    os.pwrite(lock, str(os.getpid()).encode().ljust(PID_BYTES), 0)  # so that a daemon finds it that did not start it
    os.close(lock)
    guard = Guard(bounds)
    status = guard.follow()
    guard.record(status)
    return status if status >= 0 else 128 - status


def _memory_kills() -> int:
    """Returns how many processes of the machine the kernel has killed for want of memory."""
    with suppress(OSError):
        for line in _VMSTAT.read_text().splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    return 0


def _changed(path: Path) -> int:
    """Returns when a file was changed last, to be compared for equality alone: clocks may jump."""
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


if __name__ == "__main__":
    sys.exit(main())
