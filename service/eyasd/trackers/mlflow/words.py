"""What a job is in the words of MLflow: its run's name, status, tags and params. Pure.

tags     eyas.job, eyas.type, eyas.model, eyas.dataset, eyas.attempt, eyas.owner, eyas.setback, eyas.error, eyas.version; and of a
         version eyas.dataset_digest, eyas.code_version, eyas.backbone, eyas.device
params   asked.NAME, what the caller asked for; and of a version NAME, what was used
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from eyasd.core.bundle import Manifest
from eyasd.core.jobs import Job, JobState, JobType
from eyasd.trackers.story import Metric, asked

JOB: Final = "eyas.job"
STATUSES: Final = {
    JobState.QUEUED: "SCHEDULED",
    JobState.STARTING: "RUNNING",
    JobState.RUNNING: "RUNNING",
    JobState.INTERRUPTED: "SCHEDULED",
    JobState.SUCCEEDED: "FINISHED",
    JobState.FAILED: "FAILED",
    JobState.CANCELLED: "KILLED",
}
_MOST_CHARACTERS: Final = 500  # of a value, in the versions of MLflow that take the least


def run_name(job: Job) -> str:
    """Returns what a person sees of a job's run."""
    name = f"{job.model}/{job.version}" if job.version else f"{job.model} {job.id}"
    return name if job.type is JobType.TRAINING else f"{name} on {job.dataset}"


def milliseconds(time: datetime) -> int:
    """Returns the time as MLflow has it, since 1970."""
    return round(time.timestamp() * 1000)


def pairs(values: Mapping[str, object]) -> list[dict[str, str]]:
    """Returns tags or params as MLflow has them, without those that say nothing."""
    return [{"key": key, "value": str(value)[:_MOST_CHARACTERS]} for key, value in values.items() if value not in (None, "")]


def figures(metrics: tuple[Metric, ...]) -> list[dict[str, Any]]:
    """Returns figures as MLflow has them."""
    return [{"key": one.name, "value": one.value, "timestamp": milliseconds(one.time), "step": one.step} for one in metrics]


def job_tags(job: Job) -> dict[str, object]:
    """Returns what is known of a job from its row."""
    return {
        JOB: job.id,
        "eyas.type": job.type,
        "eyas.model": job.model,
        "eyas.dataset": job.dataset,
        "eyas.attempt": job.attempt,
        "eyas.owner": job.owner,
        "mlflow.user": job.owner,
        "mlflow.source.name": "eyas",
        "eyas.setback": job.setback,
        "eyas.error": f"{job.error.reason}: {job.error.message}" if job.error else "",
        "eyas.version": job.version,
    }


def dataset(job: Job, digest: str) -> dict[str, str]:
    """Returns a job's dataset as MLflow has them, by as much of its digest as goes there."""
    source = json.dumps({"uri": job.dataset})
    return {"name": job.dataset[:_MOST_CHARACTERS], "digest": digest[:36], "source_type": "eyas", "source": source}


def description(manifest: Manifest) -> str:
    """Returns what a version has scored, in a sentence."""
    scored = manifest.evaluation
    low, high = scored.accuracy_interval
    found = f"Accuracy {scored.accuracy:.1%} ({low:.1%} to {high:.1%}) on {scored.examples} test pictures"
    return f"{found}, by {manifest.lineage.backbone}."


def asked_params(job: Job) -> dict[str, object]:
    """Returns what the caller asked for."""
    if job.type is JobType.TRAINING:
        return {f"asked.{name}": value for name, value in asked(job).items()}
    return {"asked.split": job.split, "asked.others": ", ".join(map(str, job.others))}


def version_tags(manifest: Manifest) -> dict[str, object]:
    """Returns what is known of a version."""
    lineage = manifest.lineage
    return {
        "eyas.code_version": lineage.code_version,
        "eyas.backbone": lineage.backbone,
        "eyas.device": lineage.device,
        "eyas.weights_source": lineage.weights_source,
        "eyas.base_version": lineage.base_version,
        "eyas.dataset_digest": manifest.dataset_report.digest,
    }


def used_params(manifest: Manifest) -> dict[str, object]:
    """Returns what a version was trained with."""
    return {**manifest.lineage.recipe, "backbone": manifest.lineage.backbone, "seed": manifest.lineage.seed}
