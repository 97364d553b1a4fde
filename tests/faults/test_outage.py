"""The job database goes away under a daemon that trains and serves: with its server, and then without a word."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from itertools import cycle
from pathlib import Path

import pytest

import eyas
from builders import picture, write_bundle
from eyasd.registry.models import Models
from eyasd.storage.local import LocalStore
from postgres import Postgres
from trainers import TESTS, Trainer
from wire import Wire

from .conftest import Tell


@pytest.fixture
def trainer(postgres: Postgres, wire: Wire, tmp_path: Path) -> Iterator[Trainer]:
    """A daemon that serves `colours`, and whose job database is at the other end of the wire."""
    models = Models(LocalStore(tmp_path / "models"))
    models.publish("colours", write_bundle(tmp_path / "bundle"), "job1")
    models.aliases.set("colours", "production", 1, actor="test", reason="")
    settings = {"JOBS__DATABASE": postgres.url(postgres.create(), wire.folder), "REGISTRY__URL": f"file://{tmp_path / 'models'}"}
    told = {"EYAS_TEST_GO": tmp_path / "go", "EYAS_TEST_RUNS": tmp_path / "runs", "SERVING__ENGINES": "thread"}
    made = Trainer(tmp_path / "trainer", TESTS / "fake_program", role="all", **settings, **told)
    made.start()
    yield made
    made.end()


def again(submit: Callable[[], str]) -> str:
    """Submits until the database is back, as whoever wants a job does."""
    deadline = time.monotonic() + 150
    while True:
        try:
            return submit()
        except eyas.Unavailable:
            assert time.monotonic() < deadline


class Asking:
    """Asks for labels all the time, and watches a job; remembers what came of that."""

    def __init__(self, client: eyas.Client, job: str) -> None:
        self.answers, self.failures = 0, list[str]()
        self.updates: list[eyas.JobEvent] = []
        self._over = threading.Event()
        works = ((self._classify, client), (self._watch, client, job))
        self._threads = [threading.Thread(target=work, args=told) for work, *told in works]
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive()

    def _classify(self, client: eyas.Client) -> None:
        while not self._over.wait(0.02):
            try:
                client.classify("colours", picture())
                self.answers += 1
            except eyas.EyasError as error:
                self.failures.append(str(error))

    def _watch(self, client: eyas.Client, job: str) -> None:
        while True:
            try:
                for update in client.watch_job(job, len(self.updates) + 1):
                    self.updates.append(update)
                return
            except eyas.Unavailable:  # a watch gives up after a minute without an answer, and whoever watches does not
                if self._over.is_set():
                    raise


def test_training_and_serving_go_on_while_the_database_is_away(
    trainer: Trainer, postgres: Postgres, wire: Wire, tmp_path: Path, all_faults: bool, tell: Tell
) -> None:
    (tmp_path / "photos").mkdir()
    seconds, refused = 60.0 if all_faults else 2.0, 0
    with trainer.client() as client:
        first = client.train(tmp_path / "photos", "shades", preset="fast").id
        while client.get_job(first).state is not eyas.JobState.RUNNING:
            time.sleep(0.05)
        asking = Asking(client, first)
        for number, (goes, comes) in enumerate(((lambda: postgres.stop(signal.SIGQUIT), postgres.start), (wire.hold, wire.let_go))):

            def submit(request: str = f"later{number}") -> str:
                return client.train(tmp_path / "photos", "hues", preset="fast", request_id=request).id

            goes()
            begun, calls = time.monotonic(), cycle((submit, lambda: client.get_job(first), lambda: list(client.list_jobs())))
            try:
                while time.monotonic() < begun + seconds:
                    # Within the client's deadline, or it would be told of that.
                    with pytest.raises(eyas.Unavailable, match="The job database does not answer: try again in some seconds"):
                        next(calls)()
                    refused += 1
            finally:
                comes()
            assert len({again(submit), again(submit)}) == 1
            assert client.get_job(first).attempt == 1
        (tmp_path / "go").touch()
        assert client.wait(first).attempt == 1
        jobs = list(client.list_jobs())
        assert [client.wait(job.id).version for job in jobs] == ["hues/2", "hues/1", "shades/1"]
        asking.end()
    assert asking.failures == []
    assert [update.sequence for update in asking.updates] == list(range(1, len(asking.updates) + 1))
    told = [update.progress.fraction for update in asking.updates if update.progress and update.progress.stage == "fine-tune"]
    assert told == [second / 1000 for second in range(len(told))]  # each step of it, once
    times = [float(line.split()[2]) for line in (tmp_path / "runs").read_text().splitlines() if line.startswith(first)]
    assert len(times) == len(told)
    done = f"the job database away for {seconds:g} s, killed, then silent: {refused} calls told so, {asking.answers} classified"
    tell(done, "2", "0")
