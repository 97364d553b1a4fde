"""Several trainers on one database: what one held when it was killed, or when it hung, goes on at another, and only there."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import pytest

import eyas
from eyasd.registry.models import Models
from eyasd.storage.local import LocalStore
from postgres import Postgres
from trainers import TESTS, Trainer
from waits import wait_until
from wire import Wire

MOVED_SECONDS = 15


@pytest.fixture
def wire(postgres: Postgres, tmp_path: Path) -> Iterator[Wire]:
    """Between a trainer and the database."""
    (tmp_path / "wire").mkdir()
    made = Wire(tmp_path / "wire", postgres.folder)
    yield made
    made.end()


@pytest.fixture
def trainer(postgres: Postgres, tmp_path: Path) -> Iterator[Callable[..., Trainer]]:
    database = postgres.create()
    made: list[Trainer] = []

    def start(max_running: int = 1, wire: Wire | None = None) -> Trainer:
        url = postgres.url(database, wire.folder if wire else None)
        settings = {"JOBS__DATABASE": url, "JOBS__MAX_RUNNING": max_running, "REGISTRY__URL": f"file://{tmp_path / 'models'}"}
        told = {"EYAS_TEST_GO": tmp_path / "go", "EYAS_TEST_RUNS": tmp_path / "runs"}
        made.append(Trainer(tmp_path / f"trainer{len(made)}", TESTS / "fake_program", **settings, **told))
        made[-1].start()
        return made[-1]

    yield start
    for one in made:
        one.end()


def wait_for(job: str, client: eyas.Client, state: eyas.JobState, attempt: int) -> eyas.Job:
    found: list[eyas.Job] = []

    def is_so() -> bool:
        found[:] = [client.get_job(job)]
        return (found[0].state, found[0].attempt) == (state, attempt)

    wait_until(is_so)
    return found[0]


def test_a_job_is_paused_for_another_and_goes_on(trainer: Callable[..., Trainer], tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    with trainer().client() as client:
        first = client.train(tmp_path / "photos", "colours", preset="fast", priority=eyas.Priority.LOW)
        wait_for(first.id, client, eyas.JobState.RUNNING, 1)
        second = client.train(tmp_path / "photos", "shades", preset="fast")
        assert second.waiting_reason == "It is next; the trainer is busy."
        assert (first.priority, second.priority) == (eyas.Priority.LOW, eyas.Priority.NORMAL)
        assert first.owner == second.owner == "ipv4:127.0.0.1"
        client.pause_job(first.id)
        paused = wait_for(first.id, client, eyas.JobState.INTERRUPTED, 1)
        assert paused.waiting_reason == f"It is paused; `eyas jobs resume {first.id}` lets it go on."
        wait_for(second.id, client, eyas.JobState.RUNNING, 1)
        assert client.resume_job(first.id).waiting_reason == "It is next; the trainer is busy."
        assert [job.waiting_reason for job in client.list_jobs()] == ["", "It is next; the trainer is busy."]
        (tmp_path / "go").touch()
        assert [client.wait(job.id).attempt for job in (first, second)] == [2, 1]
        with pytest.raises(eyas.FailedPrecondition, match="has succeeded already, so it cannot be paused"):
            client.pause_job(first.id)


def test_jobs_of_a_trainer_that_is_killed_or_hangs_or_is_cut_off_move_to_another_within_15_s(
    trainer: Callable[..., Trainer], wire: Wire, tmp_path: Path
) -> None:
    (tmp_path / "photos").mkdir()
    holders, jobs = [], []
    for model in ("colours0", "colours1", "colours2", "colours3"):  # each has nothing to do when it comes, and is the only one
        holders.append(trainer(wire=wire if len(holders) == 3 else None))
        with holders[-1].client() as client:
            jobs.append(client.train(tmp_path / "photos", model, preset="fast").id)
            wait_for(jobs[-1], client, eyas.JobState.RUNNING, 1)
    killed, hung, frozen, _ = holders
    with trainer(max_running=4).client() as client:
        guard = frozen.guard(jobs[2])
        assert guard is not None
        begun = datetime.now(UTC)
        killed.kill()
        for stopped in (hung, frozen):
            stopped.pause()
        wire.hold()
        os.killpg(guard, signal.SIGSTOP)  # as where the whole machine stands still
        for job in jobs:
            wait_for(job, client, eyas.JobState.RUNNING, 2)
        hung.go_on()  # it finds that its job is another's
        os.killpg(guard, signal.SIGCONT)  # nobody has renewed its lease: the process ends, and its daemon hears of it later
        wait_until(lambda: not frozen.guard(jobs[2]))
        (tmp_path / "go").touch()
        frozen.go_on()
        wire.let_go()
        for number, job in enumerate(jobs):
            done = client.wait(job)
            assert (done.version, done.attempt) == (f"colours{number}/1", 2)
            events = list(client.watch_job(job))
            assert [event.sequence for event in events] == list(range(1, len(events) + 1))
            moved = next(event.time for event in events if event.job and event.job.state is eyas.JobState.INTERRUPTED)
            assert (moved - begun).total_seconds() < MOVED_SECONDS  # a busy machine may be slow to start its process
            assert [event.job.state for event in events if event.job] == [
                eyas.JobState.QUEUED,
                eyas.JobState.STARTING,
                eyas.JobState.RUNNING,
                eyas.JobState.INTERRUPTED,
                eyas.JobState.QUEUED,
                eyas.JobState.STARTING,
                eyas.JobState.RUNNING,
                eyas.JobState.SUCCEEDED,
            ]
            said = [event.message for event in events if event.message]
            assert said == ["The trainer that ran it is gone, and its process with it."]
    models = Models(LocalStore(tmp_path / "models"))
    for number, job in enumerate(jobs):
        assert models.versions(f"colours{number}") == [1]
        runs = [line.split() for line in (tmp_path / "runs").read_text().splitlines() if line.startswith(job)]
        in_order = sorted(runs, key=lambda run: float(run[2]))
        # Never both at once; but what stood still cannot know, and takes it down once more when it goes on.
        mixed = [pair for pair in pairwise(in_order) if int(pair[0][1]) > int(pair[1][1])]
        assert len(mixed) <= (number == 2)
