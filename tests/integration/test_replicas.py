"""Several trainers on one database: what one held when it was killed, or when it hung, goes on at another, and only there."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest

import eyas
from eyasd.registry.models import Models
from eyasd.storage.local import LocalStore
from postgres import Postgres

TESTS = Path(__file__).parents[1]
MOVED_SECONDS = 15


class Trainer:
    """A daemon in a process of its own, as on another machine: its data folder is nobody else's."""

    def __init__(self, folder: Path, database: str, repository: Path, max_running: int) -> None:
        self._folder = folder
        (folder / "data").mkdir(parents=True)
        settings = {
            "JOBS__DATABASE": database,
            "JOBS__MAX_RUNNING": max_running,
            "JOBS__STOP_GRACE_SECONDS": 1,
            "REGISTRY__URL": f"file://{repository}",
            "API__LISTEN": "127.0.0.1:0",
            "API__LAME_DUCK_SECONDS": 0,
            "TELEMETRY__METRICS_LISTEN": "127.0.0.1:0",
            "TELEMETRY__LOG_FORMAT": "json",
            "DATA_DIR": folder / "data",
        }
        environment = os.environ | {f"EYASD_{name}": str(value) for name, value in settings.items()}
        path = [str(TESTS / "fake_program"), str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment |= {"PYTHONPATH": os.pathsep.join(path)}
        environment |= {"EYAS_TEST_GO": str(folder.parent / "go"), "EYAS_TEST_RUNS": str(folder.parent / "runs")}
        with (folder / "log").open("wb") as log:
            self.process = subprocess.Popen([sys.executable, "-m", "eyasd", "trainer"], env=environment, stderr=log)

    def client(self) -> eyas.Client:
        """Returns a client of it, once it answers."""
        deadline = time.monotonic() + 30
        while True:
            log = (self._folder / "log").read_text()
            for line in log.splitlines():
                if '"event": "serving"' in line:
                    return eyas.Client(f"127.0.0.1:{json.loads(line)['port']}")
            assert self.process.poll() is None, log
            assert time.monotonic() < deadline, log
            time.sleep(0.05)


@pytest.fixture
def trainer(postgres: Postgres, tmp_path: Path) -> Iterator[Callable[..., Trainer]]:
    database, made = postgres.url(postgres.create()), []

    def start(max_running: int = 1) -> Trainer:
        made.append(Trainer(tmp_path / f"trainer{len(made)}", database, tmp_path / "models", max_running))
        return made[-1]

    yield start
    for one in made:
        one.process.send_signal(signal.SIGCONT)
        one.process.kill()
        one.process.wait(10)


def wait_for(job: str, client: eyas.Client, state: eyas.JobState, attempt: int) -> eyas.Job:
    deadline = time.monotonic() + 30
    while True:
        found = client.get_job(job)
        if (found.state, found.attempt) == (state, attempt):
            return found
        assert time.monotonic() < deadline, found
        time.sleep(0.05)


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


def test_jobs_of_a_trainer_that_is_killed_or_hangs_move_to_another_within_15_s(
    trainer: Callable[..., Trainer], tmp_path: Path
) -> None:
    (tmp_path / "photos").mkdir()
    holders, jobs = [], []
    for model in ("colours0", "colours1"):  # each has nothing to do when it comes, and is the only one
        holders.append(trainer())
        with holders[-1].client() as client:
            jobs.append(client.train(tmp_path / "photos", model, preset="fast").id)
            wait_for(jobs[-1], client, eyas.JobState.RUNNING, 1)
    killed, hung = holders
    with trainer(max_running=2).client() as client:
        begun = time.monotonic()
        killed.process.kill()
        hung.process.send_signal(signal.SIGSTOP)
        for job in jobs:
            wait_for(job, client, eyas.JobState.RUNNING, 2)
        assert time.monotonic() - begun < MOVED_SECONDS
        (tmp_path / "go").touch()
        hung.process.send_signal(signal.SIGCONT)  # it finds that its job is another's
        for number, job in enumerate(jobs):
            done = client.wait(job)
            assert (done.version, done.attempt) == (f"colours{number}/1", 2)
            events = list(client.watch_job(job))
            assert [event.sequence for event in events] == list(range(1, len(events) + 1))
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
        assert all(int(one[1]) <= int(next_[1]) for one, next_ in pairwise(in_order))  # never both at once
