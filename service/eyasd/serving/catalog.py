"""What the fleet is told, and what it says of a version: the port to the registry, its options, and its states."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from eyasd.core.errors import EyasError
from eyasd.core.names import ModelRef
from eyasd.core.traffic import Pointers, TrafficRecord
from eyasd.serving.engine.loading import EngineOptions, Source


class Catalog(Source, Protocol):
    """What the fleet needs of a registry. Every call may touch a disk or a network, so none is made in the event loop."""

    def pointers(self) -> Mapping[str, Pointers]:
        """Returns where the requests for each model may lead; called a few times a second."""
        ...

    def end_canary(self, model: str, record: TrafficRecord, reason: str) -> bool:
        """See `CanaryRecords.end_canary`."""
        ...

    def resolve(self, ref: ModelRef) -> int:
        """Returns the version that a reference names. Raises NotFound."""
        ...


class ServingState(StrEnum):
    """What the fleet does with a version."""

    NOT_LOADED = "not_loaded"
    LOADING = "loading"
    READY = "ready"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class LoadFailure:
    """Why a version could not be loaded, and when it was tried, on the clock of `time.monotonic`."""

    error: EyasError
    time: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetOptions:
    """See `config.ServingSettings`."""

    engine: EngineOptions
    poll_interval_seconds: float
    retry_interval_seconds: float
    memory_bytes: int
