"""Every call of the contract as a value: where it goes, what it sends, and what its answer means.

The synchronous and the asynchronous client differ only in how they carry a call out, so what a call is stands here, once.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Generic, TypeVar

from google.protobuf.message import Message

from eyas import _convert
from eyas._channel import DEFAULT_TIMEOUT_SECONDS
from eyas._errors import EyasError, InvalidArgument, JobCancelled, JobFailed
from eyas._settings import SettingValue, training_spec
from eyas._types import Classification, Job, JobEvent, JobState, Priority
from eyas.v1 import classification_service_pb2 as classification_pb2
from eyas.v1 import evaluation_pb2, job_service_pb2, training_service_pb2

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """One call.

    Attributes:
        method: its path, such as `/eyas.v1.JobService/GetJob`.
        request: what is sent.
        response: the message that comes back.
        convert: what it means to a caller.
    """

    method: str
    request: Message
    response: type[Message]
    convert: Callable[[Any], T]


Page = tuple[list[T], str]


def train(
    dataset: str | os.PathLike[str] | None,
    model: str | None,
    *,
    preset: str,
    budget: float | timedelta | None,
    alias: str | None,
    base_version: str | None,
    priority: Priority,
    request_id: str | None,
    settings: Mapping[str, SettingValue | None],
) -> Call[Job]:
    """Train; without a model it is the base version's. Raises InvalidArgument for a setting that does not exist or is wrong."""
    if model is None and base_version is None:
        raise InvalidArgument("Neither a model nor a base version is named: name the model that is to get a version.")
    name = model or _convert.short(_convert.reference_resource(base_version or "")).partition("@")[0].partition("/")[0]
    asked: dict[str, SettingValue | None] = {"preset": preset, **settings}
    if budget is not None:
        asked["budget"] = budget
    request = training_service_pb2.TrainRequest(
        model=_convert.model_resource(name),
        dataset=os.fspath(dataset) if dataset is not None else "",
        spec=training_spec(asked),
        alias=alias or "",
        request_id=request_id or uuid.uuid4().hex,
        base_version=_convert.reference_resource(base_version) if base_version else "",
        priority=f"JOB_PRIORITY_{Priority(priority).name}",
    )
    return Call("/eyas.v1.TrainingService/Train", request, training_service_pb2.TrainResponse, lambda r: _convert.job(r.job))


def evaluate(
    model: str, dataset: str | os.PathLike[str] | None, others: Iterable[str], split: str | None, request_id: str | None
) -> Call[Job]:
    """Evaluate; one name as text is one of the others. Raises InvalidArgument for a split that does not exist."""
    splits = {name.removeprefix("SPLIT_").lower(): number for name, number in evaluation_pb2.Split.items() if number}
    if split is not None and split not in splits:
        raise InvalidArgument(f"{split!r} is not a split: use one of {', '.join(splits)}.")
    request = training_service_pb2.EvaluateRequest(
        model=_convert.reference_resource(model),
        dataset=os.fspath(dataset) if dataset is not None else "",
        request_id=request_id or uuid.uuid4().hex,
        other_models=map(_convert.reference_resource, [others] if isinstance(others, str) else others),
        split=evaluation_pb2.Split.Name(splits[split]) if split is not None else None,
    )
    return Call("/eyas.v1.TrainingService/Evaluate", request, training_service_pb2.EvaluateResponse, lambda r: _convert.job(r.job))


def compare(
    first: str, second: str, dataset: str | os.PathLike[str] | None, split: str | None, request_id: str | None
) -> Call[Job]:
    """Evaluate of two versions; where nothing says on what, on the first one's test split."""
    return evaluate(first, dataset, (second,), split or ("test" if dataset is None else None), request_id)


def inspect(dataset: str | os.PathLike[str], backbone: str | None, seed: int, request_id: str | None) -> Call[Job]:
    """InspectDataset."""
    request = training_service_pb2.InspectDatasetRequest(
        dataset=os.fspath(dataset), backbone=backbone or "", seed=seed, request_id=request_id or uuid.uuid4().hex
    )
    method = "/eyas.v1.TrainingService/InspectDataset"
    return Call(method, request, training_service_pb2.InspectDatasetResponse, lambda r: _convert.job(r.job))


def retrace(version: str, dataset: str | os.PathLike[str] | None, request_id: str | None) -> Call[Job]:
    """InspectDataset, of the training of a version."""
    request = training_service_pb2.InspectDatasetRequest(
        dataset=os.fspath(dataset) if dataset else "",
        version=_convert.reference_resource(version),
        request_id=request_id or uuid.uuid4().hex,
    )
    method = "/eyas.v1.TrainingService/InspectDataset"
    return Call(method, request, training_service_pb2.InspectDatasetResponse, lambda r: _convert.job(r.job))


def classify(
    model: str,
    images: Sequence[bytes],
    top_k: int,
    *,
    allow_unknown: bool = False,
    explain: bool = False,
    priority: Priority = Priority.NORMAL,
    routing_key: str = "",
) -> Call[list[Classification | EyasError]]:
    """Classify."""
    request = classification_pb2.ClassifyRequest(
        model=_convert.reference_resource(model),
        images=[classification_pb2.Image(content=image) for image in images],
        top_k=top_k,
        allow_unknown=allow_unknown,
        explain=explain,
        priority=_priority(priority),
        routing_key=routing_key,
    )
    method = "/eyas.v1.ClassificationService/Classify"
    return Call(method, request, classification_pb2.ClassifyResponse, _convert.classifications)


def classify_stream(
    model: str,
    top_k: int,
    *,
    allow_unknown: bool = False,
    explain: bool = False,
    priority: Priority = Priority.NORMAL,
    routing_key: str = "",
    picture_timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS,
) -> Call[tuple[str, Classification | EyasError]]:
    """ClassifyStream; `request` is the first message, `convert` is for each message of the stream."""
    options = classification_pb2.ClassifyStreamOptions(
        model=_convert.reference_resource(model),
        top_k=top_k,
        allow_unknown=allow_unknown,
        explain=explain,
        priority=_priority(priority),
        routing_key=routing_key,
    )
    options.picture_timeout.FromTimedelta(timedelta(seconds=picture_timeout_seconds))
    request = classification_pb2.ClassifyStreamRequest(options=options)
    method = "/eyas.v1.ClassificationService/ClassifyStream"
    return Call(method, request, classification_pb2.ClassifyStreamResponse, _convert.streamed)


def _priority(priority: Priority) -> classification_pb2.Priority:
    return classification_pb2.Priority.Value(f"PRIORITY_{Priority(priority).name}")  # type: ignore[return-value] # an int, says its stub


def get_job(job: str) -> Call[Job]:
    """GetJob."""
    request = job_service_pb2.GetJobRequest(name=_convert.job_resource(job))
    return Call("/eyas.v1.JobService/GetJob", request, job_service_pb2.GetJobResponse, lambda r: _convert.job(r.job))


def cancel_job(job: str) -> Call[Job]:
    """CancelJob."""
    request = job_service_pb2.CancelJobRequest(name=_convert.job_resource(job))
    return Call("/eyas.v1.JobService/CancelJob", request, job_service_pb2.CancelJobResponse, lambda r: _convert.job(r.job))


def pause_job(job: str) -> Call[Job]:
    """PauseJob."""
    request = job_service_pb2.PauseJobRequest(name=_convert.job_resource(job))
    return Call("/eyas.v1.JobService/PauseJob", request, job_service_pb2.PauseJobResponse, lambda r: _convert.job(r.job))


def resume_job(job: str) -> Call[Job]:
    """ResumeJob."""
    request = job_service_pb2.ResumeJobRequest(name=_convert.job_resource(job))
    return Call("/eyas.v1.JobService/ResumeJob", request, job_service_pb2.ResumeJobResponse, lambda r: _convert.job(r.job))


def list_jobs(token: str) -> Call[Page[Job]]:
    """ListJobs, one page."""
    request = job_service_pb2.ListJobsRequest(page_token=token)
    return Call(
        "/eyas.v1.JobService/ListJobs",
        request,
        job_service_pb2.ListJobsResponse,
        lambda r: ([_convert.job(one) for one in r.jobs], r.next_page_token),
    )


def watch_job(job: str, from_sequence: int) -> Call[JobEvent]:
    """WatchJob; `convert` is for each message of the stream."""
    request = job_service_pb2.WatchJobRequest(name=_convert.job_resource(job), from_sequence=from_sequence)
    return Call("/eyas.v1.JobService/WatchJob", request, job_service_pb2.WatchJobResponse, _convert.event)


def concluded(job: Job) -> Job:
    """Returns a job that has succeeded.

    Raises:
        JobFailed: it has failed; the message and the reason are the job's.
        JobCancelled: it was cancelled.
    """
    if job.state is JobState.CANCELLED:
        raise JobCancelled(f"Job {job.id} was cancelled.", reason="JOB_CANCELLED", metadata={"job": job.id})
    if job.error is not None:
        raise JobFailed(job.error.message, reason=job.error.reason, metadata={"job": job.id, **job.error.metadata})
    return job
