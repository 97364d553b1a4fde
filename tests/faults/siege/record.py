"""What callers were answered and told, and where aliases were moved, kept outside of all that is killed; what of it must not be.

Aliases are followed by looking, so an answer may come from a version that was left behind a moment ago: at the last moment at which
every acceptor was seen to answer by the newest record, or from any that was asked for since. It never comes from an older one.
"""

from __future__ import annotations

import math
import threading
import time
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import tellers
from eyasd.core.promotion import AliasRecord
from eyasd.core.traffic import TrafficRecord
from load import Asked

CANARY = "the canary"  # of the model; a move of its own to version 0 ends it
_LATE_SECONDS = 75.0  # more than the minute after which servers look by themselves, and what a daemon goes on trying
REFUSED = "RESOURCE_EXHAUSTED"  # by a machine that is busy with other things; promised at any time


@dataclass
class Move:
    """Something that is to lead callers of a name to a version.

    Attributes:
        token: by which its record is known, in `reason`.
        version: to lead to.
        start: when it was asked for.
        record: its number; None where nobody said that it was done.
        end: when it was acknowledged; one that never was may be done for as long as a daemon tries, its caller gone.
    """

    token: str
    version: int
    start: float
    record: int | None = None
    end: float = 0.0

    def __post_init__(self) -> None:
        self.end = self.end or self.start + _LATE_SECONDS

    def acknowledge(self, record: int | None) -> None:
        """Notes that it is done, by a record of its own if there is a number."""
        self.record, self.end = record, time.monotonic()


@dataclass
class Window:
    """From the beginning of some faults until all is well again.

    Attributes:
        codes: what callers may be told in it.
        end: None while it is open.
    """

    start: float
    codes: frozenset[str]
    end: float | None = None


@dataclass
class Record:
    """Of one run. Several threads write it.

    Attributes:
        job_of: the job that made a version of the model.
        model: that is asked for.
        moves: by name, `NAME@ALIAS`, in the order in which they were asked for.
        settled: by name, when all acceptors were seen to answer by a record, when that was read, and the versions it leads to.
        windows: in which calls may fail.
        job_names: the job that made each version that has answered.
        answers: how many there were, by door.
        told: how many calls failed, by status.
        failures: of the open window.
        violations: of what must not be.
    """

    job_of: Callable[[int], str]
    model: str
    moves: dict[str, list[Move]] = field(default_factory=dict)
    settled: dict[str, list[tuple[float, float, frozenset[int]]]] = field(default_factory=dict)
    windows: list[Window] = field(default_factory=list)
    answers: Counter[str] = field(default_factory=Counter)
    told: Counter[str] = field(default_factory=Counter)
    failures: list[Asked] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    job_names: dict[int, str] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def hear(self, asked: Asked) -> None:
        """Takes a call down, and says at once what is wrong with its answer."""
        with self._lock:
            if asked.error:
                self.told[asked.error] += 1
                self.failures.append(asked)
            else:
                self.answers[asked.door] += 1
                self.violations += [f"{asked}: {wrong}" for wrong in self._wrong(asked)]

    def _wrong(self, asked: Asked) -> Iterable[str]:
        model, _, number = asked.version.partition("/")
        if model != self.model:
            yield "it is of another model"
            return
        version = int(number)
        try:
            job = self.job_names[version] if version in self.job_names else self.job_names.setdefault(version, self.job_of(version))
        except Exception as error:  # noqa: BLE001 - whatever a reader comes upon
            yield f"there is no such version: {error}"
            return
        label, probability = tellers.said(job, asked.colour)
        if label != asked.label or abs(probability - asked.probability) > tellers.TOLERANCE:
            yield f"version {version} says {label}, {probability:.4f}"
        if version not in (allowed := self._allowed(asked)):
            yield f"{asked.model} could lead to {sorted(allowed)} alone"

    def _allowed(self, asked: Asked) -> set[int]:
        name, _, number = asked.model.partition("/")
        if number:
            return {int(number)}
        seen = self.settled[name]
        _, since, versions = seen[bisect_right(seen, asked.start, key=lambda one: one[0]) - 1]
        moves = {move.version for move in self.moves[name] if move.start <= asked.end and since <= move.end}
        return {*versions, *moves, *(self._canaries(asked) if name == self.model else ())}

    def _canaries(self, asked: Asked) -> Iterable[int]:
        """Yields the canaries that there may be: an answer by another version does not tell that one has ended."""
        moves = self.moves.get(CANARY, [])
        ends = [following.start + _LATE_SECONDS for following in moves[1:]] + [math.inf]
        return (move.version for move, end in zip(moves, ends, strict=False) if move.start <= asked.end and asked.start <= end)

    def ask(self, name: str, move: Move) -> None:
        """Notes a move before it is asked for."""
        with self._lock:
            self.moves.setdefault(name, []).append(move)

    def settle(self, name: str, since: float, now: float, versions: Iterable[int]) -> None:
        """Notes that every acceptor has answered, as is seen now, by what was in force at a moment before."""
        with self._lock:
            self.settled.setdefault(name, []).append((now, since, frozenset(versions)))

    def judge_failures(self) -> list[Asked]:
        """Compares the calls that failed with the windows, and returns those that are within one; they are not asked for again."""
        with self._lock:
            failures, self.failures = self.failures, []
        for asked in failures:
            if asked.error != REFUSED and not any(
                asked.error in window.codes and window.start <= asked.end and (window.end is None or asked.start <= window.end)
                for window in self.windows
            ):
                self.violations.append(f"a caller was told what was not promised: {asked}")
        return failures

    def judge_canaries(self, history: Sequence[TrafficRecord]) -> None:
        """Compares the records of the model's traffic, oldest first, with what was acknowledged; daemons add some of their own."""
        reasons = Counter(record.reason for record in history)
        for move in self.moves.get(CANARY, []):
            if reasons[move.token] > 1 or (move.record is not None and not reasons[move.token]):
                self.violations.append(f"{move} of {CANARY} is in the history {reasons[move.token]} times")
        if [record.record for record in history] != list(range(1, len(history) + 1)):
            self.violations.append(f"the records of {CANARY} have gaps")

    def judge_chain(self, name: str, history: Sequence[AliasRecord]) -> None:
        """Looks whether the records of an alias, oldest first, follow from each other."""
        if [record.record for record in history] != list(range(1, len(history) + 1)):
            self.violations.append(f"the records of {name} have gaps: {[record.record for record in history]}")
        for before, after in pairwise(history):
            if after.previous != before.version:
                self.violations.append(f"record {after.record} of {name} does not follow from the one before")

    def judge_history(self, name: str, history: Sequence[AliasRecord]) -> None:
        """Compares the records of an alias, oldest first, with what was asked for and acknowledged."""
        self.judge_chain(name, history)
        moves = {move.token: move for move in self.moves[name]}
        times = Counter(record.reason for record in history)
        self.violations += [f"{token} is in the history of {name} {count} times" for token, count in times.items() if count > 1]
        for record in history:
            move = moves.get(record.reason)
            if move is None or move.version != record.version:
                self.violations.append(f"record {record.record} of {name} was asked for by nobody: {record}")
        by_number = {record.record: record.reason for record in history}
        acknowledged = [move for move in self.moves[name] if move.record is not None]
        for move in acknowledged:
            if by_number.get(move.record or 0) != move.token:
                self.violations.append(f"{move} of {name} was acknowledged, and is {by_number.get(move.record or 0)}")
        numbers = [move.record for move in acknowledged]
        if numbers != sorted(numbers, key=lambda number: number or 0):
            self.violations.append(f"what was acknowledged of {name} is in another order: {numbers}")
