"""How the synchronous client carries out a stream: gRPC's thread takes pictures and sends them, the caller's takes the answers."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator

from google.protobuf.message import Message

from eyas._errors import EyasError
from eyas._images import Image
from eyas._stream import Picture, Pictures, Result, read
from eyas._types import Classification


class Streaming:
    """The pictures of a stream, and who waits for what."""

    def __init__(self, pictures: Pictures, images: Iterable[Image]) -> None:
        self._pictures = pictures
        self._images = iter(images)
        self._changed = threading.Condition()
        self._taking = threading.Lock()  # an iterator serves one thread at a time, and that of a call before may wait for it still
        self._call = 0
        self._failure: Exception | None = None

    def requests(self, first: Message) -> Iterator[Message]:
        """Yields what is sent in one call, until that has ended or everything is answered."""
        call = self._call
        yield first
        while (picture := self._next(call)) is not None:
            yield picture.request()

    def answer(self, identity: str, result: Classification | EyasError) -> Iterator[Result]:
        """Takes an answer, and yields those that may be given out now."""
        with self._changed:
            self._pictures.answer(identity, result)
            self._changed.notify_all()
        yield from self.results()

    def results(self) -> Iterator[Result]:
        """Yields the answers that may be given out now."""
        while True:
            with self._changed:
                result = next(self._pictures.results(), None)
                self._changed.notify_all()
            if result is None:
                return
            yield result

    def end_call(self) -> None:
        """A call has ended: nothing more is sent in it, and what it did not answer goes with the next."""
        with self._changed:
            self._call += 1
            self._pictures.send_again()
            self._changed.notify_all()

    def raise_failure(self) -> None:
        """Raises what the caller's own iterator raised, if it did."""
        if self._failure is not None:
            raise self._failure

    def _next(self, call: int) -> Picture | None:
        while True:
            with self._changed:
                while True:
                    if call != self._call or self._pictures.all_answered():
                        return None
                    pause = self._pictures.pause()
                    if pause <= 0:
                        if (picture := self._pictures.next()) is not None:
                            return picture
                        if self._pictures.has_room:
                            break
                    self._changed.wait(pause if pause > 0 else None)
            self._take(call)

    def _take(self, call: int) -> None:
        with self._taking:
            if call != self._call or not self._pictures.has_room:
                return
            try:
                image = next(self._images)
                content = read(image)
            except StopIteration:
                self._pictures.exhausted = True
            except Exception as error:  # noqa: BLE001 - it is the caller's own, and raised where he iterates
                self._failure, self._pictures.exhausted = error, True
            else:
                with self._changed:
                    self._pictures.add(image, content)
            with self._changed:
                self._changed.notify_all()
