"""Findings are counted in full, and named as far as a person reads."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from eyasd.training.data.duplicates import Copies
from eyasd.training.data.findings import duplicates
from eyasd.training.data.listing import File


def test_groups_are_bounded_and_the_gravest_come_first() -> None:
    sizes = [2] * 120 + [25, 1, 1]
    near = np.repeat(np.arange(len(sizes)), sizes)
    files = [File(Path("/"), f"{number:03}", ("a",), "train") for number in range(len(near))]
    files[100] = File(Path("/"), "100", ("b",), "train")
    files[200] = File(Path("/"), "200", ("a",), "test")
    exact = np.arange(len(near))
    exact[200] = exact[201]
    found = duplicates(files, Copies(exact, near, 0))
    assert (len(found.groups), found.group_count, found.file_count) == (100, 121, 265)
    assert (found.files_across_labels, found.files_across_splits) == (2, 2)
    first, second, third, fourth = found.groups[:4]
    assert (first.across_labels, first.across_splits, first.exact) == (True, False, False)
    assert [file.label for file in first.files] == ["b", "a"]
    assert (second.across_labels, second.across_splits, second.exact) == (False, True, True)
    assert (third.file_count, len(third.files)) == (25, 10)
    assert fourth.files[0].path == "000"
