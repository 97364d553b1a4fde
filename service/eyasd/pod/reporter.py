"""Sends a training program's lines to its trainer, each until it is known there, and hears whether the program is to end.

A trainer that is away is asked again for as long as the program runs: the lines wait in their file.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import grpc

from eyas.v1 import job_service_pb2, job_service_pb2_grpc

_LOOK_SECONDS: Final = 1.0
_CALL_SECONDS: Final = 10.0
_MOST_LINES: Final = 1000  # of one request, see the contract
_OVER: Final = (grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.NOT_FOUND, grpc.StatusCode.UNAUTHENTICATED)


class Reporter:
    """Reports in a thread of its own."""

    def __init__(self, channel: grpc.Channel, token: str, lines: Path, stop: Callable[[], None]) -> None:
        """Sends nothing yet.

        Args:
            channel: to the trainer.
            token: of the attempt.
            lines: progress.jsonl, which may not be there yet.
            stop: called, perhaps more than once, when the program is to end.
        """
        self._stub = job_service_pb2_grpc.JobServiceStub(channel)  # type: ignore[no-untyped-call]
        self._metadata = (("authorization", f"Bearer {token}"),)
        self._path, self._stop = lines, stop
        self._base: int | None = None  # lines of an earlier process of this attempt; None until the trainer has said
        self._position = 0
        self._unknown: list[str] = []  # lines that the trainer is not known to have
        self._known = 0  # of this process's lines, how many it has
        self.over = False
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="report", daemon=True)

    def start(self) -> None:
        """Reports until `close`."""
        self._thread.start()

    def close(self, patience_seconds: float) -> bool:
        """Sends what is left; returns whether the trainer knows all of it now."""
        self._ended.set()
        self._thread.join()
        limit = time.monotonic() + patience_seconds
        while not self.over and not self._look() and time.monotonic() < limit:
            time.sleep(_LOOK_SECONDS)
        return not self._unknown

    def _run(self) -> None:
        while not self._ended.wait(_LOOK_SECONDS) and not self.over:
            self._look()

    def _look(self) -> bool:
        """Sends what there is; returns whether nothing is left."""
        self._read()
        sent = self._unknown[:_MOST_LINES] if self._base is not None else []
        first = (self._base or 0) + self._known + 1
        request = job_service_pb2.ReportProgressRequest(first=first, lines=sent)
        try:
            (answer,) = self._stub.ReportProgress(iter([request]), metadata=self._metadata, timeout=_CALL_SECONDS)
        except grpc.RpcError as error:
            if error.code() in _OVER:
                sys.stderr.write(f"The trainer takes no more of this attempt: {error.details()}\n")
                self.over = True
                self._stop()
            return False
        if self._base is None:
            self._base = answer.stored
        else:
            known = answer.stored - self._base - self._known
            self._unknown, self._known = self._unknown[known:], self._known + known
        if answer.stop:
            self._stop()
        return not self._unknown

    def _read(self) -> None:
        try:
            with self._path.open("rb") as file:
                file.seek(self._position)
                whole, newline, _ = file.read().rpartition(b"\n")
        except FileNotFoundError:
            return
        self._position += len(whole) + len(newline)
        self._unknown += whole.decode(errors="replace").split("\n") if newline else []
