"""When a training program hangs, and when it only takes its time."""

from __future__ import annotations

import pytest

from eyasd.core.pulse import BIRTH_SECONDS, BUSY_SECONDS, IDLE_SECONDS, SILENT_SECONDS, Pulse, Watchdog

LOOK_SECONDS = 2.0


class House:
    """A watchdog that looks every two seconds, at a program that the test plays."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.beat = 0
        self.still = self.idle = 0.0
        self.watchdog = Watchdog(lambda: self.now)

    def look(self, seconds: float, *, beats: bool = True, moves: bool = False, computes: bool = False) -> list[str]:
        """Lets time go by; returns what was said."""
        said: list[str] = []
        for _ in range(int(seconds / LOOK_SECONDS)):
            self.now += LOOK_SECONDS
            self.still = 0.0 if moves else self.still + LOOK_SECONDS
            self.idle = 0.0 if computes else self.idle + LOOK_SECONDS
            self.beat += beats
            pulse = Pulse(self.beat, "head", self.still, self.idle) if self.beat else None
            if sentence := self.watchdog.look(pulse):
                said.append(sentence)
        return said


@pytest.fixture
def house() -> House:
    return House()


def test_nothing_is_said_of_one_that_moves_whatever_it_takes(house: House) -> None:
    assert house.look(3600, moves=True) == []
    assert not house.watchdog.stalled


def test_a_long_step_that_computes_is_no_stall(house: House) -> None:
    assert house.look(BUSY_SECONDS - LOOK_SECONDS, computes=True) == []
    (said,) = house.look(LOOK_SECONDS, computes=True)
    assert said == "The training program may hang in stage 'head': it is no further than 1800 s ago, though it computes."


def test_one_that_does_nothing_at_all_hangs_and_that_is_said_once(house: House) -> None:
    house.look(10, moves=True, computes=True)
    assert house.look(IDLE_SECONDS - LOOK_SECONDS) == []
    (said,) = house.look(600)
    assert "hangs in stage 'head'" in said
    assert "neither computed, read nor written anything for 120 s" in said
    assert house.watchdog.stalled
    (said,) = house.look(10, moves=True, computes=True)
    assert said == "The training program goes on, 600 s after that was said."
    assert not house.watchdog.stalled


def test_one_that_waits_for_its_workers_is_no_stall(house: House) -> None:
    """Its own threads idle, and those of its processes compute."""
    assert house.look(600, computes=True) == []


def test_one_without_a_pulse_hangs(house: House) -> None:
    house.look(10, moves=True, computes=True)
    assert house.look(SILENT_SECONDS - LOOK_SECONDS, beats=False) == []
    (said,) = house.look(60, beats=False)
    assert said == "The training program hangs in stage 'head': it has given no sign of life for 60 s."


def test_the_first_beat_may_take_longer(house: House) -> None:
    assert house.look(BIRTH_SECONDS - LOOK_SECONDS, beats=False) == []
    assert len(house.look(LOOK_SECONDS, beats=False)) == 1


def test_who_has_not_looked_does_not_blame_the_program(house: House) -> None:
    """Both were stopped, perhaps, and the one that looks went on first."""
    house.look(10, moves=True, computes=True)
    house.now += 3600
    assert house.look(SILENT_SECONDS - LOOK_SECONDS, beats=False) == []
