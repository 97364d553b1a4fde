"""access.audit: a line for each change, whatever the log's level, and none is lost without a word."""

from __future__ import annotations

import asyncio
import errno
import io
import json
import os
from pathlib import Path
from typing import Any

import pytest

from eyasd.access.audit import Audit
from eyasd.access.refusals import Refusals
from eyasd.core.errors import StorageFailed
from eyasd.telemetry import logging
from eyasd.telemetry.logging import LogFormat

RECORD = {"who": "ann", "by": "token", "method": "ModelService/SetAlias", "what": {"name": "models/hats/aliases/production"}}


@pytest.fixture
def written(written: io.StringIO) -> io.StringIO:
    """The log of a daemon that tells errors only."""
    logging.configure("ERROR", LogFormat.JSON)
    return written


class Failures:
    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> None:
        self.count += 1


def audit(path: Path | None, failures: Failures | None = None) -> Audit:
    log = logging.logger().bind(acceptor=1)
    return Audit(path, logging.unfiltered(log), log, failures or Failures())


def lines(written: io.StringIO) -> list[dict[str, Any]]:
    logging.logger().error("the end")  # takes all lines along
    return [json.loads(line) for line in written.getvalue().splitlines()][:-1]


async def test_the_log_has_a_change_whatever_its_level(written: io.StringIO) -> None:
    made = audit(None)
    await made.begin(RECORD)
    made.end(RECORD, "NOT_FOUND", "There is no model 'hats'.")
    made.close()
    logging.logger().info("silent")
    (line,) = lines(written)
    assert line.items() >= {"event": "change", "who": "ann", "result": "NOT_FOUND", "acceptor": 1}.items()


async def test_a_line_that_was_cut_off_spoils_no_other(tmp_path: Path, written: io.StringIO) -> None:
    path = tmp_path / "changes"
    path.write_text('{"who": "bo')
    made = audit(path)
    await made.begin(RECORD)
    made.end(RECORD, "OK", None)
    made.close()
    assert [json.loads(line)["result"] for line in path.read_text().splitlines()[1:]] == ["BEGUN", "OK"]


async def test_what_the_file_does_not_take_is_told_whole(
    tmp_path: Path, written: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    failures = Failures()
    made = audit(tmp_path / "changes", failures)
    await made.begin(RECORD)

    def full(file: int, content: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    made.end(RECORD, "OK", None)
    with pytest.raises(StorageFailed, match="cannot be written, so nothing is changed"):
        await made.begin(RECORD)
    made.close()
    monkeypatch.undo()
    told = [line for line in lines(written) if line["level"] == "error"]
    assert [line["event"] for line in told] == [
        "the file of changes did not take a line",
        "a change was refused, as the file of changes does not take it",
    ]
    assert all(line["who"] == "ann" and line["what"] == RECORD["what"] for line in told)
    assert told[0]["result"] == "OK"
    assert failures.count == 2


async def test_attempts_beyond_sixty_a_minute_are_counted_and_changes_never_left_out(tmp_path: Path, written: io.StringIO) -> None:
    path = tmp_path / "changes"
    made = audit(path)
    await made.begin(RECORD)
    for _ in range(10_000):
        made.refuse(RECORD, "ann may not do this")
    made.refuse({**RECORD, "who": "bob"}, "bob may not do this")
    made.end(RECORD, "OK", None)
    made.close()
    told = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["result"] for line in told] == ["BEGUN", *["PERMISSION_DENIED"] * 61, "OK", "PERMISSION_DENIED"]
    assert [line["who"] for line in told[1:62]] == ["ann"] * 60 + ["bob"]
    assert told[-1].items() >= {"who": "ann", "left_out": 9940}.items()
    assert len(lines(written)) == 63  # and as many in the log


async def test_a_callers_next_minute_has_lines_of_its_own() -> None:
    told: list[Any] = []
    refusals = Refusals(told.append, seconds=0)
    ann = {"who": "ann", "by": "token"}
    assert [refusals.take(ann) for _ in range(70)] == [True] * 60 + [False] * 10
    while not told:
        await asyncio.sleep(0)
    assert refusals.take(ann)
    refusals.close()
    assert told == [{**ann, "left_out": 10}]


def test_a_file_that_cannot_be_written_is_told_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="Is a directory"):
        audit(tmp_path)
