"""What callers ask for, made into jobs: names are looked up once, and what can never be done is refused at once."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

from eyasd.core import document
from eyasd.core.answers import Split
from eyasd.core.jobs import Job, JobPriority, JobType
from eyasd.core.names import ModelRef
from eyasd.core.spec import InspectionSpec, TrainSpec
from eyasd.jobs.ledger import Ledger
from eyasd.jobs.references import References
from eyasd.registry.frozen import Frozen
from eyasd.registry.models import Models


class Intake:
    """Takes requests for jobs, and hands them to the ledger. Belongs to one event loop."""

    def __init__(self, ledger: Ledger, models: Models, frozen: Frozen, roots: Sequence[str] | None = ()) -> None:
        """Begins.

        Args:
            ledger: of the jobs.
            models: that requests name.
            frozen: lists of the captured pictures that trainings add.
            roots: below which datasets must lie, see `core.places`; None lets uploaded ones alone be read.
        """
        self._ledger = ledger
        self._references = References(models, ledger.datasets, frozen, roots)

    async def train(
        self,
        *,
        model: str,
        dataset: str,
        spec: TrainSpec,
        alias: str | None,
        request_id: str | None,
        base: ModelRef | None = None,
        priority: JobPriority = JobPriority.NORMAL,
        owner: str = "",
        principal: str = "",
    ) -> Job:
        """Accepts a training, which starts from the weights of the version that `base` names now.

        It makes the variants that the model's policy demands, asked for or not. One that adds captured pictures has those that are
        labelled now; by default its dataset is that of the base, and the alias that names the base is to move to what it makes.

        Raises:
            InvalidArgument: the dataset is none that is read, or lies where it may not; or the base version has
                no weights, or others than the specification asks for; or there are no captured pictures to add.
            NotFound: the path leads nowhere, or there is no such base version.
            RequestIdReused: the request id belongs to another request.
            QuotaExceeded: as many jobs of the owner wait as may.
        """
        version = await asyncio.to_thread(self._references.base_version, base, spec) if base else None
        frozen = await asyncio.to_thread(self._references.frozen, version, spec)
        own = spec.add_captured and version and not dataset
        moved = base.alias if spec.add_captured and base and base.model == model else None
        job = Job(
            id=_new_id(),
            type=JobType.TRAINING,
            create_time=datetime.now(UTC),
            model=model,
            dataset=await asyncio.to_thread(self._references.own_dataset, version) if own and version else dataset,
            spec=await asyncio.to_thread(self._references.with_demanded_variants, model, frozen),
            alias=alias or moved,
            base_version=version,
            priority=priority,
            owner=owner,
        )
        request = f"train {model} {dataset} {alias} {document.dump(spec)}"
        request += f" from {base}" if base else ""
        request = request if priority is JobPriority.NORMAL else f"{request}, {priority}"
        return await self._submit(job, request_id, request, principal)

    async def evaluate(
        self,
        *,
        ref: ModelRef,
        dataset: str,
        request_id: str | None,
        others: tuple[ModelRef, ...] = (),
        split: Split | None = None,
        owner: str = "",
        principal: str = "",
    ) -> Job:
        """Accepts an evaluation of the version that `ref` names now, and of those that `others` name, beside it.

        Args:
            ref: of the version.
            dataset: to score it on; "" is the one that it was trained on, and wants a split.
            request_id: chosen by the caller; None makes every request a job of its own.
            others: of further versions, each to be compared with the first.
            split: that the version was made with, to score; None is all of the dataset, or its test split.
            owner: who asks.
            principal: see `JobStore.submit`.

        Raises:
            NotFound: there is no such model, alias or version, or the dataset's path leads nowhere.
            InvalidArgument: the dataset is none that is read, or lies where it may not; two names are of one
                version, or versions cannot be compared; or the version did not note its splits.
            RequestIdReused: the request id belongs to another request.
        """
        versions = await asyncio.to_thread(self._references.comparable, (ref, *others))
        job = Job(
            id=_new_id(),
            type=JobType.EVALUATION,
            create_time=datetime.now(UTC),
            model=ref.model,
            version=versions[0].version,
            dataset=await asyncio.to_thread(self._references.dataset_of, versions[0], dataset, split),
            others=versions[1:],
            split=split,
            owner=owner,
        )
        request = f"evaluate {' '.join(map(str, (ref, *others)))} {dataset}"
        return await self._submit(job, request_id, f"{request} {split}" if split else request, principal)

    async def inspect(
        self,
        *,
        dataset: str,
        spec: InspectionSpec,
        request_id: str | None,
        retraced: ModelRef | None = None,
        owner: str = "",
        principal: str = "",
    ) -> Job:
        """Accepts an inspection, or the retracing of the training of the version that `retraced` names now.

        Of a version, `dataset` may be empty for the one it was trained on, and the rest of the specification is the version's.
        Raises as `train`, and BrokenBundle where the version's manifest is damaged.
        """
        request = f"inspect {dataset} {document.dump(spec)}"
        if retraced is not None:
            request = f"{request} as {retraced}"
            dataset, spec = await asyncio.to_thread(self._references.retraced, retraced, dataset)
        job = Job(
            id=_new_id(),
            type=JobType.INSPECTION,
            create_time=datetime.now(UTC),
            model="",
            dataset=dataset,
            inspection=spec,
            owner=owner,
        )
        return await self._submit(job, request_id, request, principal)

    async def _submit(self, job: Job, request_id: str | None, request: str, principal: str) -> Job:
        dataset = await asyncio.to_thread(self._references.named, job.dataset)
        return await self._ledger.accept(replace(job, dataset=dataset), request_id, request, principal)


def _new_id() -> str:
    return secrets.token_hex(5)
