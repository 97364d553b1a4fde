"""serving.answer: the times of several pictures are those of the slowest."""

from __future__ import annotations

from eyasd.serving.answer import Timing


def test_the_longest_of_each_stage() -> None:
    assert Timing(1, 2, 3).longest(Timing(3, 2, 1)) == Timing(3, 2, 3)
