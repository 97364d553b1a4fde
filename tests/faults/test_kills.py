"""Daemons and trainings are killed at random moments, or stopped past their lease: what was promised is kept, every time."""

from __future__ import annotations

from pathlib import Path

import pytest

from faults.kills.play import Plan, Play

from .conftest import Tell

# Found by what a reader sees at once, so that one kill is enough, and by what is compared in the end.
PLANTS = {"early": 1, "unsaved": 6, "skips": 2, "forgets": 12, "again": 24}
_PLAYS = 10  # at most, as it is a matter of the machine where kills hit


@pytest.mark.timeout(3600)
def test_nothing_promised_is_lost_whoever_is_killed_at_whatever_moment(tmp_path: Path, all_faults: bool, tell: Tell) -> None:
    play = Play(tmp_path, Plan(30 if all_faults else 3, seed=7, real=0.1 if all_faults else 0))
    history = play.run()
    assert history.violations == []
    done = "kill -9 of the trainer, of a training, or of both, at a random moment from submit to publish"
    tell(done, f"{sum(history.kills.values())}", f"{len(history.violations)}")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Plants the bug that is found within seconds, or all of them."""
    if "plant" in metafunc.fixturenames:
        metafunc.parametrize("plant", PLANTS if metafunc.config.getoption("all_faults") else ["early"])


@pytest.mark.timeout(3600)
def test_planted_bugs_are_found(tmp_path: Path, plant: str) -> None:
    plays = (Play(tmp_path / f"{seed}", Plan(PLANTS[plant], seed=seed, plant=plant)) for seed in range(3, 3 + _PLAYS))
    assert any(play.run().violations for play in plays)
