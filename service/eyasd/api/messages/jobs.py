"""Jobs -> messages of the contract."""

from __future__ import annotations

from typing import Final

from eyas.v1 import job_pb2, job_service_pb2
from eyasd.api.errors import status_of_reason
from eyasd.api.messages.comparison import comparison_message
from eyasd.api.messages.evaluation import evaluation_message
from eyasd.api.messages.findings import dataset_report_message
from eyasd.api.messages.gate import gate_message
from eyasd.api.messages.lineage import conditions_message
from eyasd.api.messages.specification import train_spec_message
from eyasd.api.messages.times import duration, timestamp
from eyasd.api.messages.versions import named
from eyasd.core.errors import InvalidArgument
from eyasd.core.jobs import Job, JobEvent, JobPriority, JobType, Progress, Waiting
from eyasd.core.names import job_name, model_name, version_name

_PRIORITIES: Final = {
    job_pb2.JOB_PRIORITY_UNSPECIFIED: JobPriority.NORMAL,
    job_pb2.JOB_PRIORITY_HIGH: JobPriority.HIGH,
    job_pb2.JOB_PRIORITY_NORMAL: JobPriority.NORMAL,
    job_pb2.JOB_PRIORITY_LOW: JobPriority.LOW,
}


def job_priority(number: int) -> JobPriority:
    """Returns the priority of a request. Raises InvalidArgument."""
    for known, priority in _PRIORITIES.items():
        if number == known:
            return priority
    raise InvalidArgument("priority", f"priority is {number}; it must be HIGH (1), NORMAL (2) or LOW (3).")


def job_message(job: Job, waiting: Waiting | None = None) -> job_pb2.Job:
    """Returns the message of a job, and of why it waits, if it does."""
    message = job_pb2.Job(
        name=job_name(job.id),
        type=f"JOB_TYPE_{job.type.upper()}",
        state=f"JOB_STATE_{job.state.upper()}",
        create_time=timestamp(job.create_time),
        start_time=timestamp(job.start_time),
        end_time=timestamp(job.end_time),
        attempt=job.attempt,
        model=_subject(job),
        dataset=job.dataset,
        progress=progress_message(job.progress) if job.progress else None,
        error=status_of_reason(job.error.reason, job.error.message) if job.error else None,
        split=f"SPLIT_{job.split.upper()}" if job.split else None,
        priority=f"JOB_PRIORITY_{job.priority.upper()}",
        owner=job.owner,
        waiting_reason=waiting.reason if waiting else "",
        expected_start_time=timestamp(waiting.expected_start) if waiting else None,
        resume_time=timestamp(job.resume_time),
        other_versions=[version_name(other.model, other.version or 0) for other in job.others],
        comparisons=[comparison_message(comparison) for comparison in job.comparisons],
    )
    if job.spec is not None:
        message.training.CopyFrom(
            job_pb2.Training(
                spec=train_spec_message(job.spec),
                alias=job.alias or "",
                model_version=version_name(job.model, job.version) if job.version else "",
                dataset_report=dataset_report_message(job.dataset_report) if job.dataset_report else None,
                evaluation=evaluation_message(job.evaluation) if job.evaluation else None,
                base_version=named(job.base_version),
                gate=gate_message(job.gate) if job.gate else None,
            )
        )
    elif job.inspection is not None:
        message.inspection.CopyFrom(
            job_pb2.Inspection(
                backbone=job.inspection.backbone or "",
                seed=job.inspection.seed,
                dataset_report=dataset_report_message(job.dataset_report) if job.dataset_report else None,
                version=named(job.inspection.version),
                conditions=conditions_message(job.conditions) if job.conditions else None,
            )
        )
    elif job.evaluation is not None:
        message.evaluation.CopyFrom(evaluation_message(job.evaluation))
    return message


def _subject(job: Job) -> str:
    """Returns the name of what a job makes or measures."""
    match job.type:
        case JobType.TRAINING:
            return model_name(job.model)
        case JobType.EVALUATION:
            return version_name(job.model, job.version or 0)
        case JobType.INSPECTION:
            return ""


def progress_message(progress: Progress) -> job_pb2.JobProgress:
    """Returns the message."""
    newest = progress.validation
    return job_pb2.JobProgress(
        stage=progress.stage,
        epoch=progress.epoch,
        epochs=progress.epochs,
        stage_fraction=progress.stage_fraction,
        fraction=progress.fraction,
        images_per_second=progress.images_per_second,
        time_left=duration(progress.time_left) if progress.time_left is not None else None,
        loss=progress.loss,
        validation=job_pb2.EpochMetrics(
            epoch=newest.epoch,
            train_loss=newest.train_loss,
            loss=newest.loss,
            accuracy=newest.accuracy,
            macro_precision=newest.macro_precision,
            macro_recall=newest.macro_recall,
            macro_f1=newest.macro_f1,
        )
        if newest
        else None,
    )


def event_message(event: JobEvent, waiting: Waiting | None = None) -> job_service_pb2.WatchJobResponse:
    """Returns the message of an update, and of why its job waits now, if it does."""
    return job_service_pb2.WatchJobResponse(
        sequence=event.sequence,
        time=timestamp(event.time),
        progress=progress_message(event.progress) if event.progress else None,
        message=event.message,
        job=job_message(event.job, waiting) if event.job else None,
    )
