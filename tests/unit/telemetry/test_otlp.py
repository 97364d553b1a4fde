"""telemetry.otlp: what waits is bounded, what is lost is counted, and nobody who puts a span waits for anybody."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import pytest
import structlog
from structlog.testing import LogCapture

from eyasd.telemetry.context import Context
from eyasd.telemetry.otlp import MOST_WAITING, Exporter
from eyasd.telemetry.tracing import Span


def spans(count: int) -> list[Span]:
    return [Span("one", Context("a" * 32, f"{number:016x}", sampled=True), "", 0, 1) for number in range(count)]


@dataclass
class Line:
    """The way to a collector, which a test opens and closes."""

    sent: list[Span] = field(default_factory=list)
    arrives: bool | Exception = True
    dropped: int = 0
    under_way: threading.Event = field(default_factory=threading.Event)
    open: threading.Event = field(default_factory=threading.Event)

    def send(self, batch: Sequence[Span]) -> bool:
        self.under_way.set()
        self.open.wait(100)
        if isinstance(self.arrives, Exception):
            raise self.arrives
        if self.arrives:
            self.sent += batch
        return self.arrives

    def drop(self, count: int) -> None:
        self.dropped += count


@pytest.fixture
def line() -> Iterator[Line]:
    made = Line()
    made.open.set()
    yield made
    made.open.set()


@pytest.fixture
def lines() -> LogCapture:
    return LogCapture()


@pytest.fixture
def exporter(line: Line, lines: LogCapture) -> Iterator[Exporter]:
    log = structlog.wrap_logger(structlog.PrintLogger(), processors=[lines])
    made = Exporter(line.send, line.open.set, line.drop, log)
    yield made
    made.close(100)


def test_what_waits_is_sent_before_the_end(line: Line, exporter: Exporter) -> None:
    put = spans(1500)
    for one in put:
        exporter.put([one])
    exporter.close(100)
    assert line.sent == put
    assert line.dropped == 0
    exporter.put(spans(2))  # too late
    assert line.dropped == 2


def test_a_collector_that_hangs_costs_what_it_may_and_no_more(line: Line, exporter: Exporter) -> None:
    line.open.clear()
    line.arrives = False
    exporter.put(spans(512))
    assert line.under_way.wait(100)
    for _ in range(100):
        exporter.put(spans(128))
    assert line.dropped == 100 * 128 - MOST_WAITING
    exporter.close(0.01)
    assert line.open.is_set()  # it was cut off
    exporter._thread.join(100)
    assert line.sent == []
    assert line.dropped == 512 + 100 * 128


@pytest.mark.parametrize("failure", [False, OSError("no route to the host")])
def test_losses_are_told_once_and_so_is_their_end(
    line: Line, exporter: Exporter, lines: LogCapture, failure: bool | Exception
) -> None:
    line.arrives = failure
    for arrives in (failure, failure, True, True):
        line.arrives = arrives
        exporter._hand_over(spans(3))
    assert [entry["event"] for entry in lines.entries] == ["traces are dropped", "traces arrive again"]
    assert (line.dropped, len(line.sent)) == (6, 6)
