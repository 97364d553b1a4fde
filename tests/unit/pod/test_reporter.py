"""pod.reporter: each line arrives once and in its order, whatever becomes of the answers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from eyas.v1.job_service_pb2 import ReportProgressRequest, ReportProgressResponse
from eyasd.core import document
from eyasd.core.jobdir import ProgressLine
from eyasd.pod.patience import Pauses
from eyasd.pod.reporter import Reporter

AWAY = grpc.StatusCode.UNAVAILABLE


class Refused(grpc.RpcError):  # type: ignore[misc] # which has no type
    def __init__(self, code: grpc.StatusCode) -> None:
        self._code = code

    def code(self) -> grpc.StatusCode:
        return self._code

    def details(self) -> str:
        return "it says"


class Call:
    def __init__(self, answers: Iterator[ReportProgressResponse]) -> None:
        self._answers = answers

    def __iter__(self) -> Iterator[ReportProgressResponse]:
        return self._answers

    def cancel(self) -> None:
        """There is nothing to cancel: it has been answered."""


class Trainer:
    """Takes lines down as the contract has it.

    Attributes:
        lines: of the attempt.
        known: number of the last.
        fails: what befalls the next calls: a status instead of an answer, None after the lines were taken down; `lose` is that.
        stop: whether the program is to end.
    """

    def __init__(self, lines: list[str] | None = None) -> None:
        self.lines = lines or []
        self.known = len(self.lines)
        self.fails: list[grpc.StatusCode | str | None] = []
        self.requests: list[ReportProgressRequest] = []
        self.stop = False

    def stream_stream(self, path: str, *_: Any, **__: Any) -> Callable[..., Call]:
        assert path == "/eyas.v1.JobService/ReportProgress"
        return self._call

    def other(self, *_: Any, **__: Any) -> None:
        """Is not called."""

    unary_unary = unary_stream = stream_unary = other

    def _call(self, requests: Iterator[ReportProgressRequest], metadata: tuple[tuple[str, str], ...], timeout: float) -> Call:
        assert metadata == (("authorization", "Bearer its token"),)
        assert timeout > 0
        return Call(self._answers(next(requests)))

    def _answers(self, request: ReportProgressRequest) -> Iterator[ReportProgressResponse]:
        fault = self.fails.pop(0) if self.fails else None
        if isinstance(fault, grpc.StatusCode):
            raise Refused(fault)
        self.requests.append(request)
        assert len(request.lines) <= 1000
        if (last := request.first + len(request.lines) - 1) > self.known:
            self.lines += request.lines[max(0, self.known + 1 - request.first) :]
            self.known = last
        if fault == "lose":
            raise Refused(AWAY)
        yield ReportProgressResponse(stored=self.known, stop=self.stop)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "progress.jsonl"


def reported(trainer: Trainer, path: Path, *said: str, number: int = 1) -> tuple[Reporter, bool, list[str]]:
    """Reports what a program has left; returns whether all is known, and how often the program was asked to end."""
    stops: list[str] = []
    channel: Any = trainer
    reporter = Reporter(channel, "its token", path, lambda: stops.append("stop"), number=number, pauses=Pauses(0.001, 0.001))
    for message in said:
        reporter.say(message)
    reporter.start()
    reporter.finish(10)
    return reporter, reporter.close(10), stops


@pytest.mark.parametrize("fails", [[], [AWAY] * 3, [None, "lose", AWAY, "lose", "lose"], ["lose", None, AWAY]])
def test_lines_arrive_once_after_those_of_an_earlier_pod(path: Path, fails: list[grpc.StatusCode | str | None]) -> None:
    path.write_text("".join(f"{number}\n" for number in range(2500)) + "half a li")
    trainer = Trainer(["earlier"] * 7)
    trainer.fails = fails
    reporter, known, stops = reported(trainer, path, number=3)
    assert (reporter.over, known, stops) == (False, True, [])
    assert trainer.lines == ["earlier"] * 7 + [str(number) for number in range(2500)]


def test_nothing_to_say_is_said_and_heard(path: Path) -> None:
    trainer = Trainer()
    trainer.stop = True
    _, known, stops = reported(trainer, path)
    assert known
    assert stops
    assert trainer.lines == []


def test_a_sentence_of_the_pod_is_a_line(path: Path) -> None:
    path.write_text("1\n")
    trainer = Trainer()
    reported(trainer, path, "It hangs.")
    own, line = trainer.lines
    assert (document.load(ProgressLine, own).message, line) == ("It hangs.", "1")


@pytest.mark.parametrize("code", [grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.NOT_FOUND, grpc.StatusCode.UNAUTHENTICATED])
def test_one_who_is_refused_ends_the_program_and_asks_no_more(path: Path, code: grpc.StatusCode) -> None:
    path.write_text("1\n")
    trainer = Trainer()
    trainer.fails = [code]
    reporter, known, stops = reported(trainer, path)
    assert (reporter.over, known, stops) == (True, False, ["stop"])
    assert trainer.requests == []


@pytest.mark.parametrize("answers", [0, 1, 2])
@pytest.mark.parametrize("number", [1, 2])
def test_what_a_trainer_that_stays_away_does_not_know_is_left(path: Path, number: int, answers: int) -> None:
    path.write_text("".join(f"{line}\n" for line in range(2500)))
    trainer = Trainer()
    trainer.fails = [*[None] * answers, *[AWAY] * 1_000_000]
    channel: Any = trainer
    reporter = Reporter(channel, "its token", path, lambda: None, number=number, pauses=Pauses(0.001, 0.001))
    reporter.start()
    reporter.finish(10)
    assert not reporter.close(0.01)
    assert not reporter.over
    left = reporter.left()
    assert left.first == 1 + (number - 1) * 2**32 + 1000 * answers
    assert left.lines == tuple(map(str, range(1000 * answers, 2500)))


def test_a_request_is_bounded_by_its_bytes(path: Path) -> None:
    path.write_text("".join(f"{'x' * 400_000}\n" for _ in range(9)))
    trainer = Trainer()
    _, known, _ = reported(trainer, path)
    assert known
    assert len(trainer.lines) == 9
    assert max(request.ByteSize() for request in trainer.requests) < 2_000_000
