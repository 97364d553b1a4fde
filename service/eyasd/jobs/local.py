"""The trainer as a process of this machine.

A lock on JOB_DIR/lock is the truth about whether a job's process lives: the process inherits it and the kernel releases it
when the process ends, however it ends. So a daemon that was killed and started again finds its trainers, and never starts a
second one beside a first; a process id in a file could not promise either.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import signal
import sys
from collections.abc import Mapping
from itertools import takewhile
from pathlib import Path
from typing import Final

from eyasd.core import jobdir
from eyasd.jobs.runner import Cause, Ending, Launch, Process, Standing

_POLL_SECONDS: Final = 0.5
_DRIVER: Final = Path("/proc/driver/nvidia/gpus")


class LocalProcess:
    """A process of this machine, a child or one that outlived an earlier daemon."""

    def __init__(self, pid: int, lock: Path, child: asyncio.subprocess.Process | None = None) -> None:
        self._pid = pid
        self._lock = lock
        self._child = child

    async def wait(self) -> Ending:
        """See `Process.wait`."""
        status = await self._child.wait() if self._child is not None else None
        while _locked(self._lock):  # noqa: ASYNC110 - a lock that another process holds has no event to wait for
            await asyncio.sleep(_POLL_SECONDS)
        return Ending(status, Cause.LOST if status is None or status < 0 else Cause.PROGRAM)

    async def stop(self, grace_seconds: float) -> None:
        """See `Process.stop`."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGTERM)
            try:
                await asyncio.wait_for(self.wait(), grace_seconds)
            except TimeoutError:
                os.killpg(self._pid, signal.SIGKILL)  # it leads a session of its own: its workers go with it
                await self.wait()

    def standing(self) -> Standing:
        """See `Process.standing`."""
        return Standing(running=True)


class LocalRunner:
    """Runs `python -m eyasd.training JOB_DIR`, or several of it under `eyasd.training.launch`, which holds and ends as one."""

    def __init__(self, processes: int = 1) -> None:
        """Remembers how many processes a training takes; all other jobs take one."""
        self._processes = processes

    async def start(self, launch: Launch) -> Process:
        """Starts a trainer; its output goes to JOB_DIR/trainer.log.

        Raises:
            BlockingIOError: a trainer works on the folder already.
        """
        job_dir = launch.job_dir
        path = job_dir / jobdir.LOCK
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with (job_dir / jobdir.LOG).open("ab") as log:
                child = await asyncio.create_subprocess_exec(
                    sys.executable,
                    "-m",
                    *self._program(launch),
                    str(job_dir),
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    # A session of its own: Ctrl-C at the terminal reaches the daemon, which then decides.
                    start_new_session=True,
                    pass_fds=(descriptor,),
                )
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, str(child.pid).encode(), 0)
        finally:
            os.close(descriptor)  # the child's copy keeps the lock
        return LocalProcess(child.pid, path, child)

    def _program(self, launch: Launch) -> tuple[str, ...]:
        if self._processes > 1 and launch.training:
            return "eyasd.training.launch", str(self._processes)
        return ("eyasd.training",)

    async def attach(self, launch: Launch) -> Process | None:
        """See `Runner.attach`."""
        path = launch.job_dir / jobdir.LOCK
        return LocalProcess(int(path.read_text()), path) if _locked(path) else None


def gpu_count(environment: Mapping[str, str], driver: Path = _DRIVER) -> int:
    """Returns how many GPUs a process of this machine sees, see `visible_gpus`."""
    return len(visible_gpus(environment, driver))


def visible_gpus(environment: Mapping[str, str], driver: Path = _DRIVER) -> list[str]:
    """Returns what CUDA_VISIBLE_DEVICES calls the GPUs that a process sees, without the seconds that it takes to ask CUDA.

    Args:
        environment: of the process; CUDA_VISIBLE_DEVICES ends, as in CUDA, before the first entry that is none.
        driver: where NVIDIA's driver lists its GPUs.
    """
    present = [str(number) for number, _ in enumerate(driver.glob("*"))]
    visible = environment.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        return present
    named = takewhile(lambda entry: entry not in {"", "-1"}, (entry.strip() for entry in visible.split(",")))
    return list(named)[: len(present)]


def _locked(path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
