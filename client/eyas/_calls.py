"""Every call of the contract as a value: where it goes, what it sends, and what its answer means.

The synchronous and the asynchronous client differ only in how they carry a call out, so what a call is stands here, once.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

from google.protobuf.message import Message

from eyas import _convert
from eyas._channel import DEFAULT_TIMEOUT_SECONDS, MAX_MESSAGE_BYTES
from eyas._errors import EyasError, InvalidArgument, JobCancelled, JobFailed, UndecodableImage
from eyas._policy import Policy, policy, policy_message
from eyas._report import Report
from eyas._settings import SettingValue, training_spec
from eyas._traffic import Canary, Shadow, Traffic, traffic, traffic_message
from eyas._types import Alias, Classification, Job, JobEvent, JobState, Model, ModelVersion, Priority
from eyas.v1 import classification_service_pb2 as classification_pb2
from eyas.v1 import evaluation_pb2, job_service_pb2, model_service_pb2, training_service_pb2

T = TypeVar("T")
Image = bytes | str | os.PathLike[str]

MAX_IMAGES: Final = 64
MAX_EXPLAINED: Final = 8
# Two MiB below the limit of a message: the names around the pictures need a little.
_MAX_IMAGES_BYTES: Final = MAX_MESSAGE_BYTES - 2 * 1024 * 1024
IN_FLIGHT: Final = 4


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
    dataset: str | os.PathLike[str],
    model: str,
    *,
    preset: str,
    budget: float | timedelta | None,
    alias: str | None,
    base_version: str | None,
    request_id: str | None,
    settings: Mapping[str, SettingValue],
) -> Call[Job]:
    """Train. Raises InvalidArgument for a setting that does not exist or has a wrong value."""
    asked: dict[str, SettingValue] = {"preset": preset, **settings}
    if budget is not None:
        asked["budget"] = budget
    request = training_service_pb2.TrainRequest(
        model=_convert.model_resource(model),
        dataset=os.fspath(dataset),
        spec=training_spec(asked),
        alias=alias or "",
        request_id=request_id or uuid.uuid4().hex,
        base_version=_convert.reference_resource(base_version) if base_version else "",
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


def list_models(token: str) -> Call[Page[Model]]:
    """ListModels, one page."""
    request = model_service_pb2.ListModelsRequest(page_token=token)
    return Call(
        "/eyas.v1.ModelService/ListModels",
        request,
        model_service_pb2.ListModelsResponse,
        lambda r: ([_convert.model(one) for one in r.models], r.next_page_token),
    )


def get_model(model: str) -> Call[Model]:
    """GetModel."""
    request = model_service_pb2.GetModelRequest(name=_convert.model_resource(model))
    return Call("/eyas.v1.ModelService/GetModel", request, model_service_pb2.GetModelResponse, lambda r: _convert.model(r.model))


def list_model_versions(model: str, token: str) -> Call[Page[ModelVersion]]:
    """ListModelVersions, one page."""
    request = model_service_pb2.ListModelVersionsRequest(parent=_convert.model_resource(model), page_token=token)
    return Call(
        "/eyas.v1.ModelService/ListModelVersions",
        request,
        model_service_pb2.ListModelVersionsResponse,
        lambda r: ([_convert.model_version(one) for one in r.versions], r.next_page_token),
    )


def get_model_version(model: str, *, verify: bool) -> Call[ModelVersion]:
    """GetModelVersion."""
    request = model_service_pb2.GetModelVersionRequest(name=_convert.reference_resource(model), verify=verify)
    return Call(
        "/eyas.v1.ModelService/GetModelVersion",
        request,
        model_service_pb2.GetModelVersionResponse,
        lambda r: _convert.model_version(r.version),
    )


def get_report(model: str) -> Call[Report]:
    """GetReport."""
    request = model_service_pb2.GetReportRequest(name=_convert.reference_resource(model))
    return Call(
        "/eyas.v1.ModelService/GetReport",
        request,
        model_service_pb2.GetReportResponse,
        lambda r: Report(_convert.short(r.version), r.html.decode()),
    )


def delete_model_version(model: str, version: int) -> Call[None]:
    """DeleteModelVersion."""
    request = model_service_pb2.DeleteModelVersionRequest(name=_convert.reference_resource(f"{model}/{version}"))
    method = "/eyas.v1.ModelService/DeleteModelVersion"
    return Call(method, request, model_service_pb2.DeleteModelVersionResponse, lambda _: None)


def set_alias(model: str, alias: str, version: int, reason: str, *, force: bool) -> Call[Alias]:
    """SetAlias."""
    request = model_service_pb2.SetAliasRequest(
        name=_convert.reference_resource(f"{model}@{alias}"),
        version=_convert.reference_resource(f"{model}/{version}"),
        reason=reason,
        force=force,
    )
    return Call("/eyas.v1.ModelService/SetAlias", request, model_service_pb2.SetAliasResponse, lambda r: _convert.alias(r.alias))


def get_policy(model: str) -> Call[Policy]:
    """GetPolicy."""
    request = model_service_pb2.GetPolicyRequest(name=f"{_convert.model_resource(model)}/policy")
    return Call("/eyas.v1.ModelService/GetPolicy", request, model_service_pb2.GetPolicyResponse, lambda r: policy(r.policy))


def set_policy(
    model: str,
    aliases: Iterable[str],
    at_least: Mapping[str, float],
    at_most: Mapping[str, float],
    max_label_drop: float | None,
    required_variants: Iterable[str] = (),
    *,
    no_significant_loss: bool = False,
) -> Call[Policy]:
    """SetPolicy."""
    name = f"{_convert.model_resource(model)}/policy"
    asked = policy_message(
        name, aliases, at_least, at_most, max_label_drop, required_variants, no_significant_loss=no_significant_loss
    )
    request = model_service_pb2.SetPolicyRequest(policy=asked)
    return Call("/eyas.v1.ModelService/SetPolicy", request, model_service_pb2.SetPolicyResponse, lambda r: policy(r.policy))


def rollback_alias(model: str, alias: str, reason: str, expected: int | None) -> Call[Alias]:
    """RollbackAlias."""
    request = model_service_pb2.RollbackAliasRequest(
        name=_convert.reference_resource(f"{model}@{alias}"),
        reason=reason,
        expected_version=_convert.reference_resource(f"{model}/{expected}") if expected is not None else "",
    )
    method = "/eyas.v1.ModelService/RollbackAlias"
    return Call(method, request, model_service_pb2.RollbackAliasResponse, lambda r: _convert.alias(r.alias))


def list_alias_records(model: str, alias: str, time: datetime | None, token: str) -> Call[Page[Alias]]:
    """ListAliasRecords, one page."""
    request = model_service_pb2.ListAliasRecordsRequest(parent=_convert.reference_resource(f"{model}@{alias}"), page_token=token)
    if time is not None:
        request.time.FromDatetime(time)
    return Call(
        "/eyas.v1.ModelService/ListAliasRecords",
        request,
        model_service_pb2.ListAliasRecordsResponse,
        lambda r: ([_convert.alias(one) for one in r.records], r.next_page_token),
    )


def get_traffic(model: str) -> Call[Traffic]:
    """GetTraffic."""
    request = model_service_pb2.GetTrafficRequest(name=f"{_convert.model_resource(model)}/traffic")
    return Call("/eyas.v1.ModelService/GetTraffic", request, model_service_pb2.GetTrafficResponse, lambda r: traffic(r.traffic))


def set_traffic(model: str, canary: Canary | None, shadow: Shadow | None, reason: str, expected: int | None) -> Call[Traffic]:
    """SetTraffic."""
    request = model_service_pb2.SetTrafficRequest(
        traffic=traffic_message(model, canary, shadow), reason=reason, expected_record=expected
    )
    return Call("/eyas.v1.ModelService/SetTraffic", request, model_service_pb2.SetTrafficResponse, lambda r: traffic(r.traffic))


def list_traffic_records(model: str, token: str) -> Call[Page[Traffic]]:
    """ListTrafficRecords, one page."""
    request = model_service_pb2.ListTrafficRecordsRequest(parent=f"{_convert.model_resource(model)}/traffic", page_token=token)
    return Call(
        "/eyas.v1.ModelService/ListTrafficRecords",
        request,
        model_service_pb2.ListTrafficRecordsResponse,
        lambda r: (list(map(traffic, r.records)), r.next_page_token),
    )


def read_image(image: Image) -> bytes:
    """Returns a picture's encoded bytes, which are given or read from a file.

    Raises:
        UndecodableImage: there is no such file, it cannot be read, or it does not fit into a message.
    """
    try:
        content = image if isinstance(image, bytes) else Path(image).read_bytes()
    except OSError as error:
        raise UndecodableImage(f"{error.filename} cannot be read: {error.strerror}.", reason="UNREADABLE_FILE") from None
    if len(content) > _MAX_IMAGES_BYTES:
        message = f"The picture has {len(content):,} bytes, which do not fit into a message of 32 MiB: send a smaller copy."
        raise UndecodableImage(message, reason="IMAGE_TOO_LARGE")
    return content


def batches(
    images: Sequence[Image], results: list[Classification | EyasError | None], *, explain: bool = False
) -> Iterator[tuple[list[int], list[bytes]]]:
    """Splits pictures into requests below the limits, reading each file only when its request is due.

    Args:
        images: in the caller's order.
        results: one place a picture; a picture that cannot be sent gets its error there.
        explain: whether the answers shall hold explanations, so that fewer fit into a message.

    Yields:
        For each request, where its pictures stand in `images`, and their bytes.
    """
    most = MAX_EXPLAINED if explain else MAX_IMAGES
    places: list[int] = []
    contents: list[bytes] = []
    size = 0
    for place, image in enumerate(images):
        try:
            content = read_image(image)
        except UndecodableImage as error:
            results[place] = error
            continue
        if contents and (len(contents) == most or size + len(content) > _MAX_IMAGES_BYTES):
            yield places, contents
            places, contents, size = [], [], 0
        places.append(place)
        contents.append(content)
        size += len(content)
    if contents:
        yield places, contents


def whole(results: Sequence[Classification | EyasError | None]) -> list[Classification | EyasError]:
    """Returns the results, of which none is missing."""
    return [result for result in results if result is not None]


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
