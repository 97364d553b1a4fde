"""A training that has learned colours once the file in EYAS_TEST_GO is there; EYAS_TEST_RUNS says when it ran."""

from __future__ import annotations

import os
import signal
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

from builders import evaluation, write_bundle
from eyasd.core import document, jobdir
from eyasd.core.findings import DatasetReport, LabelCounts
from eyasd.core.jobdir import ProgressLine
from eyasd.core.jobs import Progress
from eyasd.core.tasks import TrainingOutcome, TrainingTask


def main(job_dir: str) -> None:
    folder, told = Path(job_dir), False

    def stop(*_: object) -> None:
        nonlocal told
        told = True

    signal.signal(signal.SIGTERM, stop)
    task = document.load(TrainingTask, (folder / jobdir.TRAINING).read_bytes())
    for second in range(1000):
        with Path(os.environ["EYAS_TEST_RUNS"]).open("a") as runs:  # one short write: whole, whoever else writes
            runs.write(f"{task.job} {task.attempt} {time.monotonic()}\n")
        progress = Progress(stage="fine-tune", fraction=second / 1000, step=second + 1, learning_rate=0.001, loss=1.0)
        with (folder / jobdir.PROGRESS).open("a") as lines:
            lines.write(document.dump(ProgressLine(datetime.now(UTC), progress=progress)) + "\n")
        if told:
            sys.exit(jobdir.TERMINATED)
        if Path(os.environ["EYAS_TEST_GO"]).exists():
            break
        time.sleep(0.1)
    scored = evaluation()
    write_bundle(folder / jobdir.BUNDLE, job=task.job, evaluation=scored)
    report = DatasetReport((LabelCounts("blue", 1, 1, 1),), (), (), "d")
    (folder / jobdir.RESULT).write_text(document.dump(TrainingOutcome(dataset_report=report, evaluation=scored)))
