"""The pulse of a program: what counts as moving, and as computing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from eyasd.core import document
from eyasd.core.kin import Usage, usage
from eyasd.core.pulse import BEAT_SECONDS, Pulse
from eyasd.training.heartbeat import Heartbeat


class House:
    """A heart that the test lets beat, in a program that the test plays."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "pulse.json"
        self.now = 50.0
        self.current_stage = "decode"
        self.moves = 0
        self.used = {1: Usage(5.0, 10_000)}
        self.heart = Heartbeat(self.path, self, lambda: self.now, lambda: dict(self.used))
        self.heart.beat()

    def beat(self, seconds: float = BEAT_SECONDS) -> Pulse:
        self.now += seconds
        self.heart.beat()
        return document.load(Pulse, self.path.read_text())


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def test_it_counts_how_long_nothing_has_moved(house: House) -> None:
    assert house.beat() == Pulse(2, "decode", 2.0, 2.0)
    assert house.beat() == Pulse(3, "decode", 4.0, 4.0)
    house.moves += 1
    house.current_stage = "head"
    assert house.beat() == Pulse(4, "head", 0.0, 6.0)


@pytest.mark.parametrize(
    ("used", "idle"),
    [
        ({1: Usage(5.5, 10_000)}, 0.0),
        ({1: Usage(5.0, 1_000_000)}, 0.0),
        ({1: Usage(5.01, 12_000)}, 2.0),
        ({1: Usage(5.0, 10_000), 2: Usage(0.5, 0)}, 0.0),
        ({1: Usage(5.0, 10_000), 2: Usage(0.0, 0)}, 2.0),
        ({2: Usage(0.01, 0)}, 2.0),
    ],
)
def test_any_of_its_processes_that_computes_reads_or_writes_keeps_it_busy(
    house: House, used: dict[int, Usage], idle: float
) -> None:
    house.used = used
    assert house.beat().idle_seconds == idle


def test_time_in_which_it_was_stopped_is_not_time_in_which_it_stood_still(house: House) -> None:
    assert house.beat(3600).still_seconds == 2 * BEAT_SECONDS


def test_the_file_never_grows(house: House) -> None:
    size = house.path.stat().st_size
    house.current_stage = "a stage of another name"
    house.beat()
    assert house.path.stat().st_size == size


def test_what_this_process_has_used() -> None:
    before = usage([os.getpid()])[os.getpid()]
    Path("/proc/self/stat").read_bytes()
    sum(n * n for n in range(2_000_000))
    after = usage([os.getpid(), 2**22 + 1])
    assert after[os.getpid()].processor_seconds > before.processor_seconds
    assert after[os.getpid()].moved_bytes > before.moved_bytes
    assert list(after) == [os.getpid()]
