"""jobs.migrations: any database that Eyas ever made becomes today's, with all that is in it; and no other is touched."""

from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
import structlog
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from eyasd.core.errors import StartupFailed
from eyasd.core.jobs import Job, JobState, JobType
from eyasd.jobs import migrations
from eyasd.jobs.store import JobStore
from eyasd.jobs.tables import METADATA
from postgres import Postgres

Log = structlog.typing.FilteringBoundLogger

# The tables as the first version of Eyas made them, and two jobs, one of which runs.
FIRST = """
CREATE TABLE jobs (
    number         INTEGER PRIMARY KEY AUTOINCREMENT,
    id             TEXT NOT NULL UNIQUE,
    request_id     TEXT UNIQUE,
    request        TEXT NOT NULL,
    state          TEXT NOT NULL,
    progress_bytes INTEGER NOT NULL DEFAULT 0,
    document       TEXT NOT NULL
);
CREATE TABLE events (
    job      TEXT NOT NULL REFERENCES jobs (id),
    sequence INTEGER NOT NULL,
    document TEXT NOT NULL,
    PRIMARY KEY (job, sequence)
) WITHOUT ROWID;
CREATE INDEX jobs_by_state ON jobs (state, number);
PRAGMA user_version = 1;
INSERT INTO jobs VALUES (4, 'a', 'r', 'train x', 'succeeded', 7, '{"id": "a", "type": "training", "state": "succeeded",
    "create_time": "2026-01-01T00:00:00+00:00", "attempt": 2, "lost": 1, "cancelling": false, "model": "m",
    "version": 3, "dataset": "/d"}');
INSERT INTO jobs VALUES (6, 'b', NULL, 'train y', 'running', 9, '{"id": "b", "type": "evaluation", "state": "running",
    "create_time": "2026-01-02T00:00:00+00:00", "attempt": 1, "lost": 0, "cancelling": false, "model": "m",
    "dataset": "/d"}');
INSERT INTO events VALUES ('a', 1, '{"sequence": 1, "time": "2026-01-01T00:00:00+00:00", "message": "hello"}');
"""


def job(name: str) -> Job:
    return Job(id=name, type=JobType.TRAINING, create_time=datetime.now(UTC), model="m", dataset="/d")


@pytest.fixture
def first(tmp_path: Path) -> Path:
    """A database of the first version."""
    path = tmp_path / "jobs.sqlite"
    connection = sqlite3.connect(path)
    connection.executescript(FIRST)
    connection.close()
    return path


def test_the_first_database_becomes_todays_and_loses_nothing(first: Path, log: Log) -> None:
    store = JobStore(first, log)
    done, running = store.get("a"), store.get("b")
    assert (done.state, done.version, done.attempt, done.lost) == (JobState.SUCCEEDED, 3, 2, 1)
    assert (running.state, running.attempt, running.type) == (JobState.RUNNING, 1, JobType.EVALUATION)
    assert [event.message for event in store.events("a", 1)] == ["hello"]
    assert (store.progress_bytes("a"), store.progress_bytes("b")) == (7, 9)
    assert store.submit(job("c"), "r", "train x").id == "a"
    store.submit(job("d"), None, "train z")
    assert [one.id for one in store.queued()] == ["d"]
    assert [one.id for one in store.leases.take_over("r")] == ["b"]  # nobody holds what ran when the daemon was stopped
    assert [one.id for one in store.page(None, 9)[0]] == ["d", "b", "a"]
    store.close()
    JobStore(first, log).close()  # and stays so


def test_a_trial_changes_nothing(first: Path, postgres: Postgres, log: Log) -> None:
    with sqlite3.connect(first) as connection:
        before = list(connection.iterdump())
    JobStore(first, log, trial=True).close()
    assert list(connection.iterdump()) == before
    connection.close()
    url = postgres.url(postgres.create())
    JobStore(url, log, trial=True).close()
    with psycopg.connect(url) as other:
        assert other.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").fetchone() == (0,)


def test_every_step_leads_to_the_tables_that_the_code_knows(database: Path | str, log: Log) -> None:
    store = JobStore(database, log)
    store._database.read(lambda connection: _same(MigrationContext.configure(connection)))
    store.close()
    config = Config()
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    assert ScriptDirectory.from_config(config).get_heads() == [migrations.REVISION]


def _same(context: MigrationContext) -> None:
    assert compare_metadata(context, METADATA) == []


@pytest.mark.parametrize("mark", ["PRAGMA user_version = 99", "UPDATE alembic_version SET version_num = '99'"])
def test_a_database_of_a_later_version_stops_the_start_and_stays_as_it_is(first: Path, log: Log, mark: str) -> None:
    if "alembic" in mark:
        JobStore(first, log).close()
    with sqlite3.connect(first) as connection:
        connection.execute(mark)
    before = "\n".join(connection.iterdump())
    with pytest.raises(StartupFailed, match=r"jobs\.sqlite was written by another version of Eyas \(schema 99\): use that one"):
        JobStore(first, log)
    assert "\n".join(connection.iterdump()) == before
    connection.close()


def test_a_step_that_is_cut_short_leaves_everything_as_it_was(first: Path, log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    with sqlite3.connect(first) as connection:
        before = list(connection.iterdump())
    monkeypatch.setattr(migrations, "_SQLITE_VERSIONS", (0, 1, 2, "no version"))
    with pytest.raises(StartupFailed, match="cannot be used"):
        JobStore(first, log)
    assert list(connection.iterdump()) == before
    connection.close()
    monkeypatch.undo()
    store = JobStore(first, log)
    assert store.get("a").version == 3
    store.close()


def test_daemons_that_start_at_once_make_the_tables_once(postgres: Postgres, log: Log) -> None:
    url = postgres.url(postgres.create())
    with ThreadPoolExecutor(4) as threads:
        stores = list(threads.map(lambda _: JobStore(url, log), range(4)))
    stores[0].submit(job("a"), None, "")
    assert [store.get("a").id for store in stores] == ["a"] * 4
    for store in stores:
        store.close()


@pytest.mark.parametrize(
    ("place", "says"),
    [
        ("here", "jobs.database is no URL: set it to postgresql://user@host/database"),
        ("mysql://host/jobs", "jobs.database is of 'mysql', or names no file"),
        ("sqlite://", "jobs.database is of 'sqlite', or names no file"),
        ("postgresql://eyas:hush@/jobs?host=/nowhere", r"job database postgresql.*eyas:\*\*\*@.* cannot be used: .*No such file"),
    ],
)
def test_a_place_that_is_none(place: str, says: str, log: Log) -> None:
    with pytest.raises(StartupFailed, match=says) as failed:
        JobStore(place, log)
    assert "hush" not in str(failed.value)
