"""Lines reach the disk when it takes them, and nobody waits for that."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from eyasd.core import document
from eyasd.core.jobdir import ProgressLine
from eyasd.core.jobs import Progress
from eyasd.training import lines as lines_module
from eyasd.training.lines import MOST_WAITING, Lines


def parsed(text: str) -> list[ProgressLine]:
    return [document.load(ProgressLine, line) for line in text.splitlines()]


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(lines_module, "_RETRY_SECONDS", 0.01)
    return tmp_path / "progress.jsonl"


@pytest.fixture
def lines(path: Path) -> Iterator[Lines]:
    made = Lines(path)
    yield made
    made.close()


def test_lines_are_numbered_and_there_when_it_is_closed(lines: Lines, path: Path) -> None:
    lines.start()
    for number in range(500):
        lines.put(message=f"{number}")
    lines.close()
    assert [(line.sequence, line.message) for line in parsed(path.read_text())] == [(n + 1, f"{n}") for n in range(500)]


def test_what_a_full_disk_does_not_take_is_written_when_it_has_room(lines: Lines, path: Path) -> None:
    path.symlink_to("/dev/full")
    lines.start()
    for number in range(1000):
        lines.put(progress=Progress(stage="head", stage_fraction=number / 1000))
        if number % 100 == 0:
            lines.put(message=f"{number}")
    path.unlink()
    lines.close()
    found = parsed(path.read_text())
    assert [line.message for line in found if line.message] == [f"{number}" for number in range(0, 1000, 100)]
    assert found[-1].progress == Progress(stage="head", stage_fraction=0.999)
    numbers = [line.sequence for line in found]
    assert numbers == sorted(numbers)
    assert numbers[-1] == 1010
    # What was being written when the disk was full, and what waited.
    assert len([line for line in found if line.progress]) <= 2 * MOST_WAITING


def test_nobody_waits_for_a_slow_disk(lines: Lines, path: Path) -> None:
    """Once a pipe that nobody reads is full, a write to it does not return."""
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        lines.start()
        began = time.monotonic()
        for _ in range(100):
            lines.put(message="x" * 10_000)
        assert time.monotonic() - began < 5
        read = b""
        while read.count(b"\n") < 100:
            try:
                read += os.read(reader, 1 << 20)
            except BlockingIOError:
                time.sleep(0.001)
    finally:
        os.close(reader)
    assert [line.sequence for line in parsed(read.decode())] == list(range(1, 101))


def test_the_end_of_the_program_does_not_wait_for_ever(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines_module, "_CLOSE_SECONDS", 0.05)
    path.symlink_to("/dev/full")
    lines = Lines(path)
    lines.start()
    lines.put(message="the last word")
    lines.close()
    path.unlink()  # which ends its thread
    assert lines._thread is not None
    lines._thread.join(100)
    assert [line.message for line in parsed(path.read_text())] == ["the last word"]
