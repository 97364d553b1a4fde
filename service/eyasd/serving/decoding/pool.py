"""Decoders that are processes, locked up: one that crashes, hangs or is taken over costs the picture that it has, and no other.

A thread keeps each of them: it starts one, waits until it ends, says so, and starts the next, at once where this one had answered,
and ever later where one after another ends at its first picture. There is one more than is asked for, so that nobody waits for a
start. A picture that a decoder ended with is not given to another.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from functools import lru_cache
from typing import Final

import numpy as np
import structlog
from numpy.typing import NDArray

from eyasd.core import document
from eyasd.core.errors import DeadlineExceeded, ImageTooLarge, StartupFailed, Unavailable, UndecodableImage
from eyasd.core.preprocess import Preprocess, check_bytes
from eyasd.serving.capture.preparing import NotKept
from eyasd.serving.decoding.records import MOST_RESULT_BYTES, Came, Do, Refusal
from eyasd.serving.decoding.worker import PROGRAM, NeverAsked, NotStarted, Reply, Worker

_PAUSES: Final = (0.0, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
# For what nobody waits for: a decoder is free by then, or there is something else to see to.
_PATIENCE_SECONDS: Final = 30.0
_END_SECONDS: Final = 10.0
# A decoder that was taken over might say that it had never begun with the picture that did it.
_MOST_NEVER_ASKED: Final = 3


class Pool:
    """Decodes in processes; see `Decoding`."""

    def __init__(
        self,
        processes: int,
        *,
        limit_seconds: float,
        on_end: Callable[[str], None],
        log: structlog.typing.FilteringBoundLogger,
        program: Sequence[str] = PROGRAM,
    ) -> None:
        """Starts them, and waits until all are locked up.

        Args:
            processes: how many decode at once.
            limit_seconds: how long one picture may take.
            on_end: told why one ended, see `Worker.wait`.
            log: hears how.
            program: their command line.

        Raises:
            StartupFailed: they cannot be, or not so.
        """
        self._limit = limit_seconds
        self._on_end = on_end
        self._log = log
        self._program = program
        self._closing = threading.Event()
        self._free = threading.Condition()
        self._idle: list[Worker] = []  # the last one that was free is asked first, as its memory is warm
        self._workers: set[Worker] = set()
        firsts: list[Future[bool]] = [Future() for _ in range(processes + 1)]
        self._keepers = [
            threading.Thread(target=self._keep, args=(first,), daemon=True, name="decoder's keeper") for first in firsts
        ]
        for keeper in self._keepers:
            keeper.start()
        try:
            own_networks = [first.result() for first in firsts]
        except (NotStarted, OSError) as error:
            self.close()
            raise StartupFailed(
                f"serving.decode_processes = {processes}, but no decoder can be locked up here: {error}. See to that, or set it to "
                "0, which decodes in the server's own process."
            ) from error
        self.has_network = all(own_networks)

    def tiny_size(self, encoded: bytes) -> None:  # noqa: ARG002 - the seam's
        """See `Decoding`: none is, as already its header is for a decoder to read."""
        return

    def load(
        self, encoded: bytes, spec: Preprocess, out: NDArray[np.uint8], deadline: float, size: tuple[int, int] | None = None
    ) -> None:
        """See `Decoding`; no size is known."""
        del size
        with self._asked(Do.LOAD, encoded, deadline, _written(spec)) as (worker, _):
            out[:] = worker.result(out.size).reshape(out.shape)

    def shorter_side(self, encoded: bytes) -> int | None:
        """See `Decoding`."""
        with self._asked(Do.SHORTER_SIDE, encoded, time.monotonic() + _PATIENCE_SECONDS) as (_, reply):
            side = reply.number
        return side or None

    def bare(self, encoded: bytes) -> tuple[bytes, str]:
        """See `Decoding`."""
        with self._asked(Do.BARE, encoded, time.monotonic() + _PATIENCE_SECONDS) as (worker, reply):
            if not 0 < reply.number <= MOST_RESULT_BYTES:
                raise worker.distrust()
            content = worker.result(reply.number).tobytes()
        return content, reply.said.decode(errors="replace")

    def close(self) -> None:
        """Ends all. Safe to call twice."""
        with self._free:
            self._closing.set()
            for worker in self._workers:
                worker.kill()
            self._free.notify_all()
        for keeper in self._keepers:
            keeper.join(_END_SECONDS)

    @contextmanager
    def _asked(self, what: Do, encoded: bytes, deadline: float, spec: bytes = b"") -> Iterator[tuple[Worker, Reply]]:
        """Has a decoder do something with a picture, and keeps it until the end of the block. Raises what it says of it."""
        check_bytes(encoded)
        for _ in range(_MOST_NEVER_ASKED):
            worker = self._take(deadline)
            with suppress(NeverAsked):
                reply = worker.ask(what, encoded, spec)
                break
        else:
            raise Unavailable("One decoder after another ended before it began with the picture: send it again.")
        try:
            _check(worker, reply)
            yield worker, reply
        finally:
            worker.shrink(len(encoded))
            with self._free:
                if worker in self._workers:
                    self._idle.append(worker)
                    self._free.notify()

    def _take(self, deadline: float) -> Worker:
        """Returns a decoder that is free; raises DeadlineExceeded, or Unavailable."""
        with self._free:
            self._free.wait_for(lambda: self._idle or self._closing.is_set(), max(0.0, deadline - time.monotonic()))
            if self._closing.is_set():
                raise Unavailable("The server is going down: ask another one.")
            if not self._idle:
                raise DeadlineExceeded("The deadline passed while the picture waited for a decoder: allow more time, or send less.")
            return self._idle.pop()

    def _keep(self, first: Future[bool]) -> None:
        """Has one decoder after another, until all are to end.

        Args:
            first: hears whether the first has a network of its own, or why there is none.
        """
        in_vain = 0
        while not self._closing.is_set():
            try:
                worker = Worker(self._program, self._limit)
            except (NotStarted, OSError) as error:
                if not first.done():
                    first.set_exception(error)
                    return
                self._log.error("a decoder cannot be started", error=str(error))
                in_vain += 1
            else:
                why = self._attend(worker, first)
                in_vain = 0 if worker.has_answered else in_vain + 1
                words = worker.close()
                if not self._closing.is_set():
                    self._on_end(why)
                    self._log.warning("a decoder ended", why=why, how=worker.how, process=worker.process, said=words)
            self._closing.wait(_PAUSES[min(in_vain, len(_PAUSES) - 1)])

    def _attend(self, worker: Worker, first: Future[bool]) -> str:
        """Returns why a decoder has ended, which is asked meanwhile."""
        with self._free:
            self._workers.add(worker)
            self._idle.insert(0, worker)
            if self._closing.is_set():
                worker.kill()
            self._free.notify()
        if not first.done():
            first.set_result(worker.has_network)
        why = worker.wait()
        with self._free:
            self._workers.remove(worker)
            if worker in self._idle:
                self._idle.remove(worker)
        return why


def _check(worker: Worker, reply: Reply) -> None:
    """Raises what a decoder says against a picture."""
    if reply.came is Came.DONE:
        return
    if reply.came is Came.NOT_KEPT:
        raise NotKept("unreadable")
    if reply.came is Came.FAILED:
        raise RuntimeError(f"a decoder failed on a picture: {reply.said.decode(errors='replace')}")
    try:
        refusal = document.load(Refusal, reply.said)
    except ValueError:
        raise worker.distrust() from None
    kind = ImageTooLarge if reply.came is Came.TOO_LARGE else UndecodableImage
    metadata = {"width_px": refusal.width_px, "height_px": refusal.height_px}
    raise kind(refusal.message, **{key: value for key, value in metadata.items() if value is not None})


@lru_cache(maxsize=64)
def _written(spec: Preprocess) -> bytes:
    return document.dump(spec).encode()
