"""jobs.plates: a trainer knows in time that another takes its jobs over, and goes on where nobody can."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
import structlog

from eyasd.jobs import plates
from eyasd.jobs.plates import ALONE_SECONDS, FRESH_SECONDS, HEAR_SECONDS, SEEN_SECONDS, WARN_SECONDS, Hold, Plates
from eyasd.jobs.replica import LEASE_SECONDS, PROCESS_LEASE_SECONDS
from eyasd.storage.local import LocalStore

Log = structlog.typing.FilteringBoundLogger


class Time:
    """Seconds that pass when the test says so."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def time() -> Time:
    return Time()


async def test_who_is_cut_off_goes_on_while_its_plate_is_up(tmp_path: Path, log: Log, time: Time) -> None:
    own, other = (Plates(LocalStore(tmp_path), name, log, time) for name in "ab")
    renewed = time.now
    assert own.hold(renewed) is Hold.SURE
    await own._put_up(lambda: renewed)
    for _ in range(60):
        time.now += 1
        await own._look()
        assert own.hold(renewed) is Hold.SURE
    other.take_down({"a"})
    await asyncio.get_running_loop().run_in_executor(other._others, int)  # in the one thread of these, so after that
    time.now += HEAR_SECONDS - 0.1
    assert other.warned() == set()
    await own._look()
    assert own.hold(renewed) is Hold.LOST
    time.now += 0.1
    assert other.warned() == {"a"}
    other.take_down(())  # it has been heard of
    assert other.warned() == set()
    renewed = time.now
    assert own.hold(renewed) is Hold.SURE
    await own.close()
    await other.close()


async def test_who_sees_nothing_at_all_ends_before_its_lease(tmp_path: Path, log: Log, time: Time) -> None:
    own = Plates(LocalStore(tmp_path), "a", log, time)
    renewed = time.now
    await own._put_up(lambda: renewed)
    (tmp_path / ".trainers" / "a").unlink()
    (tmp_path / ".trainers" / "a").mkdir()  # which cannot be read
    for seconds, hold in ((FRESH_SECONDS, Hold.SURE), (ALONE_SECONDS, Hold.UNSURE), (ALONE_SECONDS + 0.1, Hold.LOST)):
        time.now = renewed + seconds
        await own._look()
        assert own.hold(renewed) is hold


async def test_a_plate_that_came_up_late_does_not_count(tmp_path: Path, log: Log, time: Time) -> None:
    own = Plates(LocalStore(tmp_path), "a", log, time)
    await own._put_up(lambda: time.now - WARN_SECONDS)
    await own._look()
    assert own.hold(time.now - WARN_SECONDS) is Hold.LOST


def test_the_times_leave_no_moment_in_which_two_may_train() -> None:
    looks = plates._LOOK_SECONDS
    ended = 0.5 + 0.5  # from the decision of a daemon to the end of its process
    assert ALONE_SECONDS + looks + ended < LEASE_SECONDS
    assert SEEN_SECONDS + looks + ended <= HEAR_SECONDS
    assert WARN_SECONDS + HEAR_SECONDS <= LEASE_SECONDS
    guard_ends = PROCESS_LEASE_SECONDS + 0.25 + 1.0
    assert FRESH_SECONDS + guard_ends < LEASE_SECONDS
