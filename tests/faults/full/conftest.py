"""A disk of a few megabytes that a test fills and frees."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.faults.disk import Disk, mounted


@pytest.fixture
def disk(request: pytest.FixtureRequest, tmp_path: Path, all_faults: bool) -> Iterator[Disk]:
    """A disk of 8 MB, or of as many as a test asks for; what is tried for hours goes on without it where it may not be mounted."""
    with ExitStack() as stack:
        try:
            made = stack.enter_context(mounted(tmp_path / "disk", getattr(request, "param", 8)))
        except PermissionError as error:
            (pytest.skip if all_faults else pytest.fail)(str(error))
        yield made
