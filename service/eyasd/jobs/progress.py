"""Reads what a trainer has written to its progress file since the last look.

A line that is not whole yet is left for the next look; one that is damaged, as a killed process may leave it, is skipped.
"""

from __future__ import annotations

from pathlib import Path

from eyasd.core import document
from eyasd.core.jobdir import ProgressLine
from eyasd.core.jobs import JobEvent


def read_progress(path: Path, position: int) -> tuple[list[JobEvent], int]:
    """Returns the new events, without sequence numbers, and where the next read begins.

    Args:
        path: JOB_DIR/progress.jsonl; it may not be there yet.
        position: in bytes.
    """
    try:
        with path.open("rb") as file:
            file.seek(position)
            content = file.read()
    except FileNotFoundError:
        return [], position
    whole, newline, _ = content.rpartition(b"\n")
    events = [event for line in whole.split(b"\n") if (event := event_of(line)) is not None]
    return events, position + len(whole) + len(newline)


def event_of(line: str | bytes) -> JobEvent | None:
    """Returns what a line says, without a sequence number; None for one that is damaged."""
    try:
        read = document.load(ProgressLine, line)
    except ValueError:
        return None
    return JobEvent(0, read.time, progress=read.progress, message=read.message)
