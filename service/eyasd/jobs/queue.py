"""Whose turn it is, and how long the others will wait. Pure: jobs, devices and the time in, decisions and sentences out.

A job's turn is the moment of its submission plus a head start that others have over its priority, so it is fixed once and for all:
only what is submitted within that time can still go before it, and nobody waits for ever, however many urgent jobs come. Turns are
kept strictly. Where the next job wants more devices than are free, those behind it wait, too, though they would fit: a job of many
devices would else be overtaken again and again. Only an owner at the quota is passed over, and waits for jobs of the same owner.
"""

from __future__ import annotations

import heapq
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import count
from statistics import fmean
from typing import Final

from eyasd.core.jobs import Job, JobPriority, JobType, Queued, Waiting
from eyasd.core.wording import counted

# By so much an urgent job may come later and still go first: half a working day, and what can wait for the night.
_HEAD_STARTS: Final = {
    JobPriority.HIGH: timedelta(0),
    JobPriority.NORMAL: timedelta(hours=4),
    JobPriority.LOW: timedelta(hours=24),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueOptions:
    """What jobs have to share.

    Attributes:
        devices: of this trainer; each job wants some.
        quota_running: most jobs of one owner that run at the same time, on all trainers; 0 is no bound.
        jobs: most that this trainer runs at the same time; 0 is as many as there are devices for.
        training_devices: what a training wants that does not say; all else wants one.
    """

    devices: int
    quota_running: int = 0
    jobs: int = 0
    training_devices: int = 1

    @property
    def most(self) -> int:
        """How many jobs run at the same time at most."""
        return min(self.jobs or self.devices, self.devices)

    def wanted(self, job: Job | Queued) -> int:
        """Returns how many devices a job wants."""
        return job.devices or (self.training_devices if job.type is JobType.TRAINING else 1)


def next_up(
    queued: Iterable[Queued], running: Iterable[Job], here: Collection[str], options: QueueOptions, taken: Collection[str] = ()
) -> list[str]:
    """Returns the ids of the jobs that this trainer can start now, those whose turn it is first.

    Args:
        queued: jobs that wait, in the order of their submission.
        running: every job that has been started, on any trainer.
        here: ids of those among them that this trainer runs.
        options: what there is to share.
        taken: devices of this trainer that somebody else has.
    """
    return [job.id for job in _Line(queued, running, here, options, taken).startable()]


def forecast(
    queued: Sequence[Queued],
    running: Sequence[Job],
    here: Collection[str],
    options: QueueOptions,
    now: datetime,
    taken: Collection[str] = (),
) -> dict[str, Waiting]:
    """Returns why queued jobs wait, and when they will probably start; nothing of those that this trainer can start now.

    Every running job ends when its progress says so; one that is queued will take as long as those of its type that run now. Of
    other trainers the devices that are taken now are known.

    Args:
        queued: as in `next_up`.
        running: as in `next_up`.
        here: as in `next_up`.
        options: as in `next_up`.
        now: the time.
        taken: as in `next_up`.
    """
    line = _Line(queued, running, here, options, taken)
    starting = list(line.startable())
    busy = Counter([*(job.owner for job in running), *(job.owner for job in starting)])
    quota, held_up = options.quota_running, _held_up(line.free, line.places, options, taken)
    starts = {job.id: start for job, start in line.starts(starting, running, now)}
    begun, found = {job.id for job in starting}, dict[str, Waiting]()
    first: Queued | None = None
    ahead = 0
    for job in sorted((job for job in queued if job.id not in begun), key=_turn):
        if options.wanted(job) > options.devices:
            reason = f"It wants {options.wanted(job)} devices, and this trainer has {options.devices}."
        elif quota and busy[job.owner] >= quota:
            whose = f"of {job.owner}" if job.owner else "of nobody in particular"
            reason = f"No more than {counted(quota, 'job')} {whose} may run at a time: it waits for one to end."
        else:
            first = first or job
            reason = f"{_place(ahead)}; {held_up(first, ahead)}."
            ahead += 1
        found[job.id] = Waiting(reason, starts.get(job.id))
    return found


def _place(ahead: int) -> str:
    return f"{counted(ahead, 'job')} {'is' if ahead == 1 else 'are'} before it" if ahead else "It is next"


def _held_up(free: int, places: int, options: QueueOptions, taken: Collection[str]) -> Callable[[Queued, int], str]:
    """Returns what says what the job waits for whose turn it is, which holds up all others, and how many are before it."""
    has = "is in use, and not by a job" if len(taken) == 1 else "are in use, and not by jobs"
    others = f"; {', '.join(sorted(taken))} {has} of this trainer" if taken else ""

    def reason(first: Queued, ahead: int) -> str:
        if not places and options.most < options.devices:
            return (
                "the trainer is busy" if options.most == 1 else f"the trainer runs {options.most} jobs, as many as it may at a time"
            )
        if free > 0:
            whose = "the first of them" if ahead else "it"
            wants = f"wants {options.wanted(first)} devices, and {free} of {options.devices} {'is' if free == 1 else 'are'} free"
            return f"{whose} {wants}{others}"
        return (
            "the trainer is busy" if options.devices == 1 else f"all {options.devices} devices of the trainer are busy"
        ) + others

    return reason


def _turn(job: Queued) -> datetime:
    return job.create_time + _HEAD_STARTS[job.priority]


class _Line:
    """Queued jobs in the order of their turns, and what is free.

    Attributes:
        free: number of devices.
        places: how many more jobs may run.
    """

    def __init__(
        self, queued: Iterable[Queued], running: Iterable[Job], here: Collection[str], options: QueueOptions, taken: Collection[str]
    ) -> None:
        running = list(running)
        own = [job for job in running if job.id in here]
        self.free = options.devices - len(taken) - sum(map(options.wanted, own))
        self.places = options.most - len(own)
        self._wanted = options.wanted
        self._quota = options.quota_running
        self._running = Counter(job.owner for job in running)
        self._lines: dict[str, deque[tuple[int, Queued]]] = defaultdict(deque)
        for place, job in enumerate(sorted((job for job in queued if options.wanted(job) <= options.devices), key=_turn)):
            self._lines[job.owner].append((place, job))
        # The first job of every owner below the quota, and its place among all.
        self._fronts: list[tuple[int, Queued]] = []
        for owner in self._lines:
            self._step_forward(owner)

    def startable(self) -> Iterator[Queued]:
        """Starts as many as there are devices for, and yields them."""
        while self._fronts and self.places > 0 and self._wanted(self._fronts[0][1]) <= self.free:
            _, job = heapq.heappop(self._fronts)
            self._lines[job.owner].popleft()
            self._running[job.owner] += 1
            self.free -= self._wanted(job)
            self.places -= 1
            self._step_forward(job.owner)
            yield job

    def starts(self, starting: Iterable[Queued], running: Sequence[Job], now: datetime) -> Iterator[tuple[Queued, datetime]]:
        """Yields the others with the times at which they start, as long as there is a job whose end is known.

        Args:
            starting: what `startable` has yielded.
            running: before that.
            now: the time.
        """
        usual = _usual_times(running)
        ends: list[tuple[datetime, int, int, str]] = []
        numbers = count()  # what ends at the same moment ends in the order in which it began

        def expect(job: Job | Queued, end: datetime | None) -> None:
            if end is not None:
                heapq.heappush(ends, (end, next(numbers), self._wanted(job), job.owner))

        for one in running:
            expect(one, now + one.progress.time_left if one.progress and one.progress.time_left is not None else None)
        for job in starting:
            expect(job, now + usual[job.type] if job.type in usual else None)
        while ends and any(self._lines.values()):
            time, _, devices, owner = heapq.heappop(ends)
            self.free += devices
            self.places += 1
            at_quota = self._is_at_quota(owner)
            self._running[owner] -= 1
            if at_quota:
                self._step_forward(owner)
            for job in self.startable():
                yield job, time
                expect(job, time + usual[job.type] if job.type in usual else None)

    def _is_at_quota(self, owner: str) -> bool:
        return bool(self._quota) and self._running[owner] >= self._quota

    def _step_forward(self, owner: str) -> None:
        if self._lines[owner] and not self._is_at_quota(owner):
            heapq.heappush(self._fronts, self._lines[owner][0])


def _usual_times(running: Iterable[Job]) -> Mapping[JobType, timedelta]:
    """Returns how long jobs of each type take, as those that run now tell it: from the time they have left for the rest of them."""
    seconds: dict[JobType, list[float]] = defaultdict(list)
    for job in running:
        progress = job.progress
        if progress and progress.time_left is not None and progress.fraction < 1:
            seconds[job.type].append(progress.time_left.total_seconds() / (1 - progress.fraction))
    return {kind: timedelta(seconds=fmean(times)) for kind, times in seconds.items()}
