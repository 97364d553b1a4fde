"""No name of a dataset leads out of the roots, or to a machine: it is refused, and nothing was opened or connected to meanwhile."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from eyasd.core.errors import InvalidArgument
from eyasd.core.names import check_text
from eyasd.core.places import check_allowed, place_of
from hostile.places import elsewhere


def test_names_that_lead_out_of_the_roots_or_away_are_refused_and_nothing_is_opened(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    for folder in (root, outside, tmp_path / "root-beside"):
        folder.mkdir()
    (outside / "photos.csv").write_text("path,label\n")
    (root / "link").symlink_to("/")
    done = subprocess.run(
        [sys.executable, "-m", "hostile.asking", root, outside],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        check=True,
    )
    found = json.loads(done.stdout)
    assert sum(found["outcomes"].values()) > 1500
    assert set(found["outcomes"]) == {"InvalidArgument", "DatasetNotFound"}
    assert (found["touched"], found["telling"]) == ([], [])
    assert len(found["own"]) == 1
    # What was looked for and is not there is below the root: of a percent sign or a full-width dot nobody makes a way out.
    for name in found["inside"]:
        check_allowed(place_of(name), [str(root)])
        assert place_of(name).path.startswith(f"{root}/")


def test_without_roots_other_machines_stay_out_of_reach() -> None:
    """A bucket may be named, and never where it is: that is the environment's."""
    for name in elsewhere():
        try:
            place = place_of(check_text(name, "dataset"))
        except InvalidArgument:
            continue
        assert place.scheme in {"file", "s3", "gs", "az"}
        assert place.scheme == "file" or not set(":@[?#") & set(place.path.partition("/")[0])


@pytest.mark.parametrize("key", ["a/../b", "a%2f..%2f..", "%2e%2e/x"])
def test_of_a_bucket_s_key_nothing_is_decoded(key: str) -> None:
    try:
        assert place_of(f"s3://photos/team/{key}").path == f"photos/team/{key}"
    except InvalidArgument:
        assert ".." in key.split("/")
