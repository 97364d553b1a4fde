"""jobs.progress: whole lines once each; half lines later; damaged ones never."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from eyasd.core import document
from eyasd.core.jobdir import ProgressLine
from eyasd.jobs.progress import read_progress


def line(message: str) -> bytes:
    return document.dump(ProgressLine(datetime.now(UTC), message=message)).encode() + b"\n"


def test_lines_are_read_once_and_whole(tmp_path: Path) -> None:
    path, first, second = tmp_path / "p", line("one"), line("two")
    assert read_progress(path, 0) == ([], 0)
    path.write_bytes(first + second[:10])
    events, position = read_progress(path, 0)
    assert ([event.message for event in events], position) == (["one"], len(first))
    path.write_bytes(first + second)
    events, position = read_progress(path, position)
    assert ([event.message for event in events], position) == (["two"], len(first + second))
    assert read_progress(path, position) == ([], position)


def test_a_damaged_line_is_skipped(tmp_path: Path) -> None:
    (tmp_path / "p").write_bytes(b'{"time": "2026-\n' + line("after"))
    assert [event.message for event in read_progress(tmp_path / "p", 0)[0]] == ["after"]
