"""What becomes of the result of a job: a version in the repository, with an alias where it is to have one; or figures to keep.

Only the holder of the job's lease gets here, and it says so in the job's row before it touches the repository.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import structlog

from eyasd.core import document, jobdir
from eyasd.core.bundle import MANIFEST, read_manifest
from eyasd.core.errors import AliasConflict, PromotionRefused, StorageFailed
from eyasd.core.evaluation import Evaluation
from eyasd.core.gate import Gate
from eyasd.core.jobs import Job, JobEvent, JobType, Lease, Progress
from eyasd.core.names import PRODUCTION, ModelRef
from eyasd.core.tasks import EvaluationOutcome, InspectionOutcome, TrainingOutcome
from eyasd.jobs.ledger import Ledger
from eyasd.registry.models import Models
from eyasd.telemetry.redaction import redacted

_RETRY_SECONDS: Final = (1, 2, 5, 10, 30)


class Publisher:
    """Takes the results of jobs. Belongs to one event loop."""

    def __init__(self, ledger: Ledger, models: Models, log: structlog.typing.FilteringBoundLogger) -> None:
        self._ledger = ledger
        self._models = models
        self._log = log

    async def take(self, job: Job, lease: Lease) -> dict[str, Any] | None:
        """Takes the result that lies in a job's folder; a training's version is published.

        Returns:
            The fields of the job that hold it; None where the job was cancelled before its version could be published.

        Raises:
            LeaseLost: the job is another replica's.
            StorageFailed: the database cannot be written.
        """
        job_dir = self._ledger.job_dir(job.id)
        text = await asyncio.to_thread((job_dir / jobdir.RESULT).read_text)
        if job.type is JobType.EVALUATION:
            scored = await asyncio.to_thread(self._counted, job, document.load(EvaluationOutcome, text))
            return {"evaluation": scored.evaluation, "comparisons": scored.comparisons}
        if job.type is JobType.INSPECTION:
            found = document.load(InspectionOutcome, text)
            return {"dataset_report": found.dataset_report, "conditions": found.conditions}
        outcome = document.load(TrainingOutcome, text)
        version = await self._publish(job, lease, job_dir / jobdir.BUNDLE, outcome.gate)
        if version is None:
            return None
        looks = await asyncio.to_thread(self._models.looks.count, job.model, outcome.evaluation.test_split)
        evaluation = replace(outcome.evaluation, test_split_looks=looks)
        return {"version": version, "evaluation": evaluation, "dataset_report": outcome.dataset_report, "gate": outcome.gate}

    def _counted(self, job: Job, scored: EvaluationOutcome) -> EvaluationOutcome:
        """Takes down that an evaluation has looked at a test split, once for each version, and says how often that was done."""
        looks, first = self._models.looks, ModelRef(job.model, version=job.version)
        for ref in (first, *(one.version for one in scored.comparisons)):
            looks.add(ref.model, scored.evaluation.test_split, ref.version or 0, job.id)

        def counted(model: str, evaluation: Evaluation) -> Evaluation:
            return replace(evaluation, test_split_looks=looks.count(model, evaluation.test_split))

        comparisons = tuple(replace(one, evaluation=counted(one.version.model, one.evaluation)) for one in scored.comparisons)
        return EvaluationOutcome(evaluation=counted(job.model, scored.evaluation), comparisons=comparisons)

    async def _publish(self, job: Job, lease: Lease, made: Path, gate: Gate | None) -> int | None:
        """Publishes the bundle and moves its alias; waits for a disk that is full. Returns None if cancelled meanwhile."""
        latest = job.progress or Progress(stage="publish")
        publishing = replace(latest, stage="publish", stage_fraction=0.0, images_per_second=0.0, time_left=None, loss=None)
        await self._report(lease, progress=publishing)
        tries = 0
        while not (await self._ledger.update(lease)).cancelling:  # changes nothing, but only for the holder of the lease
            try:
                version, unmoved = await asyncio.to_thread(self._publish_once, job, made, gate)
            except StorageFailed as error:
                delay = _RETRY_SECONDS[min(tries, len(_RETRY_SECONDS) - 1)]
                self._log.warning("version could not be published yet", error=redacted(error.message))
                message = f"{error.message} The finished model is kept, and published as soon as that is possible."
                if tries == 0:
                    await self._report(lease, message=message)
                tries += 1
                await asyncio.sleep(delay)
            else:
                if unmoved:
                    self._log.warning("alias not moved", version=version, error=unmoved)
                    await self._report(lease, message=f"Version {version} is published. {unmoved}")
                return version
        return None

    def _publish_once(self, job: Job, made: Path, gate: Gate | None) -> tuple[int, str]:
        """Returns the version, and why its alias was not moved; "" where it was, or was not to be."""
        version = self._models.publish(job.model, made, job.id, job.attempt)
        self._models.looks.add(job.model, read_manifest((made / MANIFEST).read_bytes()).evaluation.test_split, version, job.id)
        alias = job.alias
        if alias is None and self._models.aliases.get(job.model, PRODUCTION) is None:
            alias = PRODUCTION  # a model's first version serves; later ones wait to be chosen
        if alias is not None:
            if gate is not None and (closed := self._closed(job, alias, version, gate)):
                return version, closed
            told = gate.findings if gate is not None else ()
            try:
                self._models.promote(
                    job.model, alias, version, actor=f"job {job.id}", reason="published by its training", told=told
                )
            except (PromotionRefused, AliasConflict) as error:  # the version is sound, and stays
                return version, error.message
        return version, ""

    def _closed(self, job: Job, alias: str, version: int, gate: Gate) -> str:
        """Returns why the regression gate does not let an alias move; "" where it does."""
        place, made = f"{job.model}@{alias}", f"{job.model}/{version}"
        way = f"eyas models alias {job.model} {alias} {version}"
        holder = self._models.aliases.get(job.model, alias)
        if holder is not None and holder.version not in (version, gate.base.version) and gate.base.model == job.model:
            return (
                f"{place} stays where it is: it points to {job.model}/{holder.version}, and {made} was compared with {gate.base}. "
                f"Compare the two (eyas compare {job.model}/{holder.version} {made}), and move it by hand: {way}."
            )
        if gate.passed:
            return ""
        why = "; ".join(finding.sentence for finding in gate.findings if not finding.met)
        return (
            f"{place} stays where it is, as the regression gate refuses {made}: {why}. Look through the labels of what was "
            f"captured (eyas captured {gate.base.model}), label more, and train again; or, if you know better, move it: {way}."
        )

    async def _report(self, lease: Lease, **what: Any) -> None:
        await self._ledger.record(lease, [JobEvent(0, datetime.now(UTC), **what)], None)
