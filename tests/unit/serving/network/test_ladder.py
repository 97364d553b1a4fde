"""serving.network.ladder: few sizes, and none smaller than what it holds."""

from __future__ import annotations

from eyasd.serving.network.ladder import ladder, next_size


def test_a_batch_meets_only_sizes_that_were_warmed() -> None:
    assert ladder(12) == [1, 2, 4, 8, 12]
    assert ladder(1) == [1]
    assert [next_size(ladder(12), count) for count in range(1, 13)] == [1, 2, 4, 4, 8, 8, 8, 8, 12, 12, 12, 12]
