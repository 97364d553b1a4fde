"""What a caller reports of an answer, and what becomes of that: the nouns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import NamedTuple

from eyasd.core.bundle import Manifest


class Outcome(StrEnum):
    """What became of a report; the values are those of the metric."""

    RIGHT = "right"
    WRONG = "wrong"
    REPEATED = "repeated"
    CORRECTED = "corrected"
    EXPIRED = "expired"
    FORGED = "forged"
    UNKNOWN_LABEL = "unknown_label"


class Report(NamedTuple):
    """That the labels of the picture of an answer are these, each by its name or its class index."""

    prediction_id: str
    labels: tuple[str | int, ...]


class Receipt(NamedTuple):
    """What became of a report.

    Attributes:
        outcome: see there.
        message: why it was not counted; "" where it was.
        model: that answered; "" where the id is not to be trusted.
        version: likewise, else 0.
        said: the labels that the answer had; empty likewise.
    """

    outcome: Outcome
    message: str
    model: str = ""
    version: int = 0
    said: tuple[str, ...] = ()


@dataclass(frozen=True)
class Vocabulary:
    """The labels of a version, in order of class index."""

    labels: tuple[str, ...]
    multi_label: bool

    @classmethod
    def of(cls, manifest: Manifest) -> Vocabulary:
        """Returns that of a version."""
        return cls(manifest.labels, manifest.thresholds is not None)

    @cached_property
    def indices(self) -> Mapping[str, int]:
        """The class index of each."""
        return {label: index for index, label in enumerate(self.labels)}

    def named(self, indices: tuple[int, ...]) -> tuple[str, ...]:
        """Returns the labels of class indices."""
        return tuple(self.labels[index] for index in indices)
