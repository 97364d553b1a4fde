"""The clock of a trainer, and of all that it starts, is set by an hour, under a job that another trainer stands by to take over."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import eyas
from builders import picture, write_bundle
from eyasd.registry.models import Models
from eyasd.storage.local import LocalStore
from postgres import Postgres
from trainers import TESTS, Trainer

from .clock import Clock
from .conftest import Tell
from .test_outage import Asking

HOUR = 3600
PAST_LEASE_SECONDS = 12


@pytest.fixture
def trainers(postgres: Postgres, tmp_path: Path) -> Iterator[tuple[Trainer, Trainer]]:
    """Two daemons on one database, of which the first serves `colours`, too."""
    models = Models(LocalStore(tmp_path / "models"))
    models.publish("colours", write_bundle(tmp_path / "bundle"), "job1")
    models.aliases.set("colours", "production", 1, actor="test", reason="")
    settings = {"JOBS__DATABASE": postgres.url(postgres.create()), "REGISTRY__URL": f"file://{tmp_path / 'models'}"}
    told = {"EYAS_TEST_GO": tmp_path / "go", "EYAS_TEST_RUNS": tmp_path / "runs", "SERVING__ENGINES": "thread"}
    programs = TESTS / "fake_program"
    first = Trainer(tmp_path / "first", programs, role="all", **settings, **told)
    other = Trainer(tmp_path / "other", programs, **settings, **told)
    yield first, other
    first.end()
    other.end()


def test_a_clock_that_is_set_takes_no_job_from_anybody(
    trainers: tuple[Trainer, Trainer], tmp_path: Path, all_faults: bool, tell: Tell
) -> None:
    (tmp_path / "photos").mkdir()
    clock, (jumping, other) = Clock(tmp_path), trainers
    jumping.start(**clock.environment)
    with jumping.client() as client:
        job = client.train(tmp_path / "photos", "shades", preset="fast").id
        while client.get_job(job).state is not eyas.JobState.RUNNING:
            time.sleep(0.05)
        asking = Asking(client, job)
        other.start()
        other.client().close()
        jumps = (HOUR, -HOUR, 0)
        for seconds in jumps:
            clock.set(seconds)
            time.sleep(PAST_LEASE_SECONDS if all_faults else 1.5)
            found = client.get_job(job)
            assert (found.state, found.attempt) == (eyas.JobState.RUNNING, 1)
            waiting = client.train(tmp_path / "photos", "hues", preset="fast", request_id=f"{seconds}")
            now = datetime.now(UTC) + timedelta(seconds=seconds)
            assert abs((waiting.create_time - now).total_seconds()) < 10  # the clock has been set, indeed
            client.cancel_job(waiting.id)
        (tmp_path / "go").touch()
        done = client.wait(job)
        asking.end()
        assert (done.attempt, done.version) == (1, "shades/1")
        assert client.classify("shades", picture()).predictions
    assert asking.failures == []
    assert [update.sequence for update in asking.updates] == list(range(1, len(asking.updates) + 1))
    tell(
        f"the clock of a trainer, its programs and its server an hour ahead, then back: {asking.answers} classified",
        f"{len(jumps)}",
        "0",
    )
