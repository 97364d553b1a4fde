"""Daemons at work, from whom jobs are asked, and who are killed at random moments from submit to publish."""

from __future__ import annotations

import math
import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import structlog

import eyas
from builders import write_pictures
from eyasd.jobs.store import JobStore
from eyasd.registry.models import Models
from eyasd.storage.local import LocalStore
from trainers import Trainer, program

from .history import MAX_ATTEMPTS, History, Kind
from .watching import see_through

PROGRAMS = Path(__file__).parents[1] / "programs"
VICTIMS = ("daemon", "training", "both")
EVERY = "every daemon"  # at once, where there are several
_SPAN_SECONDS = {Kind.GOOD: 2.0, Kind.LONG: 7.0, Kind.REAL: 12.0}  # from submit to publish, before any was seen
_FEW = 10  # kills, for which nothing is measured before
_RUNNING = 3  # at the same time
_AT_ONCE = 0.5  # how often a daemon is started again before the other one can take its jobs over
_LONGEST_SECONDS = 120.0  # in which each job must end
_PAST_LEASE_SECONDS = 14.0
_WAKING_SECONDS = 15.0  # in which a process that stood still for so long ends, or gives way
ENDED = {eyas.JobState.SUCCEEDED, eyas.JobState.FAILED, eyas.JobState.CANCELLED}
_ENDS = {state.name.lower() for state in ENDED}
TINY = {"backbone": "test_resnet", "pretrained": False, "image_size_px": 32, "epochs": 1}


@dataclass(frozen=True)
class Plan:
    """What is played.

    Attributes:
        kills: at least so many.
        seed: of every choice.
        seconds: after which there is no further one.
        database: URL of a database that two daemons share; "" is one daemon with SQLite.
        real: share of the trainings that are real ones.
        pauses: whether processes are stopped past their lease and go on, instead of being killed; two daemons.
        plant: bug that the daemons have, see `plants`; "" is none.
    """

    kills: int
    seed: int
    seconds: float = math.inf
    database: str = ""
    real: float = 0.0
    pauses: bool = False
    plant: str = ""


class Play:
    """One run."""

    def __init__(self, folder: Path, plan: Plan) -> None:
        self._plan = plan
        self._folder = folder
        self._random = random.Random(plan.seed)
        self._store = folder / "models"
        self._runs = folder / "runs"
        self._spans = dict(_SPAN_SECONDS)
        self._threads: list[threading.Thread] = []
        self._requests = self._turns = 0
        self.history = History(shared=bool(plan.database))
        for kind in Kind:
            write_pictures(folder / kind, {"blue": 12, "red": 12})
        settings = {"REGISTRY__URL": f"file://{self._store}", "JOBS__MAX_RUNNING": _RUNNING}
        settings |= {"JOBS__RETRY_SECONDS": 0.2, "JOBS__MAX_ATTEMPTS": MAX_ATTEMPTS}
        settings |= {"EYAS_TEST_RUNS": self._runs}
        settings |= {"JOBS__DATABASE": plan.database} if plan.database else {}
        settings |= {"EYAS_TEST_PLANT": plan.plant} if plan.plant else {}
        count = 2 if plan.database else 1
        self.trainers = [Trainer(folder / f"trainer{number}", PROGRAMS, **settings) for number in range(count)]

    def run(self) -> History:
        """Plays the plan, and returns what came of it."""
        over = threading.Event()
        reader = threading.Thread(target=self.history.look_until, args=(Models(LocalStore(self._store)), over), daemon=True)
        with self._daemons():
            reader.start()
            self._measure()
            last = time.monotonic() + self._plan.seconds
            while sum(self.history.kills.values()) < self._plan.kills and time.monotonic() < last and not self.history.violations:
                self._round()
            self._await_watches()
            over.set()
            reader.join()
        self.history.look(Models(LocalStore(self._store)))
        database = self._plan.database or self.trainers[0].data / "jobs.sqlite"
        store = JobStore(database, structlog.get_logger())
        self.history.judge(store, [one.data / "jobs" for one in self.trainers], self._runs)
        store.close()
        return self.history

    @contextmanager
    def _daemons(self) -> Iterator[None]:
        try:
            for trainer in self.trainers:
                trainer.start()
            self._clients = {trainer: trainer.client() for trainer in self.trainers}
            yield
        finally:
            for trainer in self.trainers:
                trainer.end()
        for client in self._clients.values():
            client.close()

    def _measure(self) -> None:
        """Sees how long each kind takes here and now, so that moments are drawn from all of that."""
        kinds = [Kind.GOOD, Kind.LONG, *([Kind.REAL] if self._plan.real else [])] if self._plan.kills > _FEW else []
        for kind in kinds:
            begun = time.monotonic()
            self._ask(self.trainers[0], kind)
            self._await_ends(self.trainers[0])
            self._spans[kind] = time.monotonic() - begun

    def _ask(self, home: Trainer, kind: Kind) -> None:
        self._requests += 1
        thread = threading.Thread(target=self._see_through, args=(home, kind, f"request {self._requests}"), daemon=True)
        thread.start()
        self._threads.append(thread)

    def _round(self) -> None:
        """Asks for some trainings, and kills some of all this at moments of its own each."""
        home, roll, begun = self._random.choice(self.trainers), self._random, time.monotonic()
        kinds = [self._kind() for _ in range(roll.randint(1, _RUNNING))]
        span = max(self._spans.get(kind, self._spans[Kind.GOOD]) for kind in kinds)
        for kind in kinds:
            self._ask(home, kind)
        for moment in sorted(roll.uniform(0, span) for _ in range(1 if self._plan.pauses else 2 * len(kinds))):
            time.sleep(max(0.0, begun + moment - time.monotonic()))
            self._turns += 1
            victims = (*VICTIMS, EVERY) if self._plan.database and not self._plan.pauses else VICTIMS
            victim = victims[self._turns % len(victims)]
            (self._pause if self._plan.pauses else self._kill)(victim, self._holder())
        for trainer in self.trainers:
            if trainer.killed:
                time.sleep(roll.uniform(0, _PAST_LEASE_SECONDS))  # the other one takes its jobs over, or not yet
                trainer.start()
        self._await_ends(home)

    def _kind(self) -> Kind:
        roll = self._random.random()
        if roll < self._plan.real:
            return Kind.REAL
        return {0: Kind.BAD, 1: Kind.BROKEN}.get(self._random.randrange(12), self._random.choice((Kind.GOOD, Kind.LONG)))

    def _see_through(self, home: Trainer, kind: Kind, request: str) -> None:
        client, settings = self._clients[home], TINY if kind is Kind.REAL else {}

        def submit() -> str:
            return client.train(self._folder / kind, f"{kind}", preset="fast", request_id=request, **settings).id

        see_through(client, self.history, kind, submit, _LONGEST_SECONDS)

    def _holder(self) -> Trainer:
        """Returns a daemon that has a process at work, if there is one."""
        alive = [trainer for trainer in self.trainers if not trainer.killed] or self.trainers
        for trainer in self._random.sample(alive, len(alive)):
            if any(trainer.guard(job) for job in self._unended()):
                return trainer
        return self._random.choice(alive)

    def _unended(self) -> list[str]:
        return [job for job in list(self.history.promised) if self.history.last[job] not in _ENDS]

    def _kill(self, victim: str, holder: Trainer) -> None:
        """Kills the daemon, or what it has started of one job, or both, or all daemons."""
        stages = sorted(self.history.last[job] for job in self._unended())
        guards = {job: guard for job in self._unended() if (guard := holder.guard(job))}
        job, guard = self._random.choice(sorted(guards.items())) if guards else ("", None)
        if guard is None if victim == "training" else holder.killed and victim != EVERY:
            return
        if victim != "training":
            for trainer in self.trainers if victim == EVERY else [holder]:
                trainer.kill()
            self.history.hits.update(one for one in self._unended() if self._plan.database or one not in guards)
        if victim in {"training", "both"} and guard is not None:
            self.history.hits[job] += 1
            with suppress(ProcessLookupError):
                match self._random.choice(("program", "guard", "all")):
                    case "program":
                        os.kill(program(guard) or guard, signal.SIGKILL)
                    case "guard":
                        os.kill(guard, signal.SIGKILL)
                    case _:
                        os.killpg(guard, signal.SIGKILL)
        self.history.kills[victim, stages[0] if stages else "not acknowledged"] += 1
        for trainer in self.trainers:
            if trainer.killed and (victim == EVERY or not self._plan.database or self._random.random() < _AT_ONCE):
                trainer.start()

    def _pause(self, victim: str, holder: Trainer) -> None:
        """Stops the daemon, or what it has started of all jobs, or both, past the lease, and lets them go on."""
        stages = sorted(self.history.last[job] for job in self._unended())
        assert holder.process is not None
        groups = {job: guard for job in self._unended() if victim != "daemon" and (guard := holder.guard(job))}
        if victim == "training" and not groups:
            return
        self.history.hits.update(self._unended())
        stopped: dict[str, int] = {}
        for job, group in groups.items():
            with suppress(ProcessLookupError):
                os.killpg(group, signal.SIGSTOP)
                stopped[job] = group
        if victim == "both":
            self.history.frozen |= stopped.keys()
        if victim != "training":
            holder.process.send_signal(signal.SIGSTOP)
        time.sleep(_PAST_LEASE_SECONDS)
        holder.process.send_signal(signal.SIGCONT)
        for group in stopped.values():
            with suppress(ProcessLookupError):
                os.killpg(group, signal.SIGCONT)
        deadline = time.monotonic() + _WAKING_SECONDS
        while victim == "both" and any(holder.guard(job) == group for job, group in stopped.items()):
            if time.monotonic() > deadline:
                self.history.violations.append(f"of {stopped}, a process that stood still has not given way")
                return
            time.sleep(0.05)
        self.history.kills[f"{victim}, paused", stages[0] if stages else "not acknowledged"] += 1

    def _await_ends(self, home: Trainer) -> None:
        """Waits until all that was asked for has ended, as whoever asks again and again is told."""
        deadline = time.monotonic() + _LONGEST_SECONDS
        while len(self.history.promised) < self._requests or self._unended():
            for job in self._unended():
                try:
                    found = self._clients[home].get_job(job)
                except eyas.Unavailable:
                    continue
                except eyas.EyasError as error:
                    self.history.violations.append(f"who asked for job {job} was told: {error}")
                    return
                if found.state in ENDED:
                    self.history.last[job] = found.state.name.lower()
            if time.monotonic() > deadline:
                self.history.violations.append(f"these jobs hang: {self._unended() or 'one that was not acknowledged'}")
                return
            time.sleep(0.05)

    def _await_watches(self) -> None:
        deadline = time.monotonic() + _LONGEST_SECONDS
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        if any(thread.is_alive() for thread in self._threads):
            self.history.violations.append("a watch did not hear of the end of its job")
