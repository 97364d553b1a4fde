"""One run: callers and works without pause, faults drawn by chance, one or several at a time; is all well after each?"""

from __future__ import annotations

import math
import random
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import cycle, islice
from pathlib import Path

import structlog

import eyas
from eyasd.jobs.store import JobStore
from faults.kills.history import History
from faults.kills.play import ENDED
from load import Load, ask_afresh
from postgres import Postgres
from s3_server import S3Server

from .acts import ACTS, BEGUN_AGAIN, SERVING, Act, Nobody
from .house import MAX_ATTEMPTS, SERVER, TRAINER, House
from .record import Record, Window
from .work import MODEL, NAMES, NEWEST, Work

_MOST_AT_ONCE = 4
_SOON_SECONDS = 2.0  # within which the faults of a round begin
_LASTS_SECONDS = (1.0, 8.0)
_BACK_SECONDS = 180.0
_FRESH = 20  # connections, each to any of two acceptors: once in 500,000 times all are to the same
_LOOK_SECONDS = 0.05
_MANY = {"grpc": 2, "stream": 1, "http": 2}  # callers
_FEW = dict.fromkeys(_MANY, 1)
# With what a job that was hit may have failed: for want of room, or of memory.
_NO_ROOM = ("No space left on device", "is full")
_NO_MEMORY = ("MemoryError", "failed to map segment", "annot allocate memory", "bad_alloc", "of memory")
EXCUSES = (*_NO_ROOM, *_NO_MEMORY)


@dataclass(frozen=True)
class Plan:
    """What is played.

    Attributes:
        seed: of every choice.
        rounds: the acts of each; None is rounds drawn by chance, without end.
        seconds: after which no further round begins.
        real: whether some trainings are those of the product.
        plant: bug that the daemons have, see `plants`; "" is none.
        pace: by which what lasts, and what is waited for, is multiplied; 0 is not at all, and with few callers.
    """

    seed: int
    rounds: Sequence[Sequence[Act]] | None = None
    seconds: float = math.inf
    real: bool = False
    plant: str = ""
    pace: float = 1.0


@dataclass
class Seen:
    """What was seen of a kind of fault.

    Attributes:
        times: how often it was done.
        failed: calls that failed in rounds in which it was done alone.
        back_seconds: after it was over, when it was done alone: until no call failed any more, or the trainer answered, or the job
            was at work again.
    """

    times: int = 0
    failed: int = 0
    back_seconds: list[float] = field(default_factory=list)


class Siege:
    """One run of a plan."""

    def __init__(self, folder: Path, plan: Plan, store: S3Server, postgres: Postgres) -> None:
        self._plan, self._dice = plan, random.Random(plan.seed)
        self.house = House(folder, store, postgres, plan.plant)
        self.history = History(shared=False, max_attempts=MAX_ATTEMPTS, excuses=EXCUSES)
        self.record = Record(lambda version: self.house.models.manifest(MODEL, version).lineage.job, MODEL)
        self.seen: defaultdict[tuple[str, str], Seen] = defaultdict(Seen)
        self._work = Work(self.house, self.history, self.record, folder, plan.seed, real=plan.real)
        names, (callers, pause) = (*NAMES, f"{MODEL}/1"), (_MANY, 0.02) if plan.pace else (_FEW, 0.3)
        addresses = self.house.machines[SERVER].daemon.address, self.house.http_address
        self._load = Load(*addresses, lambda: names, self.record.hear, callers=callers, seed=plan.seed, pause_seconds=pause)

    @property
    def violations(self) -> list[str]:
        """What must not be, and was."""
        return self.record.violations + self.history.violations

    def run(self) -> None:
        """Plays the plan, and ends all that it has started."""
        try:
            self._work.first()
            self.house.begin()
            self._settle()
            self._load.begin()
            self._work.begin()
            last = time.monotonic() + self._plan.seconds
            for acts in self._rounds():
                if time.monotonic() > last or self.violations:
                    break
                self._round(acts)
            self._load.end()
            self._work.end()
            self._judge()
        finally:
            self.house.end()

    def _rounds(self) -> Iterator[Sequence[Act]]:
        if self._plan.rounds is not None:
            yield from self._plan.rounds
            return
        deck: list[Act] = []
        for alone in cycle((True, False)):
            if len(deck) < _MOST_AT_ONCE:
                deck += self._dice.sample(ACTS, len(ACTS))
            yield [deck.pop() for _ in range(1 if alone else self._dice.randint(2, _MOST_AT_ONCE))]

    def _round(self, acts: Sequence[Act]) -> None:
        """Does some things to the house, undoes them, and waits until all is well."""
        window = Window(time.monotonic(), frozenset().union(*(act.codes for act in acts)))
        self.record.windows.append(window)
        over: dict[Act, float] = {}
        undone: list[tuple[Act, Callable[[], None]]] = []
        for act in acts:
            time.sleep(self._dice.uniform(0, _SOON_SECONDS) * self._plan.pace)
            if (undo := self._do(act)) is not None:
                over[act] = time.monotonic()
                self.seen[act.role, act.name].times += 1
                undone += [(act, undo)] if act.lasts else []
        if undone:
            time.sleep(self._dice.uniform(*_LASTS_SECONDS) * self._plan.pace)
        for act, undo in self._dice.sample(undone, len(undone)):
            undo()
            over[act] = time.monotonic()
        self.history.hits.update(self._work.unended())
        back = self._settle(begun_again=len(over) == 1 and any(act.role in BEGUN_AGAIN and not act.lasts for act in over))
        window.end = time.monotonic()
        failures = self.record.judge_failures()
        for act, when in over.items() if len(over) == 1 else ():
            seen, last = self.seen[act.role, act.name], max((asked.end for asked in failures), default=0.0)
            seen.failed += len(failures)
            seen.back_seconds.append(max(0.0, (last if act.role in SERVING else back) - when))
        self._note([*over], window, len(failures))

    def _do(self, act: Act) -> Callable[[], None] | None:
        """Does it, and returns what undoes it; None where there is nobody to do it to, unless somebody was asked for."""
        while True:
            jobs = self._work.unended()
            self.history.hits.update(jobs)
            with suppress(Nobody):
                return act.do(self.house, self._dice, jobs)
            if self._plan.rounds is None:
                return None
            time.sleep(_LOOK_SECONDS)

    def _note(self, acts: Sequence[Act], window: Window, failed: int) -> None:
        """Says on standard error how far it is."""
        names = " + ".join(f"{act.role}: {act.name}" for act in acts)
        took = (window.end or 0) - window.start
        sys.stderr.write(f"{time.strftime('%H:%M:%S')} {took:5.1f} s, {failed:4} calls failed, {names}\n")

    def _settle(self, begun_again: bool = False) -> float:
        """Waits until all is well, and returns when the trainer's part of it was.

        Args:
            begun_again: whether a job must have been begun again, or have ended.
        """
        deadline, wants, back = time.monotonic() + _BACK_SECONDS, dict.fromkeys(NAMES, False), 0.0
        attempts = self._attempts() if begun_again else {}
        while not (back and all(wants.values())):
            if not back and (now := self._attempts()) is not None and (not attempts or now != attempts):
                back = time.monotonic()
            for name, done in wants.items():
                wants[name] = done or self._answered_by_what_is_in_force(name)
            if time.monotonic() > deadline:
                wrong = [name for name, done in wants.items() if not done] + ([] if back else ["the trainer"])
                self.record.violations.append(f"{_BACK_SECONDS:g} s after all faults these are not well: {wrong}")
                break
            time.sleep(_LOOK_SECONDS)
        return back

    def _attempts(self) -> dict[str, int] | None:
        """Returns the newest attempt of each job that has not ended; None where the trainer does not say."""
        with self.house.client(TRAINER) as client:
            try:
                found = [client.get_job(job) for job in self._work.unended()] or [*islice(client.list_jobs(), 1)]
            except eyas.EyasError:
                return None
        return {job.id: job.attempt for job in found if job.state not in ENDED}

    def _answered_by_what_is_in_force(self, name: str) -> bool:
        """Looks whether connections to whichever acceptor are answered by the newest records, and notes it if they are."""
        since, models = time.monotonic(), self.house.models
        record, traffic = models.aliases.get(MODEL, NAMES[name]), models.traffic.get(MODEL)
        assert record is not None
        versions = {record.version}
        if name == MODEL and traffic and traffic.canary and traffic.canary.target.version:
            versions.add(traffic.canary.target.version)
        address = self.house.machines[SERVER].daemon.address
        answers = ask_afresh(address, name, 1) and ask_afresh(address, name, _FRESH)
        well = bool(answers) and answers <= {f"{MODEL}/{version}" for version in versions}
        if well:
            self.record.settle(name, since, time.monotonic(), versions)
        return well

    def _judge(self) -> None:
        """Looks at all that is left in the end."""
        models, record = self.house.models, self.record
        for name, alias in NAMES.items():
            record.judge_history(name, models.aliases.history(MODEL, alias))
        record.judge_chain(NEWEST, models.aliases.history(MODEL, NEWEST))
        record.judge_canaries(models.traffic.history(MODEL))
        record.judge_failures()
        for model in models.names():
            for version in models.versions(model):
                wrong = [f"{model}/{version}: {found.problem}" for found in models.check(model, version) if found.problem]
                record.violations += wrong
        record.violations += self.house.close()
        store = JobStore(self.house.database, structlog.get_logger())
        self.history.judge(store, [self.house.machines[TRAINER].daemon.data / "jobs"], self.house.runs)
        store.close()
