"""pod.patience: what is away is asked again until time is up, and SIGTERM leaves little of it."""

from __future__ import annotations

import pytest

from eyasd.core.errors import StorageFailed
from eyasd.pod.layout import NotWhole
from eyasd.pod.patience import Grace, Pauses, persist


def test_pauses_grow_and_are_bounded() -> None:
    pauses = Pauses(1.0, 15.0)
    for longest in (1, 2, 4, 8, 15, 15):
        assert longest / 2 <= pauses.next() <= longest
    pauses.reset()
    assert pauses.next() <= 1


def test_a_grace_bounds_what_was_begun_before_it() -> None:
    now = [100.0]
    grace = Grace(30.0, lambda: now[0])
    left = grace.bound(1800)
    now[0] += 60
    assert (grace.begun, left()) == (False, 1740)
    grace.begin()
    assert (grace.begun, left()) == (True, 28.5)
    now[0] += 10
    grace.begin()  # a second signal gives no more time
    assert left() == 18.5


@pytest.mark.parametrize(("error", "tries"), [(StorageFailed("away"), 2), (NotWhole("damaged"), 1)])
def test_work_is_tried_while_there_is_time(monkeypatch: pytest.MonkeyPatch, error: StorageFailed, tries: int) -> None:
    monkeypatch.setattr("eyasd.pod.patience.Pauses", lambda: Pauses(0.001, 0.001))
    times = iter([1.0, 0.0, 0.0])
    done: list[int] = []

    def work() -> None:
        done.append(1)
        raise error

    with pytest.raises(type(error)):
        persist(work, lambda: next(times))
    assert len(done) == tries


def test_work_that_succeeds_is_done(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("eyasd.pod.patience.Pauses", lambda: Pauses(0.001, 0.001))
    outcomes = iter([StorageFailed("It is away."), StorageFailed("It is away."), 7])

    def work() -> int:
        if isinstance(outcome := next(outcomes), StorageFailed):
            raise outcome
        return outcome

    assert persist(work, lambda: 10.0) == 7
    assert capsys.readouterr().err == "It is away.\n" * 2
