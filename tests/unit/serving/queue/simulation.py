"""A server in make-believe time: admission, decoders and a device with its batcher, under whatever load a test offers.

The code that decides is the real one; only the work is pretended, so a minute of overload takes a second and every run is the same.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from eyasd.core.errors import DeadlineExceeded, Overloaded
from eyasd.core.names import ModelRef
from eyasd.serving.question import Priority, Question
from eyasd.serving.queue.admission import Admission, Admitted
from eyasd.serving.queue.batcher import Batcher, Options
from eyasd.serving.queue.turns import Turns, Work


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """A stream of requests.

    Attributes:
        images_per_second: on average; requests come by chance (Poisson).
        images: how many pictures a request has; one of these, so that each kind brings as many pictures.
        seconds: its deadline; one of these.
    """

    images_per_second: float
    images: tuple[int, ...] = (1,)
    seconds: tuple[float, ...] = (1.0,)
    caller: str = ""
    priority: Priority = Priority.NORMAL
    start: float = 0.0


@dataclass(eq=False, slots=True)
class Asked:
    """A request, and what became of it; `answered` is None while pictures are missing, and for ever where one was late."""

    arrival: float
    question: Question
    retry_after: float | None = None
    answered: float | None = None
    missing: int = 0
    admitted: Admitted | None = None

    @property
    def in_time(self) -> bool:
        """Whether all of its pictures were answered before its deadline."""
        return self.answered is not None and self.answered <= self.arrival + self.question.timeout_seconds


@dataclass
class Server:
    """A server with one model.

    Attributes:
        seconds: the time of a batch by its size and the time of day, without noise.
        decode_seconds: of a picture, without noise.
        noise: the standard deviation of the logarithm of a time.
        looks: told the time now and then, at times that have nothing to do with what happens.
    """

    options: Options
    seconds: Callable[[int, float], float]
    decode_seconds: float = 0.004
    decoders: int = 2
    max_images: int = 256
    noise: float = 0.2
    seed: int = 0
    looks: Callable[[float], None] = lambda _: None
    requests: list[Asked] = field(default_factory=list)
    busy_seconds: float = 0.0

    def __post_init__(self) -> None:
        self._now = 0.0
        self.admission = Admission(self.max_images, self.decoders, lambda: self._now)
        self._random = random.Random(self.seed)
        self._batcher = Batcher(self.options)
        self._undecoded = Turns()
        self._free_decoders = self.decoders
        self._busy = False
        self._events: list[tuple[float, int, Callable[[float], None]]] = []
        self._numbers = itertools.count()

    def run(self, offers: list[Offer], seconds: float) -> None:
        """Offers for so long, and then finishes what was let in."""
        for offer in offers:
            self._next(offer, self._arrivals(offer, seconds))
        for number in range(int(seconds)):
            self._at(number + 0.37, self.looks)
        while self._events:
            self._now, _, happen = heapq.heappop(self._events)
            happen(self._now)

    def _at(self, time: float, happen: Callable[[float], None]) -> None:
        heapq.heappush(self._events, (time, next(self._numbers), happen))

    def _arrivals(self, offer: Offer, seconds: float) -> Iterator[float]:
        requests = sum(offer.images_per_second / len(offer.images) / images for images in offer.images)
        now = offer.start
        while (now := now + self._random.expovariate(requests)) < seconds:
            yield now

    def _next(self, offer: Offer, arrivals: Iterator[float]) -> None:
        arrival = next(arrivals, None)
        if arrival is not None:
            self._at(arrival, lambda now: self._arrive(now, offer, arrivals))

    def _arrive(self, now: float, offer: Offer, arrivals: Iterator[float]) -> None:
        self._next(offer, arrivals)
        images = self._random.choices(offer.images, [1 / images for images in offer.images])[0]
        question = Question(
            ref=ModelRef("birds", alias="production"),
            images=[b""] * images,
            timeout_seconds=self._random.choice(offer.seconds),
            priority=offer.priority,
            caller=offer.caller,
        )
        asked = Asked(now, question, missing=images)
        self.requests.append(asked)
        try:
            asked.admitted = self.admission.admit(question)
        except Overloaded as error:
            asked.retry_after = error.retry_after.total_seconds()
            return
        for _ in range(images):
            deadline = now + question.timeout_seconds
            self._undecoded.put(Work(asked, now, deadline, question.priority, question.caller), self._decode_pace)
        self._decode(now)

    @property
    def _decode_pace(self) -> float:
        return self.decode_seconds / self.decoders

    def _noisy(self, seconds: float) -> float:
        return seconds * self._random.lognormvariate(-(self.noise**2) / 2, self.noise)

    def _decode(self, now: float) -> None:
        while self._free_decoders and (work := self._undecoded.next(self._decode_pace, shadow=False)):
            self._undecoded.take(work, self._decode_pace)
            if work.deadline <= now:
                self._end(work.key, DeadlineExceeded("late"))
                continue
            self._free_decoders -= 1
            taken = self._noisy(self.decode_seconds)
            self._at(now + taken, lambda then, work=work, taken=taken: self._decoded(then, work, taken))  # type: ignore[misc]

    def _decoded(self, now: float, work: Work, taken: float) -> None:
        self._free_decoders += 1
        self.admission.decoded(taken, 0.0)
        asked: Asked = work.key
        if asked.admitted is not None:
            self._batcher.put(Work(asked, now, work.deadline, work.priority, work.caller))
        self._decode(now)
        self._cut(now)

    def _cut(self, now: float) -> None:
        if self._busy:
            return
        cut = self._batcher.cut(now)
        for work in cut.expired:
            self._end(work.key, DeadlineExceeded("late"))
        if cut.batch:
            self._busy = True
            taken = self._noisy(self.seconds(len(cut.batch), now))
            self.busy_seconds += taken
            self._at(now + taken, lambda then: self._ran(then, cut.batch, taken))
        elif cut.wait_seconds is not None:
            self._at(now + cut.wait_seconds, self._cut)

    def _ran(self, now: float, batch: list[Work], taken: float) -> None:
        self._busy = False
        self._batcher.ran(len(batch), taken)
        for number, work in enumerate(batch):
            self.admission.ran("birds", 0 if number else len(batch), taken)
            asked: Asked = work.key
            if asked.admitted is not None:
                asked.admitted.leave()
                asked.missing -= 1
                if not asked.missing:
                    asked.answered = now
                    self._end(asked)
        self._cut(now)

    def _end(self, asked: Asked, error: DeadlineExceeded | None = None) -> None:
        """Ends a request; if a picture was late, its other pictures are not waited for."""
        if asked.admitted is not None:
            asked.admitted.__exit__(type(error) if error else None, error, None)
            asked.admitted = None
