"""core.wording: one is one, and everything else is several."""

from __future__ import annotations

import pytest

from eyasd.core.wording import counted


@pytest.mark.parametrize(("count", "says"), [(0, "0 pictures"), (1, "1 picture"), (2, "2 pictures"), (12_345, "12,345 pictures")])
def test_how_many_there_are(count: int, says: str) -> None:
    assert counted(count, "picture") == says
