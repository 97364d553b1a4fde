"""What the program says, line by line."""

from __future__ import annotations

from pathlib import Path

import pytest

from eyasd.core import document
from eyasd.core.evaluation import EpochMetrics
from eyasd.core.jobdir import ProgressLine
from eyasd.training import journal as journal_module
from eyasd.training.journal import Interrupted, Journal

FIGURES = EpochMetrics(1, 0.5, 0.4, 0.9, 0.9, 0.9, 0.9)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(journal_module.time, "monotonic", clock)
    return clock


@pytest.fixture
def told(tmp_path: Path, clock: Clock) -> Journal:
    return Journal(tmp_path / "progress.jsonl", {"decode": 30, "head": 10, "export": 60})


def lines(journal: Journal) -> list[ProgressLine]:
    return [document.load(ProgressLine, line) for line in journal.path.read_text().splitlines()]


def test_progress_is_told_twice_a_second_at_most(told: Journal, clock: Clock) -> None:
    told.stage("decode")
    for i in range(100):
        clock.now += 0.125
        told.advance(i / 100)
    assert len(lines(told)) == 1 + 25


def test_stages_epochs_and_messages_are_told_at_once(told: Journal) -> None:
    told.stage("decode")
    told.message("a sentence")
    told.stage("head")
    told.epoch(1, 3)
    told.stepped(7, 0.01)
    told.measured(FIGURES)
    told.stage("export")
    found = lines(told)
    assert [line.message for line in found if line.message] == ["a sentence"]
    progress = [line.progress for line in found if line.progress]
    assert [p.stage for p in progress] == ["decode", "head", "head", "export"]
    assert (progress[2].epoch, progress[2].epochs, progress[2].validation) == (1, 3, FIGURES)
    assert (progress[3].epoch, progress[3].epochs, progress[3].validation) == (0, 0, FIGURES)
    assert [(p.step, p.learning_rate) for p in progress] == [(0, None), (0, None), (7, 0.01), (0, None)]


def test_the_fraction_follows_the_shares_and_the_time_the_clock(told: Journal, clock: Clock) -> None:
    told.stage("decode")
    clock.now += 8
    told.stage("head")
    clock.now += 2
    told.advance(0.5, images_per_second=7.0)
    first, _, last = (line.progress for line in lines(told))
    assert first is not None
    assert last is not None
    assert (first.fraction, first.time_left) == (0, None)
    assert last.fraction == pytest.approx(0.35)
    assert last.time_left is not None
    assert last.time_left.total_seconds() == pytest.approx(10 * 0.65 / 0.35, abs=0.1)
    assert last.images_per_second == 7.0


def test_a_measured_stage_corrects_the_estimate_but_takes_nothing_back(told: Journal, clock: Clock) -> None:
    told.stage("decode")
    clock.now += 30
    told.stage("head")
    clock.now += 10
    told.advance(0.1)
    before = lines(told)[-1].progress
    told.expect(900)  # thirty times what `decode` took, and so thirty times its share
    clock.now += 1
    told.advance(0.1)
    after = lines(told)[-1].progress
    assert before is not None
    assert after is not None
    assert told.shares["head"] == 900
    assert after.fraction == before.fraction


def test_a_line_cut_short_by_an_earlier_attempt_spoils_no_other(tmp_path: Path) -> None:
    path = tmp_path / "progress.jsonl"
    path.write_text('{"time": "20')
    journal = Journal(path, {"decode": 1})
    journal.message("on we go")
    broken, whole = path.read_text().splitlines()
    assert broken == '{"time": "20'
    assert document.load(ProgressLine, whole).message == "on we go"


@pytest.mark.parametrize("ask", [lambda j: j.stage("head"), lambda j: j.advance(0.5), lambda j: j.check()])
def test_it_hands_on_the_wish_to_stop(told: Journal, ask) -> None:
    told.stage("decode")
    told.stop()
    with pytest.raises(Interrupted):
        ask(told)


def test_no_time_is_promised_before_the_fine_tuning_has_been_measured(tmp_path: Path, clock: Clock) -> None:
    told = Journal(tmp_path / "progress.jsonl", {"head": 10, "fine-tune": 1500, "export": 10})
    told.stage("head")
    clock.now += 30
    told.stage("fine-tune")
    clock.now += 10
    told.advance(0.1)
    told.expect(60)
    clock.now += 10
    told.advance(0.3)
    left = [line.progress.time_left for line in lines(told) if line.progress]
    assert left[:3] == [None, None, None]
    assert left[3] is not None
    assert 20 < left[3].total_seconds() < 120
