"""A job's folder, from the scheduler's side: what the process is told, what it said last, what stays when the job has ended."""

from __future__ import annotations

import shutil
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from eyasd.core import bundle, document, jobdir, room
from eyasd.core.answers import ANSWERS
from eyasd.core.errors import StorageFailed
from eyasd.core.jobs import Job
from eyasd.core.names import ModelRef, names_upload, parse_dataset_ref
from eyasd.core.tasks import EvaluationTask, InspectionTask, SharedCache, Sources, TrainingTask
from eyasd.registry.datasets import Datasets
from eyasd.registry.frozen import Frozen
from eyasd.registry.models import Models

# What a person may ask about an ended job. The pictures, features and checkpoints go.
_KEPT: Final = frozenset(
    {
        jobdir.TRAINING,
        jobdir.EVALUATION,
        jobdir.INSPECTION,
        jobdir.UPLOADED,
        jobdir.PROGRESS,
        jobdir.RESULT,
        jobdir.ERROR,
        jobdir.LOG,
    }
)


def prepare(
    job_dir: Path,
    job: Job,
    models: Models,
    datasets: Datasets,
    weights: Path | None,
    hub: bool,
    cache: SharedCache | None,
    sources: Sources,
    frozen: Frozen | None = None,
) -> None:
    """Writes what the process is told. A folder left by an earlier attempt keeps its checkpoints.

    Args:
        job_dir: made if need be.
        job: about to run.
        models: where the versions come from that are evaluated, started from or retraced.
        datasets: where the job's is, if it was uploaded.
        weights: file or folder of pre-trained weights given by the operator.
        hub: whether weights may be downloaded.
        cache: of decoded pictures, which jobs share.
        sources: where datasets come from.
        frozen: lists of captured pictures; None where no job adds any.

    Raises:
        StorageFailed: the folder cannot be written.
        BrokenBundle: one of them is damaged.
        UploadNotFound: the dataset was deleted meanwhile.
    """
    try:
        job_dir.mkdir(parents=True, exist_ok=True)
        for left in (jobdir.ERROR, jobdir.PULSE):
            (job_dir / left).unlink(missing_ok=True)
        if names_upload(job.dataset):
            (job_dir / jobdir.UPLOADED).write_text(document.dump(datasets.locate(parse_dataset_ref(job.dataset, "dataset"))))
        if job.spec is not None:
            training = TrainingTask(
                job=job.id,
                attempt=job.attempt,
                model=job.model,
                dataset=job.dataset,
                spec=job.spec,
                weights=str(weights) if weights else None,
                hub=hub,
                deadline=datetime.now(UTC) + job.spec.budget - job.worked if job.spec.budget else None,
                base_version=job.base_version,
                cache=cache,
                micro_batches=job.micro_batches,
                sources=sources,
                trace=job.trace,
            )
            if job.base_version is not None:
                _lay_out_base(job_dir, job.base_version, job.spec.add_captured, models, frozen)
            (job_dir / jobdir.TRAINING).write_text(document.dump(training))
        elif job.inspection is not None:
            inspection = InspectionTask(
                job=job.id,
                attempt=job.attempt,
                dataset=job.dataset,
                spec=job.inspection,
                weights=str(weights) if weights else None,
                hub=hub,
                cache=cache,
                sources=sources,
            )
            if job.inspection.version is not None:
                _lay_out_retraced(job_dir, job.inspection.version, models, frozen)
            (job_dir / jobdir.INSPECTION).write_text(document.dump(inspection))
        else:
            places = {job_dir / jobdir.BUNDLE: ModelRef(job.model, version=job.version)}
            places |= {job_dir / jobdir.OTHERS / str(number): other for number, other in enumerate(job.others, 1)}
            for place, ref in places.items():
                _lay_out_version(place, ref, (bundle.MODEL, ANSWERS), models)
            evaluation = EvaluationTask(
                job=job.id,
                attempt=job.attempt,
                model=str(ModelRef(job.model, version=job.version)),
                dataset=job.dataset,
                others=job.others,
                split=job.split,
                sources=sources,
            )
            (job_dir / jobdir.EVALUATION).write_text(document.dump(evaluation))
    except OSError as error:
        raise unwritable(job_dir, error) from error


def unwritable(job_dir: Path, error: OSError) -> StorageFailed:
    """Returns what to tell where a job's folder could not be written."""
    return StorageFailed(
        f"The job's folder could not be written: {room.told(error, job_dir)}. Free the disk of data_dir, then try again."
    )


def _lay_out_base(job_dir: Path, base: ModelRef, added: str | None, models: Models, frozen: Frozen | None) -> None:
    """Writes the version that a training starts from, and the captured pictures that it adds."""
    needed = (bundle.WEIGHTS, bundle.MODEL, ANSWERS) if added else (bundle.WEIGHTS,)
    _lay_out_version(job_dir / jobdir.BASE, base, needed, models)
    if added and frozen is not None:
        frozen.lay_out(base.model, added, job_dir / jobdir.CAPTURED)


def _lay_out_retraced(job_dir: Path, version: ModelRef, models: Models, frozen: Frozen | None) -> None:
    """Writes what is known of a version's training, and what decided its split where that added captured pictures."""
    _lay_out_version(job_dir / jobdir.BASE, version, (), models)
    lineage = models.manifest(version.model, version.version or 0).lineage
    added, base = lineage.spec.add_captured if lineage.spec else None, lineage.base_version
    if added and base is not None and frozen is not None:
        frozen.lay_out(base.model, added, job_dir / jobdir.CAPTURED)
        with (job_dir / jobdir.CAPTURED / ANSWERS).open("wb+") as content:
            models.fetch_into(base.model, base.version or 0, ANSWERS, content)


def _lay_out_version(place: Path, ref: ModelRef, files: tuple[str, ...], models: Models) -> None:
    """Writes a version's manifest, and those of the files that it has."""
    version = ref.version or 0
    manifest = models.manifest(ref.model, version)
    place.mkdir(parents=True, exist_ok=True)
    for file in files:
        if file in manifest.files:
            with (place / file).open("wb+") as content:
                models.fetch_into(ref.model, version, file, content)
    (place / bundle.MANIFEST).write_text(document.dump(manifest))


def uncleared(jobs_dir: Path) -> list[str]:
    """Returns the jobs whose folders hold more than what stays of an ended job."""
    with suppress(FileNotFoundError):  # there was no job yet; or one is cleared at this moment
        return [one.name for one in jobs_dir.iterdir() if one.is_dir() and any(entry.name not in _KEPT for entry in one.iterdir())]
    return []


def clear(job_dir: Path) -> None:
    """Removes what an ended job needs no more."""
    if not job_dir.is_dir():
        return
    for entry in job_dir.iterdir():
        if entry.name in _KEPT:
            continue
        if entry.is_dir():
            shutil.rmtree(entry, ignore_errors=True)
        else:
            entry.unlink(missing_ok=True)
