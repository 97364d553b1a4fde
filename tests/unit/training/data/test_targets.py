"""What pictures show, as arrays."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from eyasd.training.data.listing import File, Listing
from eyasd.training.data.targets import as_flags, groups_of, targets_of


def listing(*labels: str, multi_label: bool) -> Listing:
    return Listing(tuple(File(Path("/"), "", tuple(one), None) for one in labels), (), (), multi_label)


def test_one_label_is_a_class_index() -> None:
    targets = targets_of(listing("b", "a", "c", multi_label=False), "abcd")
    assert (targets.tolist(), targets.dtype) == ([1, 0, 2], np.int64)
    assert as_flags(targets, 4).tolist() == [[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0]]
    assert groups_of(targets).tolist() == [1, 0, 2]


def test_several_are_flags() -> None:
    targets = targets_of(listing("ac", "", "b", multi_label=True), "abc")
    assert (targets.tolist(), targets.dtype) == ([[1, 0, 1], [0, 0, 0], [0, 1, 0]], np.float32)
    assert as_flags(targets, 3).tolist() == targets.tolist()


def test_a_picture_is_there_for_the_sake_of_its_rarest_label() -> None:
    targets = targets_of(listing("a", "ab", "ac", "abc", "a", "", multi_label=True), "abcd")
    # Five bear `a`, two `b`, two `c`; of equals the lower class index.
    assert groups_of(targets).tolist() == [0, 1, 2, 1, 0, 3]
