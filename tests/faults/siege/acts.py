"""What is done to a house: each fault with how it begins and ends, and what callers may be told meanwhile."""

from __future__ import annotations

import os
import random
import resource
import signal
import threading
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from s3_server import Fault, Proxy

from .house import SERVER, TRAINER, House

KILLED = ("server", "acceptor", "engine", "decoder", "trainer", "guard", "program", "worker")
STOPPED = ("server", "acceptor", "engine", "decoder", "trainer", "guard", "program")
SERVING = frozenset({"server", "acceptor", "engine", "decoder", "store of the server"})
BEGUN_AGAIN = frozenset({"guard", "program"})  # a job is, once it has lost them
SICK: tuple[Fault, ...] = (503, 500, 429, "drop", "lose", "cut", "bytes", "etag", None, None, None, None, None, None)
CLOCKS_SECONDS = (-300, 300)  # requests to a store are signed with the time, and refused where it is more than some minutes off
_ROOM_BYTES = 2 << 20  # that a process may take beyond what it has
_STORE_WAITS_SECONDS = 0.5

REFUSED = frozenset({"UNAVAILABLE", "RESOURCE_EXHAUSTED"})
LATE = REFUSED | {"DEADLINE_EXCEEDED"}
# Whoever comes while a daemon or an engine starts waits for it, and it may be longer than he likes; the picture that a decoder ends
# with, or has for too long, is refused as one that no decoder can read.
KILLING = {"server": LATE, "engine": LATE, "decoder": REFUSED | {"INVALID_ARGUMENT"}}
STOPPING = {"decoder": LATE | {"INVALID_ARGUMENT"}}


class Nobody(Exception):
    """There is none at the moment to whom it could be done."""


Do = Callable[[House, random.Random, list[str]], Callable[[], None]]


@dataclass(frozen=True)
class Act:
    """A fault.

    Attributes:
        name: of what is done, for the table.
        role: to whom.
        codes: what callers of a server may be told meanwhile.
        lasts: whether it does until it is undone; a kill is done at once.
        do: does it to one of those there are, for jobs at work, and returns what undoes it. Raises Nobody.
    """

    name: str
    role: str
    codes: frozenset[str]
    lasts: bool
    do: Do


def _one(house: House, dice: random.Random, role: str, jobs: list[str]) -> int:
    found = house.processes(role, jobs)
    if not found:
        raise Nobody
    return dice.choice(found)


def _alone(things: Collection[str], do: Do) -> Do:
    """Returns what is done only while nothing else is done to these things."""

    def once(house: House, dice: random.Random, jobs: list[str]) -> Callable[[], None]:
        if house.taken & set(things):
            raise Nobody
        undo = do(house, dice, jobs)
        house.taken |= set(things)

        def give_back() -> None:
            house.taken -= set(things)
            undo()

        return give_back

    return once


def _kill(role: str) -> Act:
    def do(house: House, dice: random.Random, jobs: list[str]) -> Callable[[], None]:
        with suppress(ProcessLookupError):
            os.kill(_one(house, dice, role, jobs), signal.SIGKILL)
        return _nothing

    return Act("kill -9", role, KILLING.get(role, REFUSED), lasts=False, do=do)


def _stop(role: str) -> Act:
    def do(house: House, dice: random.Random, jobs: list[str]) -> Callable[[], None]:
        pid = _one(house, dice, role, jobs)
        _signal(pid, signal.SIGSTOP)
        return lambda: _signal(pid, signal.SIGCONT)

    return Act("SIGSTOP, and SIGCONT", role, STOPPING.get(role, LATE), lasts=True, do=do)


def _memory(role: str) -> Act:
    def do(house: House, dice: random.Random, jobs: list[str]) -> Callable[[], None]:
        pid = _one(house, dice, role, jobs)
        try:
            pages = int(Path(f"/proc/{pid}/statm").read_text().split()[0])
            _, most = before = resource.prlimit(pid, resource.RLIMIT_AS)
            resource.prlimit(pid, resource.RLIMIT_AS, (pages * resource.getpagesize() + _ROOM_BYTES, most))
        except (OSError, ProcessLookupError):
            raise Nobody from None

        def undo() -> None:
            with suppress(OSError):
                resource.prlimit(pid, resource.RLIMIT_AS, before)

        return undo

    return Act("memory limited to what it has and 2 MB", role, LATE, lasts=True, do=do)


def _store(role: str, name: str, decide: Callable[[random.Random], Fault]) -> Act:
    def do(house: House, dice: random.Random, _: list[str]) -> Callable[[], None]:
        proxy, own, lock = house.machines[role].store, random.Random(dice.random()), threading.Lock()
        proxy.release_seconds = _STORE_WAITS_SECONDS

        def fault(_method: str, _path: str) -> Fault:
            with lock:
                return decide(own)

        proxy.fault = fault
        return lambda: _well(proxy)

    return Act(name, f"store of the {role}", REFUSED, lasts=True, do=_alone([f"store of the {role}"], do))


def _database_dies(house: House, _dice: random.Random, _: list[str]) -> Callable[[], None]:
    house.postgres.stop(signal.SIGQUIT)
    return house.postgres.start


def _cut_off(house: House, _dice: random.Random, _: list[str]) -> Callable[[], None]:
    house.wire.hold()
    return house.wire.let_go


def _from_all(house: House, dice: random.Random, jobs: list[str]) -> Callable[[], None]:
    again = _AWAY[TRAINER].do(house, dice, jobs)
    house.wire.hold()

    def undo() -> None:
        house.wire.let_go()
        again()

    return undo


def _full(role: str) -> Act:
    def do(house: House, dice: random.Random, _: list[str]) -> Callable[[], None]:
        disk = house.machines[role].disk
        if disk is None:
            raise Nobody
        disk.fill(4096 * dice.randrange(50))
        return disk.free

    return Act("disk filled but for 0 to 196 KB", role, REFUSED, lasts=True, do=_alone([f"disk of the {role}"], do))


def _clock(role: str) -> Act:
    def do(house: House, dice: random.Random, _: list[str]) -> Callable[[], None]:
        clock = house.machines[role].clock
        clock.set(dice.choice(CLOCKS_SECONDS))
        return lambda: clock.set(0)

    return Act("clock set by 5 min, and back", role, frozenset(), lasts=True, do=_alone([f"clock of the {role}"], do))


def _nothing() -> None:
    """Undoes what cannot be undone."""


def _signal(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def _well(proxy: Proxy) -> None:
    proxy.fault = lambda _method, _path: None


_AWAY = {role: _store(role, "cut off from the store", lambda _: "drop") for role in (SERVER, TRAINER)}
ACTS = (
    *map(_kill, KILLED),
    *map(_stop, STOPPED),
    *map(_memory, ("engine", "program")),
    *(
        _store(role, "store fails, loses or spoils half of its answers", lambda dice: dice.choice(SICK))
        for role in (SERVER, TRAINER)
    ),
    *(_store(role, "store takes 0.5 s longer", lambda _: "slow") for role in (SERVER, TRAINER)),
    *_AWAY.values(),
    Act("killed, and started again", "database", frozenset(), lasts=True, do=_alone(["database"], _database_dies)),
    Act("cut off from the database", "trainer", frozenset(), lasts=True, do=_alone(["wire"], _cut_off)),
    Act("cut off from the database and the store", "trainer", frozenset(), lasts=True, do=_alone(["wire"], _from_all)),
    *map(_full, (SERVER, TRAINER)),
    *map(_clock, (SERVER, TRAINER)),
)
