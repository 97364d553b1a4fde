"""Everything at once, under load: a server, a trainer, their store, database, disks and clocks; what was promised is kept."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from eyasd.core.promotion import AliasRecord
from faults.siege.acts import ACTS
from faults.siege.record import Move, Record, Window
from faults.siege.siege import Plan, Siege
from faults.siege.table import rows
from load import Asked
from postgres import Postgres
from s3_server import S3Server
from tellers import said

from .conftest import Note

MINUTES = float(os.environ.get("EYAS_TEST_MINUTES", "30"))
ROUND = [act for act in ACTS if act.name == "kill -9" and act.role in {"acceptor", "engine", "decoder", "program", "trainer"}]


@pytest.mark.timeout(60 * MINUTES + 3600)
def test_no_promise_is_broken(tmp_path: Path, s3_server: S3Server, postgres: Postgres, all_faults: bool, note: Note) -> None:
    plan = Plan(7, seconds=60 * MINUTES, real=True) if all_faults else Plan(7, rounds=[ROUND], pace=0)
    siege = Siege(tmp_path, plan, s3_server, postgres)
    siege.run()
    assert siege.violations == []
    assert siege.record.answers.keys() == {"grpc", "stream", "http"}
    for row in rows(siege):
        note(row)


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(("plant", "rounds"), [("mixes", 3), ("forgetful", 3)])
def test_planted_bugs_are_found(tmp_path: Path, s3_server: S3Server, postgres: Postgres, plant: str, rounds: int) -> None:
    siege = Siege(tmp_path, Plan(3, rounds=[ROUND] * rounds, plant=plant), s3_server, postgres)
    siege.run()
    assert siege.violations


RED = (200, 40, 30)


@pytest.fixture
def record() -> Record:
    """An alias moved to version 1, as was seen at 5 s, and at 10 s to version 2, as was seen at 15 s; a fault from 20 s to 25 s."""
    made = Record(lambda version: f"job {version}", "colours")
    made.ask("colours", Move("first", 1, 0.0, 1, 1.0))
    made.settle("colours", 4.0, 5.0, [1])
    made.ask("colours", Move("second", 2, 10.0, 2, 11.0))
    made.settle("colours", 14.0, 15.0, [2])
    made.windows.append(Window(20.0, frozenset({"UNAVAILABLE"}), 25.0))
    return made


def asked(version: int, start: float, *, colour: tuple[int, int, int] = RED, model: str = "colours") -> Asked:
    return Asked("grpc", model, RED, start, start + 1, f"colours/{version}", *said(f"job {version}", colour))


def refused(code: str, start: float) -> Asked:
    return Asked("grpc", "colours", RED, start, start + 1, error=code)


RIGHT = [asked(1, 6), asked(2, 9.5), asked(1, 14), asked(2, 16), asked(1, 16, model="colours/1"), refused("UNAVAILABLE", 24.5)]
WRONG = [
    asked(1, 6, colour=(30, 40, 200)),
    asked(2, 6),
    asked(1, 16),
    asked(2, 16, model="colours/1"),
    refused("UNAVAILABLE", 18.5),
    refused("UNAVAILABLE", 25.5),
    refused("INTERNAL", 22),
]


def test_what_may_be_answered_is_no_violation(record: Record) -> None:
    for one in RIGHT:
        record.hear(one)
    record.judge_failures()
    assert record.violations == []


@pytest.mark.parametrize("one", WRONG, ids=lambda one: f"{one.model}-{one.version}-{one.error}-{one.start}")
def test_what_may_not_be_answered_is_found(record: Record, one: Asked) -> None:
    record.hear(one)
    record.judge_failures()
    assert len(record.violations) == 1


def history(*moves: tuple[int, int, int | None, str]) -> list[AliasRecord]:
    now = datetime.now(UTC)
    return [AliasRecord(number, version, previous, now, "ann", reason, None) for number, version, previous, reason in moves]


WHOLE = ((1, 1, None, "first"), (2, 2, 1, "second"))
BROKEN = {
    "lost": WHOLE[:1],
    "the first is gone": WHOLE[1:],
    "done twice": (*WHOLE, (3, 2, 2, "second")),
    "of nobody": (*WHOLE, (3, 1, 2, "third")),
    "not the next": (WHOLE[0], (2, 2, 3, "second")),
    "another one": (WHOLE[0], (2, 1, 1, "second")),
}


def test_a_whole_history_is_no_violation(record: Record) -> None:
    record.judge_history("colours", history(*WHOLE))
    assert record.violations == []


@pytest.mark.parametrize("moves", BROKEN.values(), ids=BROKEN)
def test_a_broken_history_is_found(record: Record, moves: tuple[tuple[int, int, int | None, str], ...]) -> None:
    record.judge_history("colours", history(*moves))
    assert record.violations
