"""The trainer as processes of this machine, under a guard (`eyasd.jobs.guard`).

A lock on JOB_DIR/lock is the truth about whether a job's process lives: the process inherits it and the kernel releases it
when the process ends, however it ends. So a daemon that was killed and started again finds its trainers, and never starts a
second one beside a first; a process id in a file could not promise either. A GPU that a job was given is locked in the same way.

The bound of memory is kept by the guard, which looks at what the job's processes hold. RLIMIT_AS counts addresses, of which CUDA
reserves hundreds of gigabytes; a control group can be made below that of a daemon in few places, and in no container.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import signal
import sys
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from eyasd.core import jobdir, stacks
from eyasd.core.environment import handed_on
from eyasd.core.locks import is_held
from eyasd.jobs import folder
from eyasd.jobs.gpus import open_lock, take, taken
from eyasd.jobs.guard import PID_BYTES
from eyasd.jobs.runner import Cause, Ending, Launch, Process, Standing

_POLL_SECONDS: Final = 0.5
# Between the end of a guard that was killed, and of what the kernel kills with it; or a guard's start, and its first word.
_LAST_SECONDS: Final = 0.02
_LAST_GRACE_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalOptions:
    """What a machine gives to jobs; 0 is no bound.

    Attributes:
        processes: how many a training takes; 0 is one a GPU, and one without a GPU. All other jobs take one.
        gpus: what CUDA_VISIBLE_DEVICES calls the GPUs that there are.
        locks: folder in which a GPU is locked by who has it, whichever daemon of the machine started him.
        memory_bytes: most that the processes of a job take together.
        time_limit_seconds: most that an attempt runs.
        grace_seconds: how long one that has run for so long has to end in.
        lease_seconds: after how long without a change of JOB_DIR/lease an attempt ends, as nobody owns it any more.
    """

    processes: int = 0
    gpus: tuple[str, ...] = ()
    locks: Path
    memory_bytes: int = 0
    time_limit_seconds: float = 0.0
    grace_seconds: float = 30.0
    lease_seconds: float = 0.0


class LocalProcess:
    """A guard of this machine and all that descends from it, a child or one that outlived an earlier daemon."""

    stays = False  # whoever ends a daemon wants its machine

    def __init__(self, pid: int, job_dir: Path, child: asyncio.subprocess.Process | None = None, place: str = "") -> None:
        self._pid = pid
        self._job_dir = job_dir
        self._child = child
        self._place = place or _place(pid)  # which the kernel does not tell yet of one that has just begun

    async def wait(self) -> Ending:
        """See `Process.wait`."""
        status = await self._child.wait() if self._child is not None else None
        while is_held(self._job_dir / jobdir.LOCK):  # noqa: ASYNC110 - a lock that another process holds has no event to wait for
            await asyncio.sleep(_POLL_SECONDS if status is None else _LAST_SECONDS)
        try:
            told = json.loads((self._job_dir / jobdir.ENDING).read_text())
        except FileNotFoundError:  # the guard itself was killed
            return Ending(status, Cause.LOST)
        return Ending(told["status"], Cause(told["cause"]), told["message"])

    async def stop(self, grace_seconds: float) -> None:
        """See `Process.stop`."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._pid, signal.SIGTERM)
            for ends, seconds in ((self._kill, grace_seconds), (self._kill_group, _LAST_GRACE_SECONDS)):
                try:
                    await asyncio.wait_for(self.wait(), seconds)
                except TimeoutError:
                    ends()
                else:
                    return
            await self.wait()
        if self._child is not None:  # it had ended by itself, and asyncio may have yet to hear of it
            await self._child.wait()

    def _kill(self) -> None:
        os.kill(self._pid, signal.SIGQUIT)  # which the guard takes for: all at once

    def _kill_group(self) -> None:
        os.killpg(self._pid, signal.SIGKILL)  # the guard does not hear; it leads a session of its own

    def standing(self) -> Standing:
        """See `Process.standing`."""
        return Standing(running=True, place=self._place)

    async def stacks(self) -> str:
        """See `Process.stacks`."""
        return await asyncio.to_thread(stacks.ask, self._pid, self._job_dir / jobdir.LOG)


class LocalRunner:
    """Runs `python -m eyasd.training JOB_DIR`, or several of it under `eyasd.training.launch`, each attempt under a guard."""

    def __init__(self, options: LocalOptions) -> None:
        self._options = options
        self._given: dict[str, str] = {}  # to which job which GPUs, as people call them

    async def start(self, launch: Launch) -> Process:
        """Starts a trainer; its output goes to JOB_DIR/trainer.log.

        Raises:
            BlockingIOError: a trainer works on the folder already.
            StorageFailed: the folder cannot be written.
            DevicesTaken: fewer GPUs than it wants are free.
        """
        job_dir = launch.job_dir
        with contextlib.ExitStack() as files:  # the guard's copies keep the locks
            try:
                descriptor = open_lock(job_dir / jobdir.LOCK)
                files.callback(os.close, descriptor)
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                os.pwrite(descriptor, b" " * PID_BYTES, 0)  # the guard writes it, as this daemon may be killed before
                (job_dir / jobdir.ENDING).unlink(missing_ok=True)
                log = files.enter_context((job_dir / jobdir.LOG).open("ab"))
            except BlockingIOError:
                raise
            except OSError as error:
                raise folder.unwritable(job_dir, error) from error
            processes = self._processes(launch)
            gpus, held = take(self._options.gpus, processes, self._options.locks, files)
            child = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "eyasd.jobs.guard",
                *self._bounds(),
                str(job_dir),
                sys.executable,
                "-m",
                *(("eyasd.training.launch", str(processes)) if processes > 1 else ("eyasd.training",)),
                str(job_dir),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**handed_on(os.environ), **({"CUDA_VISIBLE_DEVICES": ",".join(gpus)} if gpus else {})},
                # A session of its own: Ctrl-C at the terminal reaches the daemon, which then decides.
                start_new_session=True,
                pass_fds=(descriptor, *held),
            )
        self._given[launch.job] = f"GPU {','.join(gpus)}" if gpus else ""
        return LocalProcess(child.pid, job_dir, child, self._given[launch.job])

    def taken(self, here: Collection[str]) -> list[str]:
        """See `Runner.taken`."""
        own = {gpu for job in here for gpu in self._given.get(job, "").removeprefix("GPU ").split(",")}
        return [f"GPU {gpu}" for gpu in taken(self._options.gpus, self._options.locks) if gpu not in own]

    async def attach(self, launch: Launch) -> Process | None:
        """See `Runner.attach`."""
        path = launch.job_dir / jobdir.LOCK
        while is_held(path):
            if number := path.read_text().strip():
                found = LocalProcess(int(number), launch.job_dir)
                self._given[launch.job] = found.standing().place
                return found
            await asyncio.sleep(_LAST_SECONDS)  # a guard that has only just been started
        return None

    def _processes(self, launch: Launch) -> int:
        if not launch.training:
            return 1
        return launch.devices or self._options.processes or max(1, len(self._options.gpus))

    def _bounds(self) -> list[str]:
        options = self._options
        bounds = {
            "memory": options.memory_bytes,
            "seconds": options.time_limit_seconds,
            "grace": options.grace_seconds,
            "lease": options.lease_seconds,
        }
        return [f"--{name}={value}" for name, value in bounds.items()]


def _place(pid: int) -> str:
    """Returns which GPUs a process was given, for people; "" where none were, or it has gone."""
    with contextlib.suppress(OSError):
        for entry in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"):
            name, _, value = entry.partition(b"=")
            if name == b"CUDA_VISIBLE_DEVICES" and value:
                return f"GPU {value.decode(errors='replace')}"
    return ""
