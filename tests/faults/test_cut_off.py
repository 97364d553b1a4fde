"""Two trainers whose ways to the database are cut, one alone or both: no job is trained twice at once, and none stops in vain."""

from __future__ import annotations

import os
import random
import time
from itertools import pairwise
from pathlib import Path

import pytest

import eyas
from postgres import Postgres
from trainers import TESTS, Trainer
from wire import Wire

from .conftest import Tell

TURNS = int(os.environ.get("EYAS_TEST_TURNS", "10"))
MOVED_SECONDS = 15
AWAY_SECONDS = 60


class Pair:
    """Two trainers as on two machines, each with a wire to the database that they share, and a job that is never done."""

    def __init__(self, folder: Path, postgres: Postgres) -> None:
        self.photos, self._runs = folder / "photos", folder / "runs"
        self.photos.mkdir()
        name, self.wires, self.trainers = postgres.create(), list[Wire](), list[Trainer]()
        for one in "ab":
            (folder / f"wire-{one}").mkdir()
            self.wires.append(Wire(folder / f"wire-{one}", postgres.folder))
            settings = {"JOBS__DATABASE": postgres.url(name, self.wires[-1].folder), "REGISTRY__URL": f"file://{folder / 'models'}"}
            told = {"EYAS_TEST_GO": folder / "go", "EYAS_TEST_RUNS": self._runs}
            self.trainers.append(Trainer(folder / one, TESTS / "fake_program", **settings, **told))
            self.trainers[-1].start()
        self.clients = [trainer.client() for trainer in self.trainers]

    def begin(self) -> tuple[str, int]:
        """Submits a job; returns it, and which of the two trains it."""
        job = self.clients[0].train(self.photos, "colours", preset="fast").id
        wait_for(self.clients[0], job, 1)
        while not (holders := [number for number, one in enumerate(self.trainers) if one.guard(job)]):
            time.sleep(0.05)  # its guard has only just been started
        return job, holders[0]

    def runs(self, job: str) -> list[tuple[int, float]]:
        """Returns the attempts of a job that said they were at work, and when, in that order."""
        lines = [line.split() for line in self._runs.read_text().splitlines() if line.startswith(job)]
        return sorted(((int(attempt), float(when)) for _, attempt, when in lines), key=lambda run: run[1])

    def end(self) -> None:
        for client in self.clients:
            client.close()
        for trainer in self.trainers:
            trainer.end()
        for wire in self.wires:
            wire.end()


def wait_for(client: eyas.Client, job: str, attempt: int) -> None:
    deadline = time.monotonic() + 60
    while True:
        found = client.get_job(job)
        if (found.state, found.attempt) == (eyas.JobState.RUNNING, attempt):
            return
        assert time.monotonic() < deadline, found
        time.sleep(0.05)


@pytest.mark.long
def test_who_is_cut_off_stops_in_time_and_while_nobody_reaches_the_database_training_goes_on(
    postgres: Postgres, tmp_path: Path, tell: Tell
) -> None:
    dice, pair = random.Random(11), Pair(tmp_path, postgres)
    slowest, beside = 0.0, 0
    try:
        for _ in range(TURNS):
            job, holder = pair.begin()
            time.sleep(dice.uniform(0, 3))
            begun = time.monotonic()
            pair.wires[holder].hold()
            wait_for(pair.clients[1 - holder], job, 2)
            slowest = max(slowest, time.monotonic() - begun)
            time.sleep(dice.uniform(0, 3))
            pair.wires[holder].let_go()
            time.sleep(dice.uniform(0, 3))
            beside += any(earlier > later for (earlier, _), (later, _) in pairwise(pair.runs(job)))
            pair.clients[1 - holder].cancel_job(job)
            with pytest.raises(eyas.JobCancelled):
                pair.clients[1 - holder].wait(job)
        assert slowest < MOVED_SECONDS
        assert beside == 0
        job, holder = pair.begin()
        for wire in pair.wires:
            wire.hold()
        time.sleep(AWAY_SECONDS)
        for wire in pair.wires:
            wire.let_go()
        time.sleep(15)  # in which whoever were mistaken would take it over
        found = pair.runs(job)
        assert {attempt for attempt, _ in found} == {1}
        longest = max(later - earlier for (_, earlier), (_, later) in pairwise(found))
        assert longest < 3
        (tmp_path / "go").touch()
        assert pair.clients[holder].wait(job).attempt == 1
    finally:
        pair.end()
    tell(f"one of two trainers cut off from the database; its job moves, in {slowest:.1f} s at most", str(TURNS), str(beside))
    tell(f"the database away from both for {AWAY_SECONDS} s; training goes on, and its job stays", "1", "0")
