"""pod.program: what it says is said again, what hangs is told, and what does not end is ended."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path

import pytest

from eyasd.core import document, jobdir
from eyasd.core.pulse import Pulse
from eyasd.pod.program import Group, Program

Run = Callable[..., Program]
HANG = "print('here', flush=True); time.sleep(600)"
DEAF = f"import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); {HANG}"
LOST = f"import faulthandler, signal, time; faulthandler.register(signal.SIGUSR1)\ndef hangs():\n    {HANG}\nhangs()"


@pytest.fixture
def said() -> BytesIO:
    return BytesIO()


@pytest.fixture
def run(tmp_path: Path, said: BytesIO) -> Iterator[Run]:
    started: list[Program] = []

    def start(code: str, grace_seconds: float = 600.0) -> Program:
        started.append(Program([sys.executable, "-c", code], os.environ, tmp_path, grace_seconds, said))
        return started[-1]

    yield start
    for program in started:
        program.kill()
        program.status()


def ended(program: Program) -> int:
    while program.look(lambda _: None):
        os.sched_yield()
    return program.status()


def until_here(folder: Path) -> None:
    while "here" not in (folder / jobdir.LOG).read_text():
        os.sched_yield()


@pytest.mark.parametrize(
    ("code", "status"),
    [("", 0), ("raise SystemExit(7)", 7), ("import os; os.kill(os.getpid(), 9)", 137), ("raise SystemExit(143)", 143)],
)
def test_its_status_is_that_of_the_program(run: Run, code: str, status: int) -> None:
    assert ended(run(code)) == status


def test_its_own_word_counts_for_more_than_a_launcher_s_status(run: Run, tmp_path: Path) -> None:
    (tmp_path / jobdir.ERROR).write_text("{}")
    assert ended(run("raise SystemExit(1)")) == jobdir.USER_ERROR


def test_all_that_it_says_is_said_again(run: Run, said: BytesIO, tmp_path: Path) -> None:
    assert ended(run("import sys; print('a' * 3_000_000); sys.stdout.flush(); sys.stderr.write('the end')")) == 0
    assert said.getvalue() == b"a" * 3_000_000 + b"\nthe end"
    assert (tmp_path / jobdir.LOG).read_bytes() == said.getvalue()


def test_one_that_does_not_heed_is_killed_after_its_grace(run: Run, tmp_path: Path) -> None:
    program = run(DEAF, 0.0)
    until_here(tmp_path)
    program.stop()
    program.stop()
    assert ended(program) == jobdir.TERMINATED


def test_one_that_hangs_is_told_of_with_its_place(run: Run, tmp_path: Path) -> None:
    (tmp_path / jobdir.PULSE).write_text(document.dump(Pulse(1, "fine-tune", 130.0, 130.0)))
    program, told = run(LOST), list[str]()
    until_here(tmp_path)
    assert program.look(told.append)
    hangs = "The training program hangs in stage 'fine-tune': it is no further than 130 s ago"
    assert told == [f"{hangs}, and has neither computed, read nor written anything for 130 s. It is at hangs (<string>:3)."]


def test_the_command_line_is_that_of_the_group(tmp_path: Path) -> None:
    assert Group().command(tmp_path)[1:] == ["-m", "eyasd.training", str(tmp_path)]
    assert Group(2).command(tmp_path)[1:] == ["-m", "eyasd.training.launch", "2", str(tmp_path)]
    several = Group(4, nodes=2, node=1, meeting="eyas-j1-1-0.eyas-j1-1:29500").command(tmp_path)
    assert several[1:3] == ["-m", "torch.distributed.run"]
    assert {"--nnodes=2", "--node-rank=1", "--nproc-per-node=4", "--rdzv-endpoint=eyas-j1-1-0.eyas-j1-1:29500"} <= {*several}
    assert several[-3:] == ["-m", "eyasd.training", str(tmp_path)]
