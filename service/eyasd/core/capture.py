"""Which pictures of production are kept to learn from: the policy of a model, and why one is kept."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class CaptureReason(StrEnum):
    """Why a picture is kept, the most instructive first."""

    WRONG = "wrong"
    SHADOW = "shadow"
    DRIFT = "drift"
    LOW_MARGIN = "low_margin"
    SAMPLE = "sample"


@dataclass(frozen=True, slots=True, kw_only=True)
class CapturePolicy:
    """What is kept of the pictures that a model's versions answer.

    Attributes:
        on: whether anything is.
        reasons: for which pictures are kept.
        percent: share of all pictures that is kept by chance, 0..100, so that what is kept does not hold hard cases alone.
        max_margin: a picture has a low margin where the most probable label leads by less than this, 0..1; of a multi-label model,
            where a label's probability is that close to its threshold.
        max_images: most that are kept at a time; the least instructive go first.
        keep_days: how long one is kept.
    """

    on: bool
    reasons: tuple[CaptureReason, ...] = tuple(CaptureReason)
    percent: float = 1.0
    max_margin: float = 0.2
    max_images: int = 1000
    keep_days: float = 30.0


@dataclass(frozen=True, slots=True)
class CaptureRecord:
    """One entry of the history of a model's policy: the number, from 1, what was in force from then on, since when, and by whom."""

    record: int
    policy: CapturePolicy
    time: datetime
    actor: str
