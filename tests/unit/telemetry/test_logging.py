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
from eyasd.telemetry.tracing import Call


@pytest.fixture(autouse=True)
def configuration(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(logging, "_access_lines", None)
    monkeypatch.setattr(logging, "_calls_are_logged", True)
    yield
    structlog.reset_defaults()


def said(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    logging.logger().error("the end")  # takes all before it along
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()][:-1]


def bare() -> Call:
    return Call("id", "", None)


def full() -> Call:
    call = Call("an-id", "ab" * 16, None)
    call.model, call.version, call.images, call.failed, call.size_bytes, call.job = "clothing", 3, 5, 2, 1234, "0a1b"
    call.predicted('of "ours"')
    return call


@pytest.mark.parametrize("call", [bare(), full()])
@pytest.mark.parametrize("bound", [{}, {"acceptor": 1}])
def test_a_call_reads_as_if_structlog_had_written_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, bound: dict[str, object], call: Call
) -> None:
    logging.configure("INFO", LogFormat.JSON)
    log = logging.logger().bind(**bound)
    for error in (None, 'of "ours"\n\u2028'):
        straight = logging.access(log)
        with monkeypatch.context() as without:
            without.setattr(logging, "_access_lines", None)
            through_structlog = logging.access(log)
        for write in (straight, through_structlog):
            write("A/B", "OK", 0.0123, "ipv4:127.0.0.1:1", error, call)
    lines = said(capsys)
    assert all(line.pop("timestamp") for line in lines)
    assert len(lines) == 4
    assert (lines[0], lines[2]) == (lines[1], lines[3])
    known = ["trace_id", "model", "version", "images", "failed", "job", "predictions"] if call.job else []
    fields = ["method", "code", "ms", "peer", "error", "request_id", "bytes", *known]
    assert list(lines[0]) == [*bound, *fields, "event", "level"]


def test_a_line_names_a_few_answers_however_many_there_were() -> None:
    call = bare()
    for number in range(100):
        call.predicted(str(number))
    assert call.predictions == tuple(str(number) for number in range(8))


@pytest.mark.parametrize("log_format", [LogFormat.JSON, LogFormat.CONSOLE])
def test_a_traceback_tells_no_values(capsys: pytest.CaptureFixture[str], log_format: LogFormat) -> None:
    logging.configure("INFO", log_format)
    picture, token = b"\xff\xd8 a picture", "hunter2-hunter2"
    try:
        raise ValueError(f"no luck with s3://bucket/file.jpg?X-Amz-Signature={token} and https://me:{token}@host/")
    except ValueError:
        logging.logger().exception(
            "unexpected", place=f"https://me:{token}@host/x?sig={token}", tried=[{"authorization": f"Bearer {token}"}]
        )
    text = capsys.readouterr().err
    assert "no luck with" in text
    assert "test_a_traceback_tells_no_values" in text
    assert token not in text
    assert str(picture)[2:-1] not in text


@pytest.mark.parametrize(("level", "log_format"), [("WARNING", LogFormat.JSON), ("INFO", LogFormat.CONSOLE)])
def test_calls_follow_the_level_and_the_format(capsys: pytest.CaptureFixture[str], level: str, log_format: LogFormat) -> None:
    logging.configure(level, log_format)
    logging.access(logging.logger())("A/B", "OK", 0.0123, "ipv4:127.0.0.1:1", None, bare())
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
