"""What the scheduler asks of whatever runs training programs: to start an attempt of a job, to find it again, to say how it ended.

A runner knows places, processes and devices. It knows no rows, and decides nothing about a job's next attempt.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """One attempt of a job, about to be started.

    Attributes:
        job: id of the job.
        attempt: its number, from 1.
        job_dir: holds what the program is told, see `core.jobdir`.
        training: whether several processes may do it together; all else is the work of one.
        devices: GPUs that it is to have; 0 is what the runner was set to.
        owner: who submitted it; "" is nobody.
    """

    job: str
    attempt: int
    job_dir: Path
    training: bool = False
    devices: int = 0
    owner: str = ""


class Cause(StrEnum):
    """Why an attempt ended, as far as the place where it ran can tell."""

    PROGRAM = "program"
    """The program ended, by itself or because it was asked to; its exit status and JOB_DIR say how."""
    OUT_OF_MEMORY = "out_of_memory"
    """It was killed for want of the machine's memory, or because it took more than it may."""
    TIME_LIMIT = "time_limit"
    """It ran for as long as an attempt may."""
    LOST = "lost"
    """It was ended by what it is not to blame for: a machine that failed or was drained, a signal from nobody knows where."""
    REFUSED = "refused"
    """It cannot be run as it is set up: an image that does not exist, a program that cannot be started."""


@dataclass(frozen=True, slots=True)
class Ending:
    """How an attempt ended.

    Attributes:
        status: the program's exit status, negative for a signal; None where nobody could see it.
        message: what the place says about it, a sentence for a person; "" where the status says all.
    """

    status: int | None
    cause: Cause = Cause.PROGRAM
    message: str = ""


@dataclass(frozen=True, slots=True)
class Standing:
    """What is seen of an attempt that has not ended.

    Attributes:
        running: whether the program is at work, not only asked for.
        place: which devices of which machine it has, for a person; "" while nobody knows.
        reason: why it is not at work yet, a sentence; "" where it is, or nobody knows.
        suspended: whether it waits for whoever hands out the machines, who may have taken them away from it again.
    """

    running: bool
    place: str = ""
    reason: str = ""
    suspended: bool = False


class Process(Protocol):
    """An attempt under way.

    Attributes:
        stays: whether it goes on when the daemon goes down, to be found by the next; one that does not is stopped.
    """

    @property
    def stays(self) -> bool: ...  # noqa: D102 -- an attribute, which none may set

    async def wait(self) -> Ending:
        """Returns how it ended, once nothing of it runs any more."""
        ...

    async def stop(self, grace_seconds: float) -> None:
        """Asks it to end, and kills it if it has not after the grace; returns when nothing of it runs any more."""
        ...

    def standing(self) -> Standing:
        """Returns what was last seen of it."""
        ...

    async def stacks(self) -> str:
        """Returns where its threads are, as `stacks.place` reads it; "" where nobody can ask."""
        ...


class DevicesTaken(Exception):
    """Somebody has the devices that an attempt was to be given; the message says how many there were."""


class Runner(Protocol):
    """Starts attempts, and finds those started before, by an earlier daemon, too."""

    async def start(self, launch: Launch) -> Process:
        """Starts an attempt; one that was started already is found instead where that is possible.

        Raises:
            StorageFailed: its folder cannot be written.
            DevicesTaken: fewer devices than it wants are free.
        """
        ...

    def taken(self, here: Collection[str]) -> list[str]:
        """Returns the devices, as people call them, that somebody has, and that none of these jobs was given. Blocking."""
        ...

    async def attach(self, launch: Launch) -> Process | None:
        """Returns the attempt as it was started before and has not been seen to end; None where there is none."""
        ...
