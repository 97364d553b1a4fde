"""Sends a training program's lines to its trainer, each until it is known there, and hears whether the program is to end.

A trainer that is away is asked again for as long as the program runs: the lines wait in their file, however many they are.
"""

from __future__ import annotations

import sys
import threading
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import grpc

from eyas.v1 import job_service_pb2, job_service_pb2_grpc
from eyasd.core import document
from eyasd.core.jobdir import ProgressLine, Unreported
from eyasd.pod.patience import Pauses

_LOOK_SECONDS: Final = 1.0
_LONGEST_PAUSE_SECONDS: Final = 5.0
_CALL_SECONDS: Final = 10.0
_MOST_LINES: Final = 1000  # of one request, see the contract
_MOST_BYTES: Final = 1 << 20
_POD_BITS: Final = 32  # of a line's number; those above are the pod's
_OVER: Final = (grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.NOT_FOUND, grpc.StatusCode.UNAUTHENTICATED)


class Reporter:
    """Reports in a thread of its own.

    Attributes:
        over: whether the trainer takes no more of this attempt, for good.
    """

    def __init__(
        self,
        channel: grpc.Channel,
        token: str,
        lines: Path,
        stop: Callable[[], None],
        *,
        number: int,
        pauses: Pauses | None = None,
    ) -> None:
        """Sends nothing yet.

        Args:
            channel: to the trainer.
            token: of the attempt.
            lines: progress.jsonl, which may not be there yet.
            stop: called, perhaps more than once, when the program is to end.
            number: of this pod within the attempt, from 1.
            pauses: while the trainer is away.
        """
        self._stub = job_service_pb2_grpc.JobServiceStub(channel)  # type: ignore[no-untyped-call]
        self._metadata = (("authorization", f"Bearer {token}"),)
        self._path, self._stop = lines, stop
        self._pauses = pauses or Pauses(_LOOK_SECONDS, _LONGEST_PAUSE_SECONDS)
        # Above those of all earlier pods: what one had on its way when it was killed is not taken once this one has spoken.
        self._base = (number - 1) << _POD_BITS
        self._known = 0  # of this pod's lines, how many the trainer has
        self._position = 0  # in the file, of what has been read
        self._own = deque[str]()
        self._unknown: list[str] = []  # what was read and the trainer is not known to have; the rest waits in the file
        self._whole = False  # whether nothing waits there
        self.over = False
        self._away = False
        self._call: Any = None
        self._ended, self._asked, self._given_up = threading.Event(), threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="report", daemon=True)

    def start(self) -> None:
        """Reports until all is known after `finish`, or until `close`."""
        self._thread.start()

    def say(self, message: str) -> None:
        """Adds a sentence to what the program says."""
        self._own.append(document.dump(ProgressLine(datetime.now(UTC), message=message)))

    def finish(self, patience_seconds: float) -> None:
        """Has what is left sent, as the program has ended; returns when the trainer has been asked once more, or after a while."""
        self._ended.set()
        self._asked.wait(patience_seconds)

    def close(self, patience_seconds: float) -> bool:
        """Waits until the trainer knows all, or for as long as said; returns whether it does."""
        self._ended.set()
        self._thread.join(max(0.0, patience_seconds))
        self._given_up.set()
        if self._call is not None:
            self._call.cancel()
        self._thread.join()
        return self._whole and not self._unknown

    def left(self) -> Unreported:
        """Returns, once it was closed, what the trainer does not know; it may know some of it, whose answer was lost."""
        first, lines = self._base + self._known + 1, list(self._unknown)
        while not self._whole:
            self._unknown = []
            self._read()
            lines += self._unknown
        return Unreported(first, tuple(lines))

    def _run(self) -> None:
        while not self._given_up.is_set():
            ended = self._ended.is_set()  # from here on nothing is added to the file
            answered = self._look()
            if ended:
                self._asked.set()
            if self.over:
                break
            if answered and (self._unknown or not self._whole):
                continue
            if answered and ended:
                break
            if answered:
                self._pauses.reset()
            (self._given_up if ended else self._ended).wait(_LOOK_SECONDS if answered else self._pauses.next())
        self._asked.set()

    def _look(self) -> bool:
        """Sends some of what there is; returns whether there was an answer."""
        try:
            self._read()
        except OSError as error:
            sys.stderr.write(f"{self._path} cannot be read now: {error.strerror}.\n")
        request = job_service_pb2.ReportProgressRequest(first=self._base + self._known + 1, lines=self._unknown)
        try:
            self._call = self._stub.ReportProgress(iter([request]), metadata=self._metadata, timeout=_CALL_SECONDS)
            answers = list(self._call)
        except grpc.RpcError as error:
            self._hear(error)
            return False
        if not answers:
            return False
        if self._away:
            self._away = False
            sys.stderr.write("The trainer answers again.\n")
        known = max(0, answers[0].stored - self._base) - self._known
        self._unknown, self._known = self._unknown[known:], self._known + known
        if answers[0].stop:
            self._stop()
        return True

    def _hear(self, error: grpc.RpcError) -> None:
        """Takes a refusal for what it is: for now, or for good."""
        if error.code() in _OVER:
            sys.stderr.write(f"The trainer takes no more of this attempt, so it ends: {error.details()}\n")
            self.over = True
            self._stop()
        elif not self._away and not self._given_up.is_set():
            self._away = True
            sys.stderr.write(f"The trainer does not answer, and is asked again: {error.details()}\n")

    def _read(self) -> None:
        """Reads what there is, as far as a request has room for it."""
        size = sum(map(len, self._unknown))
        while self._own and len(self._unknown) < _MOST_LINES:
            self._unknown.append(self._own.popleft())
        self._whole = not self._own
        try:
            with self._path.open("rb") as file:
                file.seek(self._position)
                for line in file:
                    if not line.endswith(b"\n"):
                        break
                    if len(self._unknown) >= _MOST_LINES or size > _MOST_BYTES:
                        self._whole = False
                        break
                    self._position += len(line)
                    size += len(line)
                    self._unknown.append(line[:-1].decode(errors="replace"))
        except FileNotFoundError:
            return
