"""core.answers: which pictures a version was made with."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from builders import kept_answers
from eyasd.core.answers import KeptAnswers, Split, fingerprints, identity
from eyasd.core.errors import BrokenBundle


def test_a_file_is_known_by_what_it_holds() -> None:
    digests = [hashlib.sha256(content).hexdigest() for content in (b"a", b"a", b"c")]
    prints = fingerprints([*digests, ""])
    assert (prints[0] == prints[1], prints[0] == prints[2], prints[3], prints.min()) == (True, False, 0, 0)
    assert prints[0] == int(digests[0], 16) >> 196  # of 256 bits the first 60


def test_a_set_of_pictures_is_the_same_in_any_order() -> None:
    assert identity(np.array([3, 1, 2])) == identity(np.array([1, 2, 3])) != identity(np.array([1, 2]))
    assert identity(np.array([1])) == hashlib.sha256(bytes([1, 0, 0, 0, 0, 0, 0, 0])).hexdigest()


def test_answers_are_read_as_they_were_written() -> None:
    kept = kept_answers()
    read = KeptAnswers.from_bytes(kept.to_bytes())
    for name in KeptAnswers.__slots__:
        written, found = getattr(kept, name), getattr(read, name)
        assert (found.dtype, found.tolist()) == (written.dtype, written.tolist())
    assert [read.of(split).tolist() for split in Split] == [[1001, 1002], [2001], [1, 2, 3]]
    assert sorted(read.used) == [1001, 1002, 2001, 3001]


@pytest.mark.parametrize("content", [b"", b"x", kept_answers().to_bytes()[:200]])
def test_damaged_answers_are_told_of(content: bytes) -> None:
    with pytest.raises(BrokenBundle, match="answers.npz is damaged"):
        KeptAnswers.from_bytes(content)
