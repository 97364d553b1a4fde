"""The `eyas` command as a process of its own, with a terminal or a pipe: what is asked at Ctrl-C, and how it ends."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from eyas.v1 import job_service_pb2, model_service_pb2
from fake_server import FakeServer
from replies import TRAINING_UPDATES, job_message, model_message, update


class Terminal:
    """The command in a terminal of its own, at which a test reads and types."""

    def __init__(self, *arguments: str, **environment: str) -> None:
        self._main, side = pty.openpty()
        # Ctrl-C reaches the process whose terminal it is.
        program = "import fcntl, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); from eyas.cli import main; main()"
        self._process = subprocess.Popen(
            [sys.executable, "-c", program, *arguments],
            stdin=side,
            stdout=side,
            stderr=side,
            start_new_session=True,
            env=os.environ | {"COLUMNS": "100", "TERM": "xterm"} | environment,
        )
        os.close(side)
        self.text = ""

    def read_until(self, words: str, seconds: float = 100) -> None:
        """Reads until the words have come; what comes later is left for later."""
        until = time.monotonic() + seconds
        while words not in self.text and self._read(until - time.monotonic()):
            pass
        assert words in self.text, self.text

    def type(self, keys: str) -> None:
        self.text = ""
        os.write(self._main, keys.encode())

    def wait_until_it_waits(self) -> None:
        """Returns when none of its threads has wanted to run for a while."""
        looks = 0
        while looks < 6:
            time.sleep(0.05)
            assert self._process.poll() is None, self.text
            looks = looks + 1 if self._states() == {"S"} else 0

    def end(self) -> int:
        while self._read(100):
            pass
        os.close(self._main)
        return self._process.wait(100)

    def _states(self) -> set[str]:
        """Returns in which states its threads are: R is one that runs, or wants to, and S one that waits for something."""
        found = set()
        for thread in Path(f"/proc/{self._process.pid}/task").glob("*/stat"):
            with suppress(FileNotFoundError, ProcessLookupError):  # it has just ended
                found.add(thread.read_text().rpartition(")")[2].split()[0])
        return found

    def _read(self, seconds: float) -> bool:
        if not select.select([self._main], [], [], max(0, seconds))[0]:
            return False
        try:
            read = os.read(self._main, 65536)
        except OSError:  # the other end is closed
            return False
        self.text += re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", read.decode(errors="replace"))
        return bool(read)


def watched_in_a_terminal(server: FakeServer, more: list[Any]) -> Terminal:
    answered = threading.Event()
    server.answers("GetJob", job_service_pb2.GetJobResponse(job=job_message()))
    server.answers("CancelJob", job_service_pb2.CancelJobResponse(job=job_message("CANCELLED")))
    server.answers("WatchJob", [*TRAINING_UPDATES[:3], lambda: answered.wait(100), *more])
    terminal = Terminal("jobs", "watch", "abc", EYAS_ADDRESS=server.address)
    terminal.read_until("validation accuracy 0.875")
    assert "The label 'shoes' has 3 pictures only." in terminal.text
    terminal.type("\x03")
    terminal.read_until("[r]: ")
    terminal.wait_until_it_waits()  # an interrupt just before input() waits is seen by Python with the next key only
    answered.set()
    return terminal


def test_ctrl_c_in_a_terminal_asks_and_goes_on_watching(server: FakeServer) -> None:
    server.answers("GetModel", model_service_pb2.GetModelResponse(model=model_message()))
    terminal = watched_in_a_terminal(server, TRAINING_UPDATES[3:])
    terminal.type("r\n")
    assert terminal.end() == 0
    assert "accuracy 0.9000" in terminal.text
    assert server.calls("CancelJob") == []


def test_ctrl_c_in_a_terminal_asks_and_cancels(server: FakeServer) -> None:
    cancelled = job_message("CANCELLED")
    terminal = watched_in_a_terminal(server, [update(4, job=cancelled)])
    server.answers("GetJob", job_service_pb2.GetJobResponse(job=cancelled))
    terminal.type("c\n")
    assert terminal.end() == 1
    assert "eyas: Job abc was cancelled." in terminal.text
    assert len(server.calls("CancelJob")) == 1


@pytest.mark.parametrize("keys", ["d\n", "\x03"])
def test_ctrl_c_in_a_terminal_asks_and_detaches(server: FakeServer, keys: str) -> None:
    terminal = watched_in_a_terminal(server, [])
    terminal.type(keys)
    assert terminal.end() == 130
    assert "eyas: Job abc goes on; follow it with: eyas jobs watch abc" in terminal.text
    assert server.calls("CancelJob") == []


def test_without_click_and_rich_it_says_what_to_install() -> None:
    program = "import sys; sys.modules['rich'] = None; from eyas.cli import main; main()"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert ended.stderr == "eyas: The command needs rich: install it with pip install 'eyas[cli]'.\n"


def test_a_reader_that_leaves_early_is_no_error(server: FakeServer) -> None:
    jobs = [job_message(job=f"j{number}") for number in range(2000)]
    server.answers("ListJobs", job_service_pb2.ListJobsResponse(jobs=jobs))
    process = subprocess.Popen(
        [sys.executable, "-c", "from eyas.cli import main; main()", "jobs"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"EYAS_ADDRESS": server.address},
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.readline()
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(100) == 0
