"""What follows an attempt that ended without a result: another one, later, or the failure of its job. Pure.

Whose fault it was decides. A machine that failed, a kill, a full disk, a broken device: the same again, after waits that double.
Too little memory: once more, with batches taken in parts, which changes nothing in what is learned. Anything else, bad data, a bad
request, a bug, would end the same way again.
"""

from __future__ import annotations

import re
import signal
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Final

from eyasd.core import jobdir
from eyasd.core.errors import StorageFailed, TrainerFailed, TrainerOutOfMemory, Unavailable, reason_of
from eyasd.core.jobs import Job, JobError, JobType
from eyasd.jobs.runner import Cause, Ending

LONGEST: Final = timedelta(minutes=5)  # that a job waits
_MICRO_BATCHES: Final = 2
_MEMORY: Final = reason_of(TrainerOutOfMemory)
# What a later attempt may find mended: a disk, an object store.
_PASSING: Final = frozenset(map(reason_of, (StorageFailed, Unavailable)))
_BLAMELESS: Final = (jobdir.NO_ROOM, jobdir.PASSING, jobdir.TERMINATED)
# The last words of a program that the driver or a neighbour took down; a fresh process gets a fresh context.
_DEVICE_FAULT: Final = re.compile(
    r"CUDA error|CUDA driver error|cuDNN error|CUBLAS_STATUS|NCCL|uncorrectable ECC|Connection (closed|reset) by peer|PeersLost"
)
# That of a program that got no memory where Python could not say so: the loader's, the C library's, torch's, of C++.
_NO_MEMORY: Final = re.compile(r"[Cc]annot allocate memory|failed to map segment|std::bad_alloc")


class Fault(StrEnum):
    """Whose fault an end was."""

    MACHINE = "machine"
    """The machine's, the device's or the disk's, or that of whoever ended it: another attempt may succeed."""
    MEMORY = "memory"
    """There was too little memory: a smaller attempt may succeed."""
    JOB = "job"
    """The request's, the dataset's or the program's: every attempt would end so."""


@dataclass(frozen=True, slots=True)
class RetryOptions:
    """How often, and how soon.

    Attributes:
        max_attempts: most attempts that are lost through no fault of the job's own.
        wait: before the third one, as the second follows at once, or before the second one after a full disk; doubled each time.
    """

    max_attempts: int
    wait: timedelta


@dataclass(frozen=True, slots=True)
class Again:
    """Another attempt is made.

    Attributes:
        wait: how long from now.
        setback: why the last one ended, sentences for a person.
        lost: how often the job's process has ended through no fault of its own.
        micro_batches: see `TrainingTask`.
    """

    wait: timedelta
    setback: str
    lost: int
    micro_batches: int


def judge(job: Job, ending: Ending, told: JobError | None, last_words: str, options: RetryOptions) -> Again | JobError:
    """Returns what follows an attempt without a result: another one, or why the job has failed.

    Args:
        job: as it stood during the attempt.
        ending: how that ended.
        told: what the program itself said was wrong; None where it said nothing.
        last_words: of its log, see `words.last_words`.
        options: how often, and how soon.
    """
    fault, what = fault_of(ending, told, last_words), told.message if told else described(ending, last_words)
    if fault is Fault.JOB:
        return told or JobError(reason_of(TrainerFailed), what)
    smaller = job.type is JobType.TRAINING and job.micro_batches < _MICRO_BATCHES
    if fault is Fault.MEMORY:
        if not smaller:
            return told or JobError(_MEMORY, f"{what} Give it more, or choose a smaller batch_size, image_size_px or backbone.")
        return Again(timedelta(0), f"{what} It is tried again with each batch in {_MICRO_BATCHES} parts.", job.lost, _MICRO_BATCHES)
    lost = job.lost + 1
    if lost >= options.max_attempts:
        reason = told.reason if told else reason_of(TrainerFailed)
        return JobError(reason, f"{what} That was attempt {lost} of {options.max_attempts} that were lost." if lost > 1 else what)
    # What was lost with its machine can go on elsewhere at once; a full disk takes its time.
    waits = lost if told or ending.status == jobdir.NO_ROOM else lost - 1
    return Again(min(options.wait * 2 ** (waits - 1), LONGEST) if waits else timedelta(0), what, lost, job.micro_batches)


def fault_of(ending: Ending, told: JobError | None, last_words: str) -> Fault:
    """Returns whose fault the end of an attempt was; the arguments are those of `judge`."""
    if told is not None:
        return Fault.MEMORY if told.reason == _MEMORY else Fault.MACHINE if told.reason in _PASSING else Fault.JOB
    match ending.cause:
        case Cause.OUT_OF_MEMORY:
            return Fault.MEMORY
        case Cause.LOST:
            return Fault.MACHINE
        case Cause.TIME_LIMIT | Cause.REFUSED:
            return Fault.JOB
        case Cause.PROGRAM:
            crashed = ending.status is not None and ending.status > 0 and ending.status not in _BLAMELESS
            if crashed and _NO_MEMORY.search(last_words):
                return Fault.MEMORY
            return Fault.JOB if crashed and not _DEVICE_FAULT.search(last_words) else Fault.MACHINE


def described(ending: Ending, last_words: str) -> str:
    """Returns what happened, a sentence for a person."""
    status = ending.status
    if ending.message:
        return ending.message
    if status is None:
        return "The training program was lost, and nobody saw how."
    if status == jobdir.NO_ROOM:
        return "The disk of the job's folder is so full that the training program could not even say so: free the disk of data_dir."
    if status == jobdir.TERMINATED:
        return "The training program was told to end, by whom is not known."
    if status == jobdir.PASSING:
        return f"The training program could not go on: {last_words}"
    if status < 0:
        memory = ", perhaps for want of memory" if status == -signal.SIGKILL else ""
        return f"The training program was ended by signal {-status} ({signal.strsignal(-status)}){memory}."
    return f"The training program crashed: {last_words}"
