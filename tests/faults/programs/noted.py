"""When training programs run, in a file that no program can lose: EYAS_TEST_RUNS, `start|end|beside JOB ATTEMPT PID` a line.

A lock of the kernel's, which goes with the process that has it and with no other, tells for certain that two run at once: the
second one notes that it runs `beside` another.
"""

from __future__ import annotations

import atexit
import fcntl
import json
import os
from pathlib import Path

_told: list[object] = []


def begins(job_dir: str) -> bool:
    """Notes that the program of a folder begins; returns whether it is one to be played."""
    task = json.loads((Path(job_dir) / "training.json").read_bytes())
    runs = Path(os.environ["EYAS_TEST_RUNS"])
    _told[:] = [task["job"], task["attempt"], os.getpid()]
    lock = os.open(runs.with_name(f"{task['job']}.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
    try:
        fcntl.lockf(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        _note("beside")
    _note("start")
    atexit.register(ends)
    return task["spec"].get("backbone") != "test_resnet"


def ends() -> None:
    """Notes that it ends by itself."""
    atexit.unregister(ends)
    _note("end")


def _note(what: str) -> None:
    with Path(os.environ["EYAS_TEST_RUNS"]).open("ab", buffering=0) as runs:  # one short write: whole, whoever else writes
        runs.write(f"{what} {' '.join(map(str, _told))}\n".encode())
