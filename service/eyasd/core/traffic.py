"""What becomes of the requests for a model's alias `production` beside it: canary and shadow, the nouns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from eyasd.core.capture import CaptureRecord
from eyasd.core.names import ModelRef


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """When a canary is rolled back: once it is over one of these, and worse than production at the same time.

    Attributes:
        max_error_rate: share of failed requests, 0..1; 1 is any.
        max_latency_ratio: latency as a multiple of production's, at least 1.
        min_requests: that it must have had before it is judged.
    """

    max_error_rate: float = 0.02
    max_latency_ratio: float = 1.5
    min_requests: int = 50


@dataclass(frozen=True, slots=True)
class Canary:
    """A version, named by its number or through an alias, that answers `percent` of the requests, 0.01..100, within bounds."""

    target: ModelRef
    percent: float
    bounds: Bounds = Bounds()


@dataclass(frozen=True, slots=True)
class Shadow:
    """A version, named like a canary's, that is shown `percent` of the requests, 0.01..100, once they are answered."""

    target: ModelRef
    percent: float


@dataclass(frozen=True, slots=True)
class TrafficRecord:
    """One entry of the history of a model's traffic.

    Attributes:
        record: number within the history, from 1.
        canary: in force from this record on; None is none.
        shadow: likewise.
        time: when, UTC.
        actor: who set it.
        reason: why, in the actor's words; of a canary that was rolled back, what was found.
    """

    record: int
    canary: Canary | None
    shadow: Shadow | None
    time: datetime
    actor: str
    reason: str

    @property
    def targets(self) -> tuple[ModelRef, ...]:
        """What canary and shadow lead to."""
        return tuple(part.target for part in (self.canary, self.shadow) if part is not None)


@dataclass(frozen=True, slots=True)
class Pointers:
    """Where the requests for a model may lead, and what is kept of them.

    Attributes:
        aliases: the version of each.
        traffic: None where it never had any.
        capture: None where its pictures were never kept.
    """

    aliases: Mapping[str, int]
    traffic: TrafficRecord | None = None
    capture: CaptureRecord | None = None

    @property
    def by_number(self) -> tuple[int, ...]:
        """The versions that are canary or shadow by their number, not through one of the aliases."""
        return tuple(target.version for target in (self.traffic.targets if self.traffic else ()) if target.version is not None)
