"""Several processes that hold, stop and end as one; here they are a few lines of Python."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from eyasd.core import jobdir
from eyasd.training import launch

STARTER = "import sys; from eyasd.training.launch import launch; sys.exit(launch(3, [sys.executable, '-c', sys.argv[1]]) % 256)"
RANK = "import os, sys, time; rank = os.environ['RANK']; "


def start(program: str, **options: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", STARTER, RANK + program]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, pass_fds=tuple(options.values()))


@pytest.mark.parametrize(
    ("program", "status"),
    [
        ("pass", jobdir.OK),
        ("sys.exit(42 if rank == '1' else time.sleep(30))", jobdir.USER_ERROR),
        ("os.kill(os.getpid(), 9) if rank == '2' else time.sleep(30)", -signal.SIGKILL % 256),
        (f"sys.exit({jobdir.TERMINATED} if rank == '0' else time.sleep(30))", jobdir.TERMINATED),
    ],
)
def test_one_that_fails_or_is_stopped_ends_all_with_its_status(program: str, status: int) -> None:
    with start(program) as process:
        assert process.wait(60) == status


def test_a_failure_outweighs_those_that_stop_because_of_it() -> None:
    assert launch._first_failure([jobdir.TERMINATED, -signal.SIGTERM, jobdir.USER_ERROR, -signal.SIGKILL]) == jobdir.USER_ERROR
    assert launch._first_failure([jobdir.OK, jobdir.TERMINATED]) == jobdir.TERMINATED
    assert launch._first_failure([jobdir.OK, jobdir.OK]) == jobdir.OK


def test_one_that_will_not_stop_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "_GRACE_SECONDS", 0.0)
    deaf = subprocess.Popen([sys.executable, "-c", "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(30)"])
    failed = subprocess.Popen([sys.executable, "-c", "raise SystemExit(42)"])
    assert launch._ends([deaf, failed])[0] == jobdir.USER_ERROR
    assert deaf.returncode in {-signal.SIGKILL, -signal.SIGTERM}


def test_all_are_told_to_stop_and_each_knows_its_place() -> None:
    program = (
        "import signal; signal.signal(15, lambda *_: sys.exit(143)); "
        "words = rank, os.environ['LOCAL_RANK'], os.environ['WORLD_SIZE'], str(os.getpgid(0)); "
        "os.write(1, ' '.join(words).encode() + b'\\n'); time.sleep(30)"
    )
    with start(program) as process:
        assert process.stdout is not None
        said = sorted(process.stdout.readline().split() for _ in range(3))
        process.terminate()
        assert process.wait(60) == jobdir.TERMINATED
    # In one process group, which is killed as one.
    assert said == [[rank, rank, "3", str(os.getpgid(0))] for rank in "012"]


def test_none_outlives_a_launcher_that_is_killed_and_the_lock_is_free(tmp_path: Path) -> None:
    lock = os.open(tmp_path / "lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(lock, fcntl.LOCK_EX)
    with start("os.write(1, b'ready\\n'); time.sleep(30)", lock=lock) as process:
        os.close(lock)
        assert process.stdout is not None
        for _ in range(3):
            process.stdout.readline()
        again = os.open(tmp_path / "lock", os.O_RDWR)
        with pytest.raises(BlockingIOError):  # each of them holds it
            fcntl.flock(again, fcntl.LOCK_EX | fcntl.LOCK_NB)
        process.kill()
        fcntl.flock(again, fcntl.LOCK_EX)
        os.close(again)
