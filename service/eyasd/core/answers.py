"""answers.npz of a bundle: which pictures a version was made with, and what it said of those that it was tested on.

A picture is known by its fingerprint, the first 60 bits of the SHA-256 of its file, so a copy of the file is the same picture, and
one that was saved anew is another.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import MISSING, dataclass, field, fields
from enum import StrEnum
from io import BytesIO
from typing import Final

import numpy as np
from numpy.typing import NDArray

from eyasd.core.arrays import arrays_of

ANSWERS: Final = "answers.npz"
Fingerprints = NDArray[np.int64]


class Split(StrEnum):
    """A part of the dataset that a version was made with."""

    TRAIN = "train"
    VALIDATION = "validation"
    TEST = "test"


def fingerprints(digests: Iterable[str]) -> Fingerprints:
    """Returns int64 [N], what is remembered of each file, from its SHA-256 in hexadecimal; 0 where that is ""."""
    return np.array([int(digest[:15] or "0", 16) for digest in digests], np.int64)


def identity(pictures: Fingerprints) -> str:
    """Returns the name of a set of pictures in any order: the SHA-256 of their sorted fingerprints, hexadecimal."""
    return hashlib.sha256(np.sort(pictures).astype("<i8").tobytes()).hexdigest()


@dataclass(frozen=True, slots=True)
class KeptAnswers:
    """The content of answers.npz.

    Attributes:
        picture: int64 [N], the test split.
        predicted: int32 [N], the class index of the most probable label of each.
        right: bool [N], whether the answer was; of a multi-label model, whether the whole set of labels was.
        log_loss: float32 [N], in nats.
        train: int64 [n].
        validation: int64 [n].
        inherited: int64 [n], pictures that the versions it started from were trained on, and that are in neither of the two.
        captured: int64 [n], captured pictures that were held out, by which the regression gate judged; none where there is none.
    """

    picture: Fingerprints
    predicted: NDArray[np.int32]
    right: NDArray[np.bool_]
    log_loss: NDArray[np.float32]
    train: Fingerprints
    validation: Fingerprints
    inherited: Fingerprints
    captured: Fingerprints = field(default_factory=lambda: np.empty(0, np.int64))

    @property
    def used(self) -> Fingerprints:
        """The pictures that had a part in its making."""
        return np.concatenate([self.train, self.validation, self.inherited])

    def of(self, split: Split) -> Fingerprints:
        """Returns the pictures of a split."""
        return {Split.TRAIN: self.train, Split.VALIDATION: self.validation, Split.TEST: self.picture}[split]

    def to_bytes(self) -> bytes:
        """Returns the content of answers.npz."""
        buffer = BytesIO()
        np.savez_compressed(buffer, **{each.name: getattr(self, each.name) for each in fields(self)})
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> KeptAnswers:
        """Reads answers.npz.

        Raises:
            BrokenBundle: it is damaged.
        """
        with arrays_of(content, ANSWERS) as arrays:
            # Those that have a default were not noted from the beginning.
            names = [each.name for each in fields(cls) if each.name in arrays or each.default_factory is MISSING]
            return cls(**{name: arrays[name] for name in names})
