"""telemetry.logging: whole lines, in order, none lost; a call's line reads as any other."""

from __future__ import annotations

import io
import json
import sys
import threading
from collections.abc import Callable, Iterator

import pytest
import structlog

from eyasd.telemetry import logging
from eyasd.telemetry.logging import LogFormat


@pytest.fixture(autouse=True)
def configuration(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(logging, "_access_lines", None)
    yield
    structlog.reset_defaults()


def said(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    logging.logger().error("the end")  # takes all before it along
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()][:-1]


@pytest.mark.parametrize("bound", [{}, {"acceptor": 1}])
def test_a_call_reads_as_if_structlog_had_written_it(capsys: pytest.CaptureFixture[str], bound: dict[str, object]) -> None:
    logging.configure("INFO", LogFormat.JSON)
    log = logging.logger().bind(**bound)
    for error in (None, 'of "ours"\n\u2028'):
        logging.access(log)("A/B", "OK", 0.0123, "ipv4:127.0.0.1:1", error)
        log.info("rpc", method="A/B", code="OK", ms=12.3, peer="ipv4:127.0.0.1:1", error=error)
    lines = said(capsys)
    assert all(line.pop("timestamp") for line in lines)
    assert len(lines) == 4
    assert (lines[0], lines[2]) == (lines[1], lines[3])
    assert list(lines[0]) == [*bound, "method", "code", "ms", "peer", "error", "event", "level"]


@pytest.mark.parametrize(("level", "log_format"), [("WARNING", LogFormat.JSON), ("INFO", LogFormat.CONSOLE)])
def test_calls_follow_the_level_and_the_format(capsys: pytest.CaptureFixture[str], level: str, log_format: LogFormat) -> None:
    logging.configure(level, log_format)
    logging.access(logging.logger())("A/B", "OK", 0.0123, "ipv4:127.0.0.1:1", None)
    logging.logger().error("the end")
    text = capsys.readouterr().err
    assert ("A/B" in text) is (log_format is LogFormat.CONSOLE)
    assert ("{" in text) is (log_format is LogFormat.JSON)


def test_no_line_is_lost_or_torn_whoever_writes(capsys: pytest.CaptureFixture[str]) -> None:
    logging.configure("INFO", LogFormat.JSON)
    log = logging.logger()

    def write(one: int) -> Callable[[], None]:
        return lambda: [log.info("line", writer=one, number=number) for number in range(500)] and None  # type: ignore[func-returns-value]

    threads = [threading.Thread(target=write(one)) for one in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(50):
        log.warning("in between")
    for thread in threads:
        thread.join()
    lines = said(capsys)
    for one in range(4):
        assert [line["number"] for line in lines if line.get("writer") == one] == list(range(500))


def test_a_stream_that_is_gone_fails_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    logging.configure("INFO", LogFormat.JSON)
    stream.close()
    logging.logger().error("nobody hears this")
