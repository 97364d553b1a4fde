"""The load: calls of one method with given requests, a fixed number at a time or by a timetable, from one thread.

A program too, `python -m serving.load TASK`: TASK is JSON with `address`, `path`, `requests` (a file of them, see `pack`),
`timeout_ms`, `seconds`, `warm` (seconds before) and either `concurrency` or `rate`, calls a second at random times (a Poisson
process), and its `seed`; `connections` if they are not to be as many as the calls need; `pid` is the server's. Prints JSON, see
`services.Measured`. Needs the standard library alone.
"""

from __future__ import annotations

import json
import os
import random
import select
import struct
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from serving.wire import DEADLINE_EXCEEDED, UNAVAILABLE, Call, Connection

# Callers that share a connection: as many as a service has that answers a user's call from several threads.
CALLS_PER_CONNECTION = 32
# Of every so many requests the answer is told.
TOLD_EVERY = 4
_PAUSE = 0.05  # s, before a server that cannot be reached is tried again


class Load:
    """A caller of one method."""

    def __init__(self, address: str, path: str, requests: Sequence[bytes], timeout_ms: int, connections: int) -> None:
        """Connects.

        Args:
            address: HOST:PORT.
            path: of the method.
            requests: sent in turn.
            timeout_ms: deadline of each call.
            connections: that share the calls.
        """
        self._address, self._path, self._requests = address, path, requests
        self._timeout_ms = timeout_ms
        self._connections = [Connection(address, path, timeout_ms) for _ in range(connections)]
        self._count = 0
        self._calls: deque[tuple[float, Connection, int]] = deque()  # all that run, in the order of their deadlines
        self.on_begin: Callable[[], object] = lambda: None  # called when the time that counts begins
        self.lag_seconds = 0.0  # longest time by which a call of the timetable started late

    def closed(self, concurrency: int, warm: float, seconds: float) -> list[Call]:
        """Keeps `concurrency` calls going; returns those that end within `seconds`, once it has gone on for a while.

        A while is `warm` seconds and half as many calls again as there are at a time, so that those of the first rush are over.
        """
        begin, end = time.perf_counter() + warm, 0.0
        ended = running = 0
        done: list[Call] = []
        while not end or time.perf_counter() < end:
            now = time.perf_counter()
            came = [call for _ in range(concurrency - running) for call in self._start(now)]
            came += self._wait((end or begin) - now if end or now < begin else 1.0)
            running = concurrency - len(came)
            ended += len(came)
            if end:
                done += came
            elif time.perf_counter() >= begin and ended >= 1.5 * concurrency:
                self.on_begin()
                end = time.perf_counter() + seconds
            if any(call.status == UNAVAILABLE for call in came):
                time.sleep(_PAUSE)
        return done

    def drain(self) -> None:
        """Waits until no call is left."""
        while self._calls:
            self._wait(1.0)

    def open(self, rate: float, seconds: float, seed: int, between: Callable[[], object] = lambda: None) -> list[Call]:
        """Starts calls at random times, `rate` a second, whatever becomes of them; returns all, after the last has ended."""
        random_ = random.Random(seed)  # noqa: S311 - arrivals
        start = time.perf_counter()
        due = start + random_.expovariate(rate)
        done: list[Call] = []
        while due < start + seconds or self._calls:
            now = time.perf_counter()
            while due <= now and due < start + seconds:
                self.lag_seconds = max(self.lag_seconds, time.perf_counter() - due)
                done += self._start(due)
                due += random_.expovariate(rate)
            between()
            done += self._wait((due if due < start + seconds else now + 1) - time.perf_counter())
        return done

    def _start(self, due: float) -> list[Call]:
        """Starts a call; returns it where no server could be reached."""
        call = Call(due, self._count % len(self._requests))
        self._count += 1
        connection = max(self._connections, key=lambda c: c.room, default=None)
        if connection is None or not connection.room:
            try:
                connection = Connection(self._address, self._path, self._timeout_ms)
            except OSError:
                call.status, call.seconds = UNAVAILABLE, time.perf_counter() - due
                return [call]
            self._connections.append(connection)
        connection.start(call, self._requests[call.number])
        self._calls.append((due, connection, max(connection.calls)))
        return []

    def _wait(self, seconds: float) -> list[Call]:
        """Returns the calls that have ended, at the latest after `seconds`."""
        timeout = self._timeout_ms / 1000
        while self._calls and self._calls[0][2] not in self._calls[0][1].calls:
            self._calls.popleft()
        if self._calls:
            seconds = min(seconds, self._calls[0][0] + timeout - time.perf_counter())
        senders = [connection for connection in self._connections if connection.wants_to_send]
        readable, writable, _ = select.select(self._connections, senders, [], max(0.0, seconds))
        for connection in writable:
            connection.flush()
        done = [call for connection in readable for call in connection.receive()]
        now = time.perf_counter()
        while self._calls and self._calls[0][0] + timeout <= now:
            _, connection, stream = self._calls.popleft()
            if (call := connection.calls.get(stream)) is not None:
                connection.abandon(stream)
                call.status, call.seconds = DEADLINE_EXCEEDED, now - call.start
                done.append(call)
        for connection in [c for c in self._connections if c.closing and not c.calls]:
            connection.close()
            self._connections.remove(connection)
        return done


def pack(requests: Sequence[bytes]) -> bytes:
    """Returns the content of a file of requests."""
    return b"".join(struct.pack("<I", len(request)) + request for request in requests)


def unpack(content: bytes) -> list[bytes]:
    """Returns the requests of a file."""
    requests, at = [], 0
    while at < len(content):
        (size,) = struct.unpack_from("<I", content, at)
        requests.append(content[at + 4 : at + 4 + size])
        at += 4 + size
    return requests


def tree(pid: int) -> list[int]:
    """Returns a process and all that come from it."""
    try:
        children = [int(c) for task in Path(f"/proc/{pid}/task").iterdir() for c in (task / "children").read_text().split()]
    except OSError:  # it has ended
        return []
    return [pid, *(descendant for child in children for descendant in tree(child))]


def processor_seconds(pid: int) -> float:
    """Returns what a process and its descendants have taken of the processor."""
    ticks = 0
    for process in tree(pid):
        try:
            fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        ticks += int(fields[11]) + int(fields[12])  # utime, stime
    return ticks / os.sysconf("SC_CLK_TCK")


def main() -> None:
    task: dict[str, Any] = json.loads(sys.argv[1])
    requests = unpack(Path(task["requests"]).read_bytes())
    concurrency = task.get("concurrency")
    connections = task.get("connections") or -(-(concurrency or 2 * CALLS_PER_CONNECTION) // CALLS_PER_CONNECTION)
    load = Load(task["address"], task["path"], requests, task["timeout_ms"], connections)
    before: list[float] = []
    load.on_begin = lambda: before.extend((processor_seconds(task["pid"]), time.process_time(), time.perf_counter()))
    if concurrency:
        calls = load.closed(concurrency, task["warm"], task["seconds"])
    else:
        load.closed(CALLS_PER_CONNECTION, task["warm"], 0.0)
        load.drain()
        before.clear()
        load.on_begin()
        calls = load.open(task["rate"], task["seconds"], task["seed"])
    theirs, ours, start = before
    took = time.perf_counter() - start
    answers = {call.number: call.answer.hex() for call in calls if call.number % TOLD_EVERY == 0 and not call.status}
    result = {
        "began": time.time() - took,
        "seconds": task["seconds"],
        "server_cpu": (processor_seconds(task["pid"]) - theirs) / took,
        "load_cpu": (time.process_time() - ours) / took,
        "lag_ms": 1000 * load.lag_seconds,
        "answers": answers,
        # start, seconds, status, RetryInfo
        "calls": [(round(c.start - start, 5), round(c.seconds, 6), c.status, int(c.retry_info)) for c in calls],
    }
    json.dump(result, sys.stdout)


if __name__ == "__main__":
    main()
