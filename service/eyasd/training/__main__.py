"""`python -m eyasd.training JOB_DIR`: does what the task of JOB_DIR says; see `core.jobdir` for the contract.

Under torchrun, or `eyasd.training.launch`, several of it fine-tune together; the first does all else.
"""

from __future__ import annotations

import errno
import faulthandler
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from eyasd.core import document, jobdir, room
from eyasd.core.errors import EyasError, StorageFailed, TrainerOutOfMemory
from eyasd.core.jobs import JobError
from eyasd.core.tasks import EvaluationTask, InspectionTask, TrainingTask
from eyasd.training import durable
from eyasd.training.data.uploaded import uploaded_to
from eyasd.training.heartbeat import Heartbeat
from eyasd.training.journal import (
    EVALUATION_SHARES,
    INSPECTION_SHARES,
    RETRACING_SHARES,
    Interrupted,
    Journal,
    training_shares,
    with_fetching,
)
from eyasd.training.machine import rank_and_world, restart_tuned


def main() -> int:
    """Runs the task of the folder named on the command line; returns the exit code."""
    if len(sys.argv) != 2 or not Path(sys.argv[1]).is_dir():
        sys.stderr.write("usage: python -m eyasd.training JOB_DIR\n")
        return 2
    folder = Path(sys.argv[1])
    try:
        outcome = _run(folder)
        if outcome is not None:
            durable.write(folder / jobdir.RESULT, document.dump(outcome).encode())
    except Interrupted:
        return jobdir.TERMINATED
    except Exception as error:
        told = _explained(error, folder)
        if told is None:
            raise
        try:
            durable.write(folder / jobdir.ERROR, document.dump(JobError(told.reason, told.message)).encode())
        except OSError as full:
            if full.errno not in room.FULL:
                raise
            return jobdir.NO_ROOM
        return jobdir.USER_ERROR
    return jobdir.OK


def _run(folder: Path) -> object:
    if (folder / jobdir.TRAINING).exists():
        return _train(folder)
    if rank_and_world()[0]:  # all but a training is the work of one process
        return None
    return _inspect(folder) if (folder / jobdir.INSPECTION).exists() else _evaluate(folder)


def _train(folder: Path) -> object:
    restart_tuned()
    task = document.load(TrainingTask, (folder / jobdir.TRAINING).read_bytes())
    with _journal(folder, task, training_shares(task.spec)) as journal:
        journal.tells_parts = task.trace is not None
        from eyasd.training.ranks import connect  # noqa: PLC0415 -- torch takes seconds, and an evaluation does without
        from eyasd.training.together import assist  # noqa: PLC0415
        from eyasd.training.train import train  # noqa: PLC0415

        with connect() as ranks:
            if ranks.first:
                return train(task, folder, journal, ranks)
            assist(journal, ranks)
    return None


def _evaluate(folder: Path) -> object:
    task = document.load(EvaluationTask, (folder / jobdir.EVALUATION).read_bytes())
    with _journal(folder, task, EVALUATION_SHARES) as journal:
        from eyasd.training.scoring.rescore import rescore  # noqa: PLC0415 -- ONNX Runtime is not needed to read a task

        return rescore(task, folder, journal)


def _inspect(folder: Path) -> object:
    restart_tuned()
    task = document.load(InspectionTask, (folder / jobdir.INSPECTION).read_bytes())
    with _journal(folder, task, RETRACING_SHARES if task.spec.version else INSPECTION_SHARES) as journal:
        from eyasd.training.inspection import inspect  # noqa: PLC0415 -- torch takes seconds, and an evaluation does without
        from eyasd.training.retrace import retrace  # noqa: PLC0415

        return retrace(task, folder, journal) if task.spec.version else inspect(task, folder, journal)


@contextmanager
def _journal(folder: Path, task: TrainingTask | EvaluationTask | InspectionTask, shares: dict[str, int]) -> Iterator[Journal]:
    faulthandler.register(signal.SIGUSR1)  # says in the log where each thread is, whatever holds them up
    first = rank_and_world()[0] == 0
    # One process of a group tells what happens; the others have nothing to add.
    uploaded = uploaded_to(folder)
    stages = with_fetching(shares, uploaded.store if uploaded else task.dataset)
    journal = Journal(folder / jobdir.PROGRESS if first else Path(os.devnull), stages)
    signal.signal(signal.SIGTERM, lambda *_: journal.stop())
    if not first:
        yield journal
        return
    heartbeat = Heartbeat(folder / jobdir.PULSE, journal)
    journal.lines.start()
    heartbeat.start()
    try:
        yield journal
    except Exception as error:
        if not isinstance(error, EyasError | Interrupted):  # its traceback follows
            sys.stderr.write(f"Attempt {task.attempt} of job {task.job} failed:\n")
        raise
    finally:
        heartbeat.close()
        journal.lines.close()


def _explained(error: Exception, folder: Path) -> EyasError | None:
    """Returns what to tell the caller; None for a fault of the program, whose traceback says more."""
    match error:
        case EyasError():
            return error
        case OSError(errno=errno.ENOSPC | errno.EDQUOT):
            return StorageFailed(
                f"The trainer's disk is full ({room.room(folder)} where the job's folder is): free some space, or give data_dir a "
                "larger volume."
            )
        case OSError(errno=errno.EACCES | errno.EROFS | errno.EIO):
            return StorageFailed(
                f"The trainer cannot read or write its files: {error.strerror}. Check the volume of its job folder."
            )
        case MemoryError():
            return TrainerOutOfMemory(
                "The trainer ran out of memory; give it more, or choose a smaller batch_size or image_size_px."
            )
    if type(error).__name__ == "OutOfMemoryError":  # torch's, which is not imported here
        return TrainerOutOfMemory("The GPU ran out of memory; choose a smaller batch_size, image_size_px or backbone.")
    return None


if __name__ == "__main__":
    sys.exit(main())
