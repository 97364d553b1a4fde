"""The pictures of a stream: which are on their way, which are to be sent again, which answers may be given out.

Knows the clock, and nothing of gRPC, threads or event loops; the two clients wait, send and receive. A picture takes up room from
when it is taken from the caller until its answer has been given to him, so neither a slow server nor a slow caller makes it many.
"""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from eyas._errors import DeadlineExceeded, EyasError, Overloaded, UndecodableImage
from eyas._images import Image, read_image
from eyas._patience import pause_seconds
from eyas._types import Classification
from eyas.v1 import classification_service_pb2 as pb

MAX_IMAGES: Final = 64
MAX_BYTES: Final = 16 * 1024 * 1024
# Servers end a stream after 4 minutes; one that has not may hang.
LIFETIME_SECONDS: Final = 300.0

Result = tuple[Image, Classification | EyasError]


@dataclass(order=True, slots=True)
class Picture:
    """A picture that has no answer yet; the lowest number goes first."""

    number: int
    image: Image = field(compare=False)
    content: bytes = field(compare=False)
    deadline: float = field(compare=False)
    attempt: int = field(compare=False, default=0)

    def request(self) -> pb.ClassifyStreamRequest:
        """Returns the message that it is sent in."""
        return pb.ClassifyStreamRequest(picture=pb.StreamedImage(id=str(self.number), image=pb.Image(content=self.content)))


class Pictures:
    """The pictures of one stream, over as many calls as it takes."""

    def __init__(
        self, *, ordered: bool, timeout_seconds: float, retries: bool, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Begins with none.

        Args:
            ordered: whether answers are given out in the order of the pictures.
            timeout_seconds: how long a picture that the server refuses is sent again.
            retries: whether that is done at all.
            clock: in seconds.
        """
        self._ordered = ordered
        self._timeout_seconds = timeout_seconds
        self._retries = retries
        self._clock = clock
        self._waiting: list[Picture] = []  # a heap
        self._sent: dict[int, Picture] = {}
        self._answers: dict[int, Result] = {}
        self._bytes = 0
        self._added = 0
        self._given = 0
        self._resume = 0.0
        self.exhausted = False

    @property
    def has_room(self) -> bool:
        """Whether another picture may be added."""
        return not self.exhausted and self._added - self._given < MAX_IMAGES and self._bytes < MAX_BYTES

    def all_answered(self) -> bool:
        """Whether there are no more pictures, and all have their answers."""
        return self.exhausted and not self._waiting and not self._sent

    def add(self, image: Image, content: bytes | UndecodableImage) -> None:
        """Adds the caller's next picture, or why it cannot be read."""
        number, self._added = self._added, self._added + 1
        if isinstance(content, UndecodableImage):
            self._answers[number] = (image, content)
            return
        self._bytes += len(content)
        heapq.heappush(self._waiting, Picture(number, image, content, self._clock() + self._timeout_seconds))

    def pause(self) -> float:
        """Returns how many seconds nothing is to be sent, because the server is full; 0 or less is none."""
        return self._resume - self._clock()

    def next(self) -> Picture | None:
        """Returns a picture to send now, if there is one; it is on its way then."""
        if not self._waiting:
            return None
        picture = heapq.heappop(self._waiting)
        picture.attempt += 1
        self._sent[picture.number] = picture
        return picture

    def oldest(self) -> Picture | None:
        """Returns the first picture without an answer."""
        return min((*self._sent.values(), *self._waiting), default=None)

    def answer(self, identity: str, result: Classification | EyasError) -> None:
        """Takes what came for a picture: its answer, or a refusal, upon which it will be sent again while there is time."""
        picture = self._sent.pop(int(identity))
        if self._retries and isinstance(result, Overloaded):
            pause = pause_seconds(result, picture.attempt, picture.deadline - self._clock())
            if pause is not None:
                self._resume = max(self._resume, self._clock() + pause)
                heapq.heappush(self._waiting, picture)
                return
        self._bytes -= len(picture.content)
        self._answers[picture.number] = (picture.image, result)

    def answer_alone(self, picture: Picture, result: Classification | EyasError) -> None:
        """Takes the answer to a picture that waited, and was asked of the server without the stream."""
        self._waiting.remove(picture)
        heapq.heapify(self._waiting)
        self._sent[picture.number] = picture
        self.answer(str(picture.number), result)

    def results(self) -> Iterator[Result]:
        """Yields the answers that may be given out now."""
        while self._answers:
            number = self._given if self._ordered else next(iter(self._answers))
            if number not in self._answers:
                return
            self._given += 1
            yield self._answers.pop(number)

    def send_again(self) -> None:
        """The call has ended: what it did not answer goes with the next one, which changes nothing."""
        for picture in self._sent.values():
            heapq.heappush(self._waiting, picture)
        self._sent.clear()


def read(image: Image) -> bytes | UndecodableImage:
    """Returns a picture's encoded bytes, or why it cannot be read."""
    try:
        return read_image(image)
    except UndecodableImage as error:
        return error


def ended_for_silence(error: EyasError) -> bool:
    """Returns whether a server has ended a stream because there were no pictures for a while, which is no fault."""
    return isinstance(error, DeadlineExceeded) and error.reason == "STREAM_IDLE"
