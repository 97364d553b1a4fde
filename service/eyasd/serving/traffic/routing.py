"""Which version answers a request for `production`: production itself, or for a share of the requests the model's canary.

A canary that does worse than its bounds and than production gets no more requests from the very next one on; that this is so is
then written into the registry, for all servers. Several may do so at once: the first record holds. Knows versions by number.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol

import structlog

from eyasd.core.errors import StorageFailed
from eyasd.core.traffic import Canary, TrafficRecord
from eyasd.serving.traffic.trial import Trial, Verdict
from eyasd.telemetry.metrics import Metrics

BUCKETS: Final = 10_000


class CanaryRecords(Protocol):
    """What routing needs of a registry."""

    def end_canary(self, model: str, record: TrafficRecord, reason: str) -> bool:
        """Ends a record's canary; returns whether it did, and nobody else was quicker. Raises StorageFailed."""
        ...


def bucket_of(model: str, key: str) -> int:
    """Returns the bucket, 0 to `BUCKETS` - 1, of a routing key: the same for ever, and another in every model."""
    # A model's name has at most 64 characters of ASCII, which is what BLAKE2b takes as its key.
    digest = hashlib.blake2b(key.encode(), key=model.encode(), digest_size=8).digest()
    return int.from_bytes(digest) % BUCKETS


def is_in(model: str, key: str, percent: float, draw: Callable[[], float]) -> bool:
    """Returns whether a request belongs to a share.

    Args:
        model: that it is for.
        key: its routing key; who is in a share is in every larger one. "" is by chance.
        percent: the share, 0..100.
        draw: makes numbers in 0..1, 1 excluded.
    """
    bucket = bucket_of(model, key) if key else int(draw() * BUCKETS)
    return bucket < round(percent * BUCKETS / 100)


@dataclass(slots=True)
class _Run:
    """A canary beside production: what it is about, since when, what it did, and why it was stopped; "" while it runs."""

    record: TrafficRecord
    canary: Canary
    production: int
    version: int
    trial: Trial = field(init=False)
    since: float = field(init=False)
    stopped: str = ""

    def __post_init__(self) -> None:
        self.trial = Trial(self.canary.bounds)
        self.since = self.record.time.timestamp()

    @property
    def subject(self) -> tuple[Canary, int, int]:
        """What it is about; while that stays the same, what was seen of it counts."""
        return self.canary, self.production, self.version


class Router:
    """The canaries of all models, on this server. Belongs to one event loop."""

    def __init__(
        self,
        records: CanaryRecords,
        metrics: Metrics,
        log: structlog.typing.FilteringBoundLogger,
        draw: Callable[[], float] = random.random,
    ) -> None:
        self._records = records
        self._metrics = metrics
        self._log = log
        self._draw = draw
        self._runs: dict[str, _Run] = {}
        self._writing: set[asyncio.Task[None]] = set()

    def follow(self, runs: Mapping[str, tuple[TrafficRecord, Canary, int, int]]) -> None:
        """Takes over what is in force.

        Args:
            runs: by model: the record in force, its canary, and the versions that production and the canary lead to; models whose
                canary is in production are left out.
        """
        for model, (record, canary, production, version) in runs.items():
            run, new = self._runs.get(model), _Run(record, canary, production, version)
            if run is not None and run.subject == new.subject:
                run.record = record  # of a change of the shadow
                continue
            self._forget(model)
            self._runs[model] = new
            self._metrics.canary_percent.labels(model, str(version)).set(canary.percent)
            self._log.info("a canary answers", model=model, version=version, percent=canary.percent)
        for model in self._runs.keys() - runs.keys():
            self._forget(model)

    def choose(self, model: str, key: str) -> int | None:
        """Returns the canary's version if it is to answer a request, whose routing key may be empty; None is production's."""
        run = self._runs.get(model)
        if run is None or run.stopped or not is_in(model, key, run.canary.percent, self._draw):
            return None
        return run.version

    def is_canary(self, model: str, version: int) -> bool:
        """Returns whether a version is the model's canary, stopped or not."""
        run = self._runs.get(model)
        return run is not None and run.version == version

    def stopped(self, model: str) -> str:
        """Returns why this server routes nothing to a canary that is in force; "" where it does, or there is none."""
        run = self._runs.get(model)
        return run.stopped if run else ""

    def observe(self, model: str, version: int, *, images: int, seconds: float | None, failed: bool) -> None:
        """Takes down a request for production, answered by either; see `Trial.observe`."""
        run = self._run_of(model, version)
        if run is not None:
            self._act(model, run, run.trial.observe(canary=version == run.version, images=images, seconds=seconds, failed=failed))

    def observe_answer(self, model: str, version: int, *, time: float, right: bool) -> None:
        """Takes down whether an answer to a request for production was right, as is known afterwards.

        Args:
            model: that answered.
            version: likewise.
            time: when, in seconds since 1970; what was said before the canary began was of other pictures, and is left out.
            right: whether it was.
        """
        run = self._run_of(model, version)
        if run is not None and time >= int(run.since):
            self._act(model, run, run.trial.observe_answer(canary=version == run.version, right=right))

    async def close(self) -> None:
        """Waits until what was found has been written."""
        await asyncio.gather(*self._writing)

    def _run_of(self, model: str, version: int) -> _Run | None:
        """Returns the model's canary, if it still runs and the version is one of the two."""
        run = self._runs.get(model)
        return run if run and not run.stopped and version in (run.version, run.production) else None

    def _act(self, model: str, run: _Run, verdict: Verdict | None) -> None:
        if verdict is None:
            return
        run.stopped = f"{model}/{run.version} was rolled back: {verdict.finding}"
        self._metrics.canary_rollbacks.labels(model, verdict.cause).inc()
        self._metrics.canary_percent.labels(model, str(run.version)).set(0)
        self._log.error("a canary was rolled back", model=model, version=run.version, cause=verdict.cause, finding=verdict.finding)
        task = asyncio.create_task(self._write(model, run))
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)

    async def _write(self, model: str, run: _Run) -> None:
        try:
            written = await asyncio.to_thread(self._records.end_canary, model, run.record, run.stopped)
        except StorageFailed as error:
            self._log.error(
                "the roll back of a canary could not be written; this server routes nothing to it, others may",
                model=model,
                version=run.version,
                error=error.message,
            )
        else:
            if not written:
                self._log.info("somebody else changed the canary at the same moment", model=model, version=run.version)

    def _forget(self, model: str) -> None:
        run = self._runs.pop(model, None)
        if run is not None:
            self._metrics.canary_percent.remove(model, str(run.version))
