"""Decides, before any work is done, whether a request can be answered in time.

A refusal costs microseconds, a picture that is decoded and then thrown away costs milliseconds: so the line is here, in
front of the decoder. A request is let in where there is room, and where its last picture will be answered by 95 % of its time:

    decoding + the longer of (pictures before it and its own) x (seconds a picture) at the decoders and at the network
    + four times what the event loop keeps a decoded picture waiting

- Pictures before it are those of its priority and higher ones, but no more than its caller's share makes it wait for: with C
  callers, C times what the caller has itself. `serving.queue.turns` keeps that promise, so a caller that sends little is not
  refused because another one has filled the queue.
- A lower priority has what the higher ones leave of the device, as fast as they came in the last second, and less of the room: so
  it is refused first.
- Seconds are measured: of each decoded picture, and of each batch by its size. Before the first batch a picture counts as 50 ms.
- Where the network is so small that the event loop itself has more to do than it can, its lag is the queue.
- The estimate is lengthened by what it takes to be right 199 times of 200: by 5 % for a request that was let in and took more than
  that part of its time, and shortened by a 199th of that for one that did not. So it holds for what is not measured here, too, such
  as a machine that is shared; and for nearly every 200th the 5 % of its time that are left are enough.
- A model that is not busy takes any request: that costs nobody anything, and a wrong measurement is put right by the next batch.

Knows counts and times only.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable, Hashable
from datetime import timedelta
from types import TracebackType
from typing import Final

from eyasd.core.errors import DeadlineExceeded, Overloaded
from eyasd.serving.question import Priority, Question
from eyasd.serving.queue.load import FullPace, Load
from eyasd.serving.queue.pace import BatchTimes, blend
from eyasd.serving.queue.turns import PASSED

# What a picture is taken to cost before anything is known: a large network on a slow core.
_UNKNOWN_SECONDS: Final = 0.05
# How far a priority may fill the room, as a multiple of `max_images`: each leaves some to those above it.
_ROOM: Final = {Priority.HIGH: 1.25, Priority.NORMAL: 1.0, Priority.LOW: 0.5}
# The least part of the device that a priority has, see `turns.PASSED`.
_LEAST: Final = 1 / (PASSED + 1)
# How often a picture waits for the event loop: its task, its slot or decoder, the network's answer, the response.
_TURNS: Final = 4
# Over how long the rate of a priority is taken, in seconds.
_SPAN: Final = 1.0
# By what part of its time a request is to be answered. With all of it, 0.7 % of those that were let in at twice the capacity missed
# a deadline of 1 s, with this part none, and as many were answered (`bench/serve.py`, scenario 3).
_PART: Final = 0.95
# How much longer than measured an estimate is at first; by how much a late request lengthens it, how little one in time shortens
# it, and the most.
_FIRST: Final = 1.2
_LATE: Final = 1.05
_IN_TIME: Final = _LATE ** (-1 / 199)
_MOST: Final = 3.0


class _Queue:
    """Pictures in flight by priority and caller."""

    def __init__(self) -> None:
        self.images = [0] * len(Priority)
        self._callers: list[Counter[Hashable]] = [Counter() for _ in Priority]

    def ahead(self, question: Question) -> int:
        """Returns how many pictures are answered before a request's last one, its own included."""
        priority = question.priority
        callers = self._callers[priority]
        own = callers[question.caller] + len(question.images)
        count = len(callers) + (question.caller not in callers)
        return sum(self.images[:priority]) + min(self.images[priority] + len(question.images), own * count)

    def add(self, question: Question, images: int) -> None:
        """Counts pictures that come, or go where `images` is negative."""
        self.images[question.priority] += images
        callers = self._callers[question.priority]
        callers[question.caller] += images
        if not callers[question.caller]:
            del callers[question.caller]


class _Model:
    """What is known of one model: its pictures in flight, and how fast they are answered."""

    def __init__(self, start: float) -> None:
        self.queue = _Queue()
        self.load = Load(1, start)
        self._pace = FullPace()
        self.times = BatchTimes()
        self.caution = [_FIRST] * len(Priority)
        self._largest = 0
        self._engines = 1
        self._rates = [0.0] * len(Priority)  # pictures a second that were let in
        self._counted = 0.0

    @property
    def known(self) -> bool:
        return self._largest > 0

    @property
    def seconds_per_image(self) -> float:
        return self.times.seconds(self._largest) / self._largest / self._engines if self._largest else _UNKNOWN_SECONDS

    def ran(self, size: int, seconds: float, engines: int) -> None:
        self.times.observe(size, seconds)
        self.load.pace = self._pace.observe(size, seconds)
        self._largest = max(self._largest, size)
        self._engines = self.load.capacity = engines

    def enter(self, question: Question, now: float) -> None:
        fade = math.exp((self._counted - now) / _SPAN)
        self._rates = [rate * fade for rate in self._rates]
        self._rates[question.priority] += len(question.images) / _SPAN
        self._counted = now
        self.queue.add(question, len(question.images))
        self.load.wait(len(question.images), now)

    def ended(self, priority: Priority, *, late: bool) -> None:
        caution = self.caution[priority]
        self.caution[priority] = min(_MOST, caution * _LATE) if late else max(1.0, caution * _IN_TIME)

    def wait(self, question: Question, now: float) -> float:
        """Returns when the network will have answered the request's last picture, in seconds from now."""
        pace = self.seconds_per_image
        ahead = self.queue.ahead(question)
        higher = sum(self._rates[: question.priority]) * math.exp((self._counted - now) / _SPAN)
        # A single picture takes longer than its part of a batch, and may have to wait for a batch that has just begun.
        seconds = max(self.caution[question.priority] * ahead * pace, min(ahead, 2) * self.times.seconds(1))
        return seconds / max(_LEAST, 1 - higher * pace)


class Admitted:
    """A request that was let in, for as long as the block lasts; its pictures may leave one by one before."""

    def __init__(self, admission: Admission, model: _Model, question: Question, deadline: float | None) -> None:
        """Remembers whom to tell.

        Args:
            admission: that let it in.
            model: that it asks.
            question: the request.
            deadline: by when it is to be answered; None where there is nothing to be learned of it.
        """
        self._admission = admission
        self._model = model
        self._question = question
        self._deadline = deadline
        self._images = len(question.images)

    def leave(self) -> None:
        """Says that a picture is answered."""
        if self._images:
            self._images -= 1
            self._admission.left(self._model, self._question, 1)

    def __enter__(self) -> Admitted:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._deadline is not None:
            late = kind is DeadlineExceeded or self._admission.clock() >= self._deadline
            if late or not self._images:
                self._model.ended(self._question.priority, late=late)
        self._admission.requests -= 1
        if self._images:
            if kind is not None and (kind is DeadlineExceeded or not issubclass(kind, Exception)):  # too late, or the caller left
                self._model.load.demanded += self._images * self._model.load.pace
            self._admission.left(self._model, self._question, self._images)
            self._images = 0


class Admission:
    """A bounded count of pictures in flight, and an estimate of how fast they leave.

    Attributes:
        requests: that were let in and have not ended yet.
        let_in: requests that were let in, ever.
        turned_away: requests that were not.
        decoders: their load.
    """

    def __init__(self, max_images: int, decoders: int, clock: Callable[[], float] = time.monotonic) -> None:
        """Starts with nothing in flight.

        Args:
            max_images: most pictures in flight, of normal priority; callers within their share of it may fill as much again.
            decoders: pictures that are decoded at the same time.
            clock: seconds since whenever.
        """
        self.clock = clock
        self._max_images = max_images
        self._decoders = decoders
        self.requests = self.let_in = self.turned_away = 0
        self._queue = _Queue()
        self._start = clock()
        self.decoders = Load(decoders, self._start)
        self._callers: Counter[Hashable] = Counter()
        self._models: dict[str, _Model] = {}
        self._decode_seconds = 0.0
        self._lag_seconds = 0.0
        self._decoded = 0

    @property
    def in_flight(self) -> int:
        """Pictures admitted and not answered yet."""
        return sum(self._queue.images)

    def admit(self, question: Question) -> Admitted:
        """Lets a request in.

        Raises:
            Overloaded: there is no room, or the estimated wait is longer than the deadline; says when to come back.
        """
        now = self.clock()
        model = self._models.get(question.ref.model) or _Model(self._start)
        try:
            in_time = self._check(question, model, now)
        except Overloaded:
            self.turned_away += 1
            self.decoders.demanded += len(question.images) * self.decoders.pace
            model.load.demanded += len(question.images) * model.load.pace
            raise
        self.requests += 1
        self.let_in += 1
        self._models[question.ref.model] = model
        self._queue.add(question, len(question.images))
        self._callers[question.caller] += len(question.images)
        model.enter(question, now)
        return Admitted(self, model, question, now + _PART * question.timeout_seconds if in_time and model.known else None)

    def left(self, model: _Model, question: Question, images: int) -> None:
        """Forgets pictures of an admitted request; see `Admitted`."""
        self._queue.add(question, -images)
        self._callers[question.caller] -= images
        if not self._callers[question.caller]:
            del self._callers[question.caller]
        model.queue.add(question, -images)
        model.load.wait(-images, self.clock())
        if not model.known and not any(model.queue.images):  # anybody can make up a name
            del self._models[question.ref.model]

    def decoded(self, seconds: float, lag_seconds: float) -> None:
        """Learns from a picture that was decoded.

        Args:
            seconds: that it took in its decoder.
            lag_seconds: from then until the event loop came to hear of it.
        """
        self.decoders.demanded += seconds
        self.decoders.pace = self._decode_seconds = blend(self._decode_seconds, seconds, self._decoded)
        self._lag_seconds = blend(self._lag_seconds, lag_seconds, self._decoded)
        self._decoded += 1

    def ran(self, model: str, size: int, seconds: float, engines: int = 1) -> None:
        """Learns how long a batch took.

        Args:
            model: whose pictures they were.
            size: how many; 0 is a batch that was reported already.
            seconds: from its start to its end.
            engines: how many run batches of this model at the same time.
        """
        if (known := self._models.get(model)) is not None:
            if size:
                known.ran(size, seconds, engines)
            known.load.demanded += known.load.pace

    def look_at_decoders(self, now: float) -> float:
        """Returns the load of the decoders, for which all pictures wait."""
        return self.decoders.look(now, sum(model.load.waited(now) for model in self._models.copy().values()))

    def engines(self) -> dict[str, Load]:
        """Returns the load of each model's engines."""
        return {name: model.load for name, model in self._models.copy().items() if model.known}

    def _check(self, question: Question, model: _Model, now: float) -> bool:
        """Returns whether a request will be answered in time; raises Overloaded where it is not let in."""
        self._check_room(question, model)
        decoding = self._decode_seconds * (1 + model.caution[question.priority] * self._queue.ahead(question) / self._decoders)
        wait = (max(decoding, self._decode_seconds + model.wait(question, now)) + _TURNS * self._lag_seconds) / _PART
        in_time = wait <= question.timeout_seconds
        if not in_time and any(model.queue.images):
            raise Overloaded(
                f"The answer may take {_ms(wait)} ms and the deadline is in {_ms(question.timeout_seconds)} ms: allow more "
                "time, or try again when the load is lower.",
                retry_after=timedelta(milliseconds=_ms(wait - question.timeout_seconds)),
                cause="deadline",
            )
        return in_time

    def _check_room(self, question: Question, model: _Model) -> None:
        """Raises Overloaded where the bound would be passed by a caller that is over its share of it."""
        in_flight, images = self.in_flight, len(question.images)
        room = self._max_images * _ROOM[question.priority]
        if not in_flight or in_flight + images <= room:
            return
        share = room / (len(self._callers) + (question.caller not in self._callers))
        if self._callers[question.caller] + images <= share and in_flight + images <= 2 * self._max_images:
            return
        wait = (in_flight + images - room) * max(model.seconds_per_image, self._decode_seconds / self._decoders)
        raise Overloaded(
            f"{in_flight} pictures are waiting, and at most {int(room)} are let in with priority {question.priority.name}: try "
            f"again in {_ms(wait)} ms.",
            retry_after=timedelta(milliseconds=_ms(wait)),
            cause="room",
        )


def _ms(seconds: float) -> int:
    return max(1, round(seconds * 1000))
