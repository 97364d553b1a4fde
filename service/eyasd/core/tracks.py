"""How much of a job a tracker, such as MLflow, has been told."""

from __future__ import annotations

from dataclasses import dataclass

from eyasd.core.evaluation import EpochMetrics


@dataclass(frozen=True, slots=True, kw_only=True)
class Track:
    """What a tracker has been told of a job, and where that is.

    Attributes:
        job: its id.
        sequence: of the last event that was told; 0 is none.
        done: whether nothing more is to be told.
        run: what the tracker calls the job; "" until it has a name for it.
        size_bytes: of what it has of the job, where that is a file.
        step: the last step of the fine-tuning that was told.
        validation: the newest figures that were told.
    """

    job: str
    sequence: int = 0
    done: bool = False
    run: str = ""
    size_bytes: int = 0
    step: int = 0
    validation: EpochMetrics | None = None
