"""training.scoring.asking: a version of the repository is no more trusted by an evaluation than by a server."""

from __future__ import annotations

from pathlib import Path

import pytest

from builders import write_bundle
from eyasd.core.errors import BrokenBundle
from eyasd.training.scoring.asking import Version
from hostile.networks import refused


def test_a_version_with_a_loop_is_not_opened(tmp_path: Path) -> None:
    write_bundle(tmp_path, network=refused()["a loop without an end"])
    with pytest.raises(BrokenBundle, match="it has the operator 'Loop'"):
        Version.opened("colours/1", tmp_path)
    write_bundle(tmp_path)
    assert Version.opened("colours/1", tmp_path).name == "colours/1"
