"""What an engine does: one loop, single-threaded, that hears what was asked, cuts a batch, runs it and answers.

While a batch runs, the next one gathers in the sockets, so an idle engine answers at once and a busy one fills its batches by
itself. The loop ends when the daemon closes the control socket, or is gone.
"""

from __future__ import annotations

import os
import selectors
import socket
import time
import traceback
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from eyasd.core import document
from eyasd.core.errors import EyasError
from eyasd.core.heap import trim
from eyasd.serving.engine import wire
from eyasd.serving.engine.bounds import check_room, room_bytes, within_free_memory
from eyasd.serving.engine.opening import Ready, Task, memory_bytes, open_version
from eyasd.serving.engine.slots import Arena, Shape
from eyasd.serving.engine.watch import Run, Watch
from eyasd.serving.engine.wire import NO_BATCH, Batch, Kind, Outcome
from eyasd.serving.network.memory import is_out_of_memory, run_in_parts
from eyasd.serving.network.precision import Chosen
from eyasd.serving.network.providers import CPU
from eyasd.serving.network.session import Outputs
from eyasd.serving.queue.batcher import Batcher, Options
from eyasd.serving.queue.turns import Work

_READ_BYTES: Final = 64 * 1024
_MOST_NUMBER: Final = 0xFFFF_FFFF  # that `wire.ANSWER` has room for


def serve(control: socket.socket, foreign_bytes: int = 0, watch: Watch | None = None) -> None:
    """Opens the version that the first message names, and answers until the other end is closed.

    Args:
        control: to whoever started the engine.
        foreign_bytes: memory of this process that is not the engine's.
        watch: is told of each batch; there is one where the process is the engine's own.
    """
    told = wire.receive(control)
    if told is None:
        return
    task = document.load(Task, told[0]["task"])
    log = ControlLog(control)
    start = time.monotonic()
    try:
        chosen = _open(task, dict(zip(task.files, map(wire.content, told[1]), strict=True)), log, alone=watch is not None)
    except Exception as error:  # noqa: BLE001 - whatever it was, the daemon says it of this version
        _tell(control, {"failed": _why(error, log)})
        return
    trim()
    ready = Ready(
        precision=chosen.precision,
        speed=chosen.speed,
        memory_bytes=memory_bytes() - foreign_bytes,
        seconds=time.monotonic() - start,
    )
    _tell(control, {"ready": document.dump(ready)})
    batcher = Batcher(Options(task.max_batch_size, task.max_delay_seconds, pads=task.provider != CPU))
    Loop(control, watch.over(chosen.session.run) if watch else chosen.session.run, batcher, log).run()


def _why(error: Exception, log: ControlLog) -> str:
    """Returns why a version could not be opened, a sentence for a person."""
    cause = error.__cause__
    if is_out_of_memory(error) or (isinstance(cause, Exception) and is_out_of_memory(cause)):
        log.warning("a version did not fit the device's memory", error=str(error))
        return "The device has too little memory left to open it: free some, or serve fewer versions."
    return error.message if isinstance(error, EyasError) else f"Loading ended with {error!r}."


def _open(task: Task, files: Mapping[str, bytes], log: ControlLog, *, alone: bool) -> Chosen:
    """Returns the network to answer with, see `open_version`; `alone` is in a process that has nothing else."""
    file_bytes = sum(map(len, files.values()))
    if alone and task.provider == CPU:
        with within_free_memory(file_bytes):
            return open_version(task, files, log)
    # A GPU's driver reserves far more than it uses, and a thread's memory is the daemon's.
    check_room(file_bytes)
    return open_version(replace(task, arena_bytes=room_bytes(file_bytes) if task.provider == CPU else 0), files, log)


def _tell(control: socket.socket, message: Mapping[str, object]) -> None:
    """Says something to who started the engine; where nobody is left to hear it, the next thing heard is that."""
    with suppress(ConnectionError):
        wire.send(control, message)


class ControlLog:
    """Lines for the daemon's log, by way of the control socket."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control

    def info(self, event: str, **fields: object) -> None:
        """Says what is good to know."""
        _tell(self._control, {"log": "info", "event": event, "fields": fields})

    def warning(self, event: str, **fields: object) -> None:
        """Says what somebody should look at."""
        _tell(self._control, {"log": "warning", "event": event, "fields": fields})

    def error(self, event: str, **fields: object) -> None:
        """Says what failed."""
        _tell(self._control, {"log": "error", "event": event, "fields": fields})


class Link:
    """An acceptor: its socket, its slots, and what waits in them."""

    def __init__(self, data: socket.socket, arena: Arena) -> None:
        data.setblocking(False)
        self.socket = data
        self.arena = arena
        self.waiting: dict[int, Work] = {}
        self._unread = b""
        self._unsent = bytearray()

    def hear(self) -> list[tuple[int, int, bool, int, int, float, float]] | None:
        """Returns the records that have arrived, see `wire.ASK`; None where the acceptor is gone."""
        try:
            received = self.socket.recv(_READ_BYTES)
        except BlockingIOError:
            return []
        except ConnectionError:
            return None
        if not received:
            return None
        self._unread += received
        whole = len(self._unread) // wire.ASK.size * wire.ASK.size
        records = list(wire.ASK.iter_unpack(self._unread[:whole]))
        self._unread = self._unread[whole:]
        return records

    def say(
        self,
        slot: int,
        outcome: Outcome,
        batch: Batch,
        *,
        first: bool = False,
        queue_seconds: float = 0.0,
        run_seconds: float = 0.0,
    ) -> None:
        """Gives a slot back, whose picture may have been the first of its batch; `flush` sends it."""
        size = batch.images if first else 0
        self._unsent += wire.ANSWER.pack(outcome, batch.images, size, slot, queue_seconds, run_seconds, batch.engine, batch.number)

    def flush(self) -> bool:
        """Sends what was said, and returns whether all of it is on its way."""
        if self._unsent:
            try:
                del self._unsent[: self.socket.send(self._unsent)]
            except BlockingIOError:
                return False
            except ConnectionError:  # it is gone, which `hear` will find
                self._unsent.clear()
        return not self._unsent

    def close(self) -> None:
        """Leaves the acceptor."""
        self.socket.close()
        self.arena.close()


class Loop:
    """Answers the acceptors' pictures with one network."""

    def __init__(self, control: socket.socket, run: Run, batcher: Batcher, log: ControlLog) -> None:
        """Prepares the loop.

        Args:
            control: from which acceptors come.
            run: the network, see `Session.run`.
            batcher: decides what runs next.
            log: hears of batches that failed.
        """
        self._control = control
        self._run_network = run
        self._batcher = batcher
        self._log = log
        self._links: set[Link] = set()
        self._process, self._batches = os.getpid(), 0
        self._selector = selectors.DefaultSelector()
        self._selector.register(control, selectors.EVENT_READ)

    def run(self) -> None:
        """Answers until the control socket is closed.

        Raises:
            Exception: the device failed and runs nothing any more, as after most errors of CUDA, which stay with a process.
        """
        try:
            self._run()
        finally:  # with what was running noted in the slots, so that acceptors know what to ask another engine for
            for link in list(self._links):
                self._drop(link)
            self._selector.close()

    def _run(self) -> None:
        timeout: float | None = None
        while self._attend(timeout):
            now = time.monotonic()
            cut = self._batcher.cut(now)
            for work in cut.expired:
                self._say(work, Outcome.LATE)
            if cut.batch:
                self._answer(cut.batch, now)
            timeout = 0.0 if cut.batch else cut.wait_seconds
            for link in self._links:
                wanted = selectors.EVENT_READ if link.flush() else selectors.EVENT_READ | selectors.EVENT_WRITE
                if self._selector.get_key(link.socket).events != wanted:
                    self._selector.modify(link.socket, wanted, link)

    def _attend(self, timeout: float | None) -> bool:
        """Takes in what has arrived within the time; returns whether to go on."""
        for key, events in self._selector.select(timeout):
            if key.data is None:
                told = wire.receive(self._control)
                if told is None:
                    return False
                self._attach(document.load(Shape, told[0]["attach"]), *told[1])
            elif events & selectors.EVENT_READ:
                records = key.data.hear()
                if records is None:
                    self._drop(key.data)
                else:
                    self._take(key.data, records)
        return True

    def _attach(self, shape: Shape, data: int, memory: int) -> None:
        link = Link(socket.socket(fileno=data), Arena(shape, memory))
        self._links.add(link)
        self._selector.register(link.socket, selectors.EVENT_READ, link)

    def _drop(self, link: Link) -> None:
        for work in link.waiting.values():
            self._batcher.cancel(work)
        self._links.remove(link)
        self._selector.unregister(link.socket)
        link.close()

    def _take(self, link: Link, records: Sequence[tuple[int, int, bool, int, int, float, float]]) -> None:
        for kind, priority, explain, slot, caller, arrival, deadline in records:
            if kind == Kind.ASK:
                work = link.waiting[slot] = Work((link, slot), arrival, deadline, priority, caller, explain)
                self._batcher.put(work)
            elif slot in link.waiting:  # else it was answered while the record was on its way
                self._batcher.cancel(link.waiting[slot])
                self._say(link.waiting[slot], Outcome.CANCELLED)

    def _say(self, work: Work, outcome: Outcome, batch: Batch = NO_BATCH, **told: Any) -> None:
        """Gives a picture's slot back, see `Link.say`."""
        link, slot = work.key
        del link.waiting[slot]
        link.say(slot, outcome, batch, **told)

    def _answer(self, batch: Sequence[Work], start: float) -> None:
        """Runs a batch, and writes each picture's answer into its slot."""
        _mark(batch, running=True)
        try:
            parts = run_in_parts(self._timed, _stack(batch), any(work.explain for work in batch), self._lower)
        except Exception:  # whatever the device raises belongs to the callers of this batch, not to the loop
            self._log.error("a batch failed", images=len(batch), error=traceback.format_exc())
            if not self._runs_still(_stack(batch[:1])):
                raise
            _mark(batch, running=False)
            for work in batch:
                self._say(work, Outcome.FAILED)
            return
        _mark(batch, running=False)
        seconds = time.monotonic() - start
        for part in parts:
            works = batch[part.first : part.first + part.count]
            self._batches += 1
            one = Batch(len(works), self._process, self._batches & _MOST_NUMBER)
            for row, work in enumerate(works):
                if isinstance(part.outcome, Outputs):
                    _write(work, part.outcome, row)
                    waited = start - work.arrival
                    self._say(work, Outcome.DONE, one, first=row == 0, queue_seconds=waited, run_seconds=seconds)
                else:
                    self._say(work, Outcome.NO_MEMORY)

    def _runs_still(self, image: NDArray[np.uint8]) -> bool:
        """Returns whether the device runs anything any more: one black picture of that shape, uint8 [1, H, W, 3]."""
        try:
            self._run_network(np.zeros_like(image), False)
        except Exception as error:  # noqa: BLE001 - whatever the device raises
            return is_out_of_memory(error)
        return True

    def _timed(self, images: NDArray[np.uint8], maps: bool) -> Outputs:
        start = time.monotonic()
        outputs = self._run_network(images, maps)
        self._batcher.ran(len(images), time.monotonic() - start)
        return outputs

    def _lower(self, size: int) -> int:
        most = self._batcher.lower(size)
        self._log.warning("a batch did not fit the device's memory", images=size, most_from_now_on=most)
        _tell(self._control, {"lowered": most})
        return most


def _mark(batch: Sequence[Work], *, running: bool) -> None:
    """Notes in the slots, which outlive the process, with which pictures it would end."""
    for link, slot in (work.key for work in batch):
        link.arena.running[slot] = running


def _write(work: Work, outputs: Outputs, row: int) -> None:
    """Writes an answer into its slot."""
    link, slot = work.key
    link.arena.probabilities[slot] = outputs.probabilities[row]
    link.arena.ood_scores[slot] = np.nan if outputs.ood_scores is None else outputs.ood_scores[row]
    if work.explain and outputs.feature_maps is not None:
        link.arena.feature_maps[slot] = outputs.feature_maps[row]


def _stack(batch: Sequence[Work]) -> NDArray[np.uint8]:
    """Returns the batch's pictures, uint8 [N, H, W, 3]; where it is a single one, without a copy."""
    views = [link.arena.pixels[slot : slot + 1] for link, slot in (work.key for work in batch)]
    return views[0] if len(views) == 1 else np.concatenate(views)
