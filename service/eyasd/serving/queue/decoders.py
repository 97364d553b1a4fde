"""Threads that decode pictures, each the one whose turn it is.

A thread pool's own queue is first come, first served, and there a caller that sends a thousand pictures would be in everybody's way
however fair the network's queue is. So pictures wait by `serving.queue.turns` here, too. Knows nothing of what the threads do.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any, ParamSpec, TypeVar

from eyasd.core.threads import pool
from eyasd.serving.question import Question
from eyasd.serving.queue.pace import blend
from eyasd.serving.queue.turns import Turns, Work

P = ParamSpec("P")
T = TypeVar("T")


class Decoders:
    """A number of threads, and what waits for them."""

    def __init__(self, threads: int) -> None:
        self._pool = pool(threads, "decode")
        self._threads = threads
        self._turns = Turns()
        self._lock = threading.Lock()
        self._seconds = 0.0
        self._count = 0

    def of(self, question: Question, deadline: float) -> Executor:
        """Returns the threads for the pictures of one request.

        Args:
            question: its priority and caller say whose turn it is.
            deadline: on the clock of `time.monotonic`; what is late is run all the same.
        """
        return _Turn(self, question, deadline)

    def submit(self, work: Work) -> None:
        """Runs the call that is the work's key when it is its turn."""
        with self._lock:
            self._turns.put(work, self._seconds / self._threads)
        self._pool.submit(self._run_next)

    def close(self) -> None:
        """Ends the threads; what still waits is cancelled."""
        with self._lock:
            while work := self._turns.next(0.0, shadow=True):
                self._turns.take(work, 0.0)
                work.key.future.cancel()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _run_next(self) -> None:
        with self._lock:
            pace = self._seconds / self._threads
            work = self._turns.next(pace, shadow=True)
            if work is None:  # closed meanwhile
                return
            self._turns.take(work, pace)
            self._turns.forget(time.monotonic())
        start = time.monotonic()
        ran = work.key.run()
        del work  # as in `_Call.run`
        if ran:
            with self._lock:
                self._seconds = blend(self._seconds, time.monotonic() - start, self._count)
                self._count += 1


class _Call:
    """A call whose result somebody waits for."""

    def __init__(self, call: Callable[[], object]) -> None:
        self.future: Future[Any] = Future()
        self._call = call

    def run(self) -> bool:
        """Calls; returns whether anybody still waited."""
        if not self.future.set_running_or_notify_cancel():
            return False
        try:
            self.future.set_result(self._call())
        except BaseException as error:  # noqa: BLE001 - whatever it is belongs to who waits
            self.future.set_exception(error)
            # The error has this frame, and with it the picture. Else it would have itself, and stay until cycles are looked for.
            del self
        return True


class _Turn(Executor):
    """The decoders as one request sees them."""

    def __init__(self, decoders: Decoders, question: Question, deadline: float) -> None:
        self._decoders = decoders
        self._question = question
        self._deadline = deadline

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """See `concurrent.futures.Executor`."""
        call = _Call(lambda: fn(*args, **kwargs))
        self._decoders.submit(Work(call, time.monotonic(), self._deadline, self._question.priority, self._question.caller))
        return call.future
