"""A training of half a second: steps that are told and kept as checkpoints, then a bundle, or why there is none.

The last part of the dataset's name says how it ends: `bad` is the caller's mistake, `broken` a crash of the program, anything else
a version of a network that knows colours. One of `long` takes five seconds.
"""

from __future__ import annotations

import errno
import os
import signal
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from eyasd.core import document, jobdir
from eyasd.core.findings import DatasetReport, LabelCounts
from eyasd.core.jobdir import ProgressLine
from eyasd.core.jobs import JobError, Progress
from eyasd.core.tasks import TrainingOutcome, TrainingTask
from eyasd.training import durable

STEPS = {"long": 250}  # which a daemon needs less than to start
STEP_SECONDS = 0.02
BAD = "Its pictures are bad."


def main(job_dir: str) -> int:
    folder, told = Path(job_dir), False

    def stop(*_: object) -> None:
        nonlocal told
        told = True

    signal.signal(signal.SIGTERM, stop)
    task = document.load(TrainingTask, (folder / jobdir.TRAINING).read_bytes())
    try:
        return _train(folder, task, lambda: told)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        return jobdir.NO_ROOM


def _train(folder: Path, task: TrainingTask, told: Callable[[], bool]) -> int:
    checkpoint = folder / "checkpoint"
    begin = int(checkpoint.read_text()) if checkpoint.exists() else 0
    steps = STEPS.get(Path(task.dataset).name, 20)
    for line, step in enumerate(range(begin, steps), 1):
        # Whole lines, which a later part of the tests counts: each is one write.
        progress = ProgressLine(datetime.now(UTC), Progress(stage="fine-tune", fraction=step / steps))
        message = ProgressLine(datetime.now(UTC), message=f"attempt {task.attempt} line {line}")
        with (folder / jobdir.PROGRESS).open("ab", buffering=0) as lines:
            begun = lines.seek(0, os.SEEK_END)
            content = f"{document.dump(progress)}\n{document.dump(message)}\n".encode()
            written = lines.write(content)
            if written < len(content):  # the disk is full
                lines.truncate(begun + content.rfind(b"\n", 0, written) + 1)
                return jobdir.NO_ROOM
        if told():
            return jobdir.TERMINATED
        time.sleep(STEP_SECONDS)
        durable.write(checkpoint, str(step + 1).encode())
    match Path(task.dataset).name:
        case "bad":
            durable.write(folder / jobdir.ERROR, document.dump(JobError("INVALID_ARGUMENT", BAD)).encode())
            return jobdir.USER_ERROR
        case "broken":
            sys.stderr.write("ValueError: it broke\n")  # as the last line of a traceback
            sys.stderr.flush()
            return 1
    import tellers
    from builders import evaluation

    scored = evaluation()
    tellers.write(folder / jobdir.BUNDLE, task.job, evaluation=scored)
    report = DatasetReport((LabelCounts("blue", 1, 1, 1),), (), (), "d")
    durable.write(folder / jobdir.RESULT, document.dump(TrainingOutcome(dataset_report=report, evaluation=scored)).encode())
    return jobdir.OK
