"""Every call that changes what Eyas keeps goes wrong once, in every way: no promise is broken by it, and planted bugs are found."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TypeVar

import pytest

from faults.conftest import Tell
from faults.crash.mutants import MUTANTS
from faults.crash.points import Points, crash_points
from faults.crash.scenarios import SCENARIOS
from faults.crash.shim import Action, build

T = TypeVar("T")

# Of each operation, for a change that waits; all of them take minutes.
_SOME = 12


@pytest.fixture(scope="session")
def points(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Points]:
    """A process to fork from, as long as the tests run."""
    folder = tmp_path_factory.mktemp("crash")
    made = Points(folder, build(folder))
    yield made
    made.close()


def spread(of: Sequence[T], count: int) -> list[T]:
    """Returns so many, from the first to the last, or all."""
    return list(of) if len(of) <= count else [of[round(place * (len(of) - 1) / (count - 1))] for place in range(count)]


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", SCENARIOS)
def test_no_promise_is_broken_wherever_it_is_cut_short(name: str, points: Points, all_faults: bool, tell: Tell) -> None:
    whole = points.at(name)
    assert not whole.wrong
    assert not whole.unordered
    tried = spread(list(crash_points(whole.calls)), 10**6 if all_faults else _SOME)
    found = [f"{action.name} at {at}: {sentence}" for at, action in tried for sentence in points.at(name, at, action).wrong]
    counts = Counter(action.name for _, action in tried)
    tell(
        f"{name}: {sum(not call.is_note for call in whole.calls)} calls",
        ", ".join(f"{counts[action.name]} {action.name}" for action in Action),
        str(len(found)),
    )
    assert not found, "\n".join(found)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", MUTANTS)
def test_a_planted_bug_is_found(name: str, points: Points) -> None:
    mutant = MUTANTS[name]
    whole = points.at(mutant.scenario, mutant=name)
    if mutant.action is None:
        assert whole.unordered
        return
    tried = [at for at, action in crash_points(whole.calls) if action is mutant.action]
    nearly_random = sorted(tried, key=lambda at: at * 0.618 % 1)  # so that a stretch of points is soon met
    assert any(points.at(mutant.scenario, at, mutant.action, name).wrong for at in nearly_random)
