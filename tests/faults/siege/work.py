"""What a house is asked for all the time: trainings, moves of aliases, canaries; and somebody who looks at every version."""

from __future__ import annotations

import random
import threading
import time
from pathlib import Path

import eyas
import tellers
from builders import write_pictures
from eyasd.core.errors import EyasError
from eyasd.core.names import PRODUCTION
from faults.kills.history import History, Kind
from faults.kills.play import TINY
from faults.kills.watching import see_through

from .house import SERVER, TRAINER, House
from .record import CANARY, Move, Record

MODEL = "colours"
STEADY = "steady"
NEWEST = "newest"  # which trainings move by themselves
NAMES = {MODEL: PRODUCTION, f"{MODEL}@{STEADY}": STEADY}
_LONGEST_SECONDS = 300.0  # in which a job must have been taken, and ended
_PAUSE_SECONDS = 3.0  # of each who asks, on average
_AT_ONCE = 2
_CANARY_PERCENT = 20.0
_REAL_EVERY = 25
_UNANSWERED = (eyas.Unavailable, eyas.DeadlineExceeded, eyas.Overloaded)


class Work:
    """Whoever asks, in threads of their own, from `begin` to `end`."""

    def __init__(self, house: House, history: History, record: Record, folder: Path, seed: int, *, real: bool) -> None:
        """Asks for nothing yet; `real` is whether some trainings are those of the product."""
        self._house, self._history, self._record, self._folder, self._real = house, history, record, folder, real
        self._clients = {role: house.client(role) for role in (SERVER, TRAINER)}
        self._seed = seed
        self._ending = threading.Event()
        self._jobs: list[threading.Thread] = []
        self._askers = [threading.Thread(target=work, daemon=True) for work in (self._train, self._move, self._look)]
        for kind in Kind:
            write_pictures(folder / kind, {"blue": 12, "red": 12})

    def first(self) -> None:
        """Publishes two versions, and points the aliases to the first, before anything is done to anybody."""
        for job in ("first", "second"):
            self._house.models.publish(MODEL, tellers.write(self._folder / job, job), job)
        for name, alias in NAMES.items():
            move = Move("first", 1, time.monotonic())
            self._record.ask(name, move)
            move.acknowledge(self._house.models.aliases.set(MODEL, alias, 1, actor="test", reason=move.token).record)
        self.looked()

    def begin(self) -> None:
        for asker in self._askers:
            asker.start()

    def end(self) -> None:
        """Asks for nothing more, and waits until all that was asked for has ended."""
        self._ending.set()
        for thread in (*self._askers, *self._jobs):
            thread.join(_LONGEST_SECONDS)
            if thread.is_alive():
                self._history.violations.append(f"nobody ever told the end of one of these jobs: {self.unended()}")
        for client in self._clients.values():
            client.close()
        self.looked()

    def unended(self) -> list[str]:
        """Returns the jobs that were acknowledged and whose end was not told yet."""
        ends = {state.name.lower() for state in (eyas.JobState.SUCCEEDED, eyas.JobState.FAILED)}
        return [job for job in list(self._history.promised) if self._history.last[job] not in ends]

    def looked(self) -> None:
        """Looks at each new version."""
        try:
            self._history.look(self._house.models)
        except (EyasError, OSError) as error:
            self._history.violations.append(f"a reader was told: {error}")

    def _look(self) -> None:
        while not self._ending.wait(_PAUSE_SECONDS):
            self.looked()

    def _train(self) -> None:
        dice, number = random.Random(self._seed), 0
        while not self._ending.wait(dice.uniform(0, 2 * _PAUSE_SECONDS)):
            self._jobs = [thread for thread in self._jobs if thread.is_alive()]
            if len(self._jobs) < _AT_ONCE:
                usual = dice.choice((Kind.GOOD, Kind.LONG))
                kind = {0: Kind.BAD, 1: Kind.BROKEN}.get(dice.randrange(12), usual)
                self._submit(Kind.REAL if self._real and number % _REAL_EVERY == 1 else kind, number)
                number += 1

    def _submit(self, kind: Kind, number: int) -> None:
        client, model = self._clients[TRAINER], MODEL if kind in {Kind.GOOD, Kind.LONG} else f"{kind}"
        settings = TINY if kind is Kind.REAL else {}

        def submit() -> str:
            return client.train(
                self._folder / kind, model, alias=NEWEST, request_id=f"request {number}", preset="fast", **settings
            ).id

        arguments = (client, self._history, kind, submit, _LONGEST_SECONDS)
        self._jobs.append(threading.Thread(target=see_through, args=arguments, daemon=True))
        self._jobs[-1].start()

    def _move(self) -> None:
        dice, number = random.Random(self._seed + 1), 0
        while not self._ending.wait(dice.uniform(0, 2 * _PAUSE_SECONDS)):
            number += 1
            client, versions = self._clients[dice.choice((SERVER, TRAINER))], self._house.models.versions(MODEL)[-10:]
            if dice.random() < 0.2:
                self._set_canary(dice.choice((None, *versions)), f"canary {number}", client)
            else:
                self._set(dice.choice((MODEL, MODEL, f"{MODEL}@{STEADY}")), dice.choice(versions), f"move {number}", client)

    def _set(self, name: str, version: int, token: str, client: eyas.Client) -> None:
        alias = NAMES[name]
        move = Move(f"{token} of {alias}", version, time.monotonic())
        self._record.ask(name, move)
        try:
            done = client.set_alias(MODEL, alias, version, reason=move.token)
        except (*_UNANSWERED, eyas.Conflict):  # after a move of which nothing was heard, which was done meanwhile
            return
        except eyas.EyasError as error:
            self._record.violations.append(f"who moved {name} was told: {error!r}")
            return
        if done.version != f"{MODEL}/{version}":
            self._record.violations.append(f"{move} of {name} was answered with {done}")
        move.acknowledge(done.record if done.reason == move.token else None)  # it led there before

    def _set_canary(self, version: int | None, token: str, client: eyas.Client) -> None:
        move = Move(token, version or 0, time.monotonic())
        self._record.ask(CANARY, move)
        canary = eyas.Canary(f"{MODEL}/{version}", _CANARY_PERCENT) if version else None
        try:
            done = client.set_traffic(MODEL, canary=canary, reason=token)
            move.acknowledge(done.record if done.reason == token else None)  # it was so before
        except (*_UNANSWERED, eyas.Conflict):
            return
        except eyas.InvalidArgument as error:
            if "is in production" not in error.message:
                self._record.violations.append(f"who set {CANARY} was told: {error!r}")
        except eyas.EyasError as error:
            self._record.violations.append(f"who set {CANARY} was told: {error!r}")
