"""JOB_DIR: the folder through which a job and its training program speak; the program is a function from it to itself.

    training.json    a TrainingTask, or
    evaluation.json  an EvaluationTask, or
    inspection.json  an InspectionTask: exactly one of the three, written before the program starts
    uploaded.json    an UploadedDataset: where the files of the task's dataset are kept, if it was uploaded
    base/            manifest and weights of the version that a training starts from, and its network and its answers where captured
                     pictures are added; or the manifest of the one whose training is retraced by an inspection
    captured/        the captured pictures that a training adds, by their ids, and list.json, a FrozenList of those that are there;
                     where such a training is retraced, beside them answers.npz of the version that it started from
    bundle/          the version to score in an evaluation; the version made in a training, complete once result.json exists
    others/N/        in an evaluation of several versions the further ones, from 1
    progress.jsonl   one ProgressLine a line, appended whole by the program
    unreported.json  Unreported: what the pod of an attempt, which shares no disk with its trainer, could not tell it in time
    pulse.json       a `core.pulse.Pulse`, every two seconds
    result.json      TrainingOutcome, EvaluationOutcome or InspectionOutcome; written last, at once
    error.json       JobError; the program then ends with USER_ERROR
    lock             held, in the kernel's sense, for as long as the program lives
    ending.json      how it ended, in the words of who started it
    lease            touched by the daemon that owns the job; where the program is told so, it ends once that is not done any more
    checkpoint.safetensors  where a training stands, from which a later attempt goes on
    trainer.log      its standard output and standard error

Whatever else lies there is the program's own: a later attempt in the same folder goes on from it.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from eyasd.core.jobs import Progress

TRAINING: Final = "training.json"
EVALUATION: Final = "evaluation.json"
INSPECTION: Final = "inspection.json"
UPLOADED: Final = "uploaded.json"
PROGRESS: Final = "progress.jsonl"
UNREPORTED: Final = "unreported.json"
RESULT: Final = "result.json"
ERROR: Final = "error.json"
BASE: Final = "base"
CAPTURED: Final = "captured"
CAPTURED_LIST: Final = "list.json"
BUNDLE: Final = "bundle"
OTHERS: Final = "others"
LOCK: Final = "lock"
LOG: Final = "trainer.log"
ENDING: Final = "ending.json"
LEASE: Final = "lease"
PULSE: Final = "pulse.json"
CHECKPOINT: Final = "checkpoint.safetensors"

# Exit codes of the program. Any other is a fault of its own or of its machine, and its standard error says more.
OK: Final = 0
USER_ERROR: Final = 42
NO_ROOM: Final = 74  # sysexits.h: an error while doing I/O; the disk did not even take error.json
PASSING: Final = 75  # EX_TEMPFAIL of sysexits.h, of a pod: the store was away, or the disk; another attempt may succeed
TERMINATED: Final = 143  # 128 + SIGTERM, as a shell reports it


@dataclass(frozen=True, slots=True)
class ProgressLine:
    """One line of progress.jsonl: exactly one of `progress` and `message` is set.

    Attributes:
        time: when it was put, UTC.
        message: a sentence for a person.
        sequence: its number among the lines of its process, from 1; one that is missing was given up while the disk took none.
    """

    time: datetime
    progress: Progress | None = None
    message: str | None = None
    sequence: int = 0


@dataclass(frozen=True, slots=True)
class Unreported:
    """Lines of progress.jsonl that no trainer has taken down.

    Attributes:
        first: number of the first of them, as `ReportProgress` has it.
        lines: without their ends.
    """

    first: int
    lines: tuple[str, ...]
