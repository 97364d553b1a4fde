"""Messages of the contract <-> the client's values, and short names <-> resource names. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from eyas import _types as t
from eyas import _unknown, _variants
from eyas._comparison import comparison
from eyas._errors import EyasError, from_status
from eyas._evaluation import evaluation, optional
from eyas._findings import dataset_report
from eyas._gate import gate
from eyas._lineage import bundle_files, conditions, lineage
from eyas._settings import SettingValue, enum_name, settings
from eyas.v1 import classification_service_pb2, evaluation_pb2, job_pb2, job_service_pb2, model_pb2


def model_resource(name: str) -> str:
    """Returns `models/NAME`."""
    return name if name.startswith("models/") else f"models/{name}"


def reference_resource(reference: str) -> str:
    """Returns the resource name of `NAME`, `NAME@ALIAS` or `NAME/VERSION`; a resource name is returned as it is."""
    if reference.startswith("models/"):
        return reference
    if "@" in reference:
        return "models/{}/aliases/{}".format(*reference.split("@", 1))
    if "/" in reference:
        return "models/{}/versions/{}".format(*reference.split("/", 1))
    return f"models/{reference}"


def job_resource(job: str) -> str:
    """Returns `jobs/ID`."""
    return job if job.startswith("jobs/") else f"jobs/{job}"


def short(resource: str) -> str:
    """Returns the name that people use: `clothing`, `clothing/3`, `clothing@production` or a job's id."""
    match resource.split("/"):
        case ["models", model, "versions", version]:
            return f"{model}/{version}"
        case ["models", model, "aliases", alias]:
            return f"{model}@{alias}"
        case ["models" | "jobs", name]:
            return name
    return resource


def _time(message: Message, field: str) -> datetime | None:
    stamp: Timestamp = getattr(message, field)
    return stamp.ToDatetime(UTC) if message.HasField(field) else None


def progress(message: job_pb2.JobProgress) -> t.Progress:
    """Returns the value."""
    newest = message.validation
    return t.Progress(
        stage=message.stage,
        epoch=message.epoch,
        epochs=message.epochs,
        stage_fraction=message.stage_fraction,
        fraction=message.fraction,
        images_per_second=message.images_per_second,
        time_left=message.time_left.ToTimedelta() if message.HasField("time_left") else None,
        loss=message.loss if message.HasField("loss") else None,
        validation=t.EpochMetrics(
            newest.epoch,
            newest.train_loss,
            newest.loss,
            newest.accuracy,
            newest.macro_precision,
            newest.macro_recall,
            newest.macro_f1,
        )
        if message.HasField("validation")
        else None,
    )


def job(message: job_pb2.Job) -> t.Job:
    """Returns the value."""
    training, inspection = message.training, message.inspection
    trained = message.HasField("training")
    version = training.model_version if trained else message.model
    scored = training.evaluation if trained else message.evaluation
    found = training if trained else inspection
    return t.Job(
        id=short(message.name),
        type=t.JobType(enum_name(job_pb2.JobType.DESCRIPTOR, message.type)),
        state=t.JobState(enum_name(job_pb2.JobState.DESCRIPTOR, message.state)),
        create_time=message.create_time.ToDatetime(UTC),
        start_time=_time(message, "start_time"),
        end_time=_time(message, "end_time"),
        attempt=message.attempt,
        model=short(message.model).split("/")[0],
        version=short(version) or None,
        alias=training.alias or None,
        base_version=short(training.base_version) or None,
        dataset=message.dataset,
        settings=settings(training.spec) if trained else _options(inspection),
        progress=progress(message.progress) if message.HasField("progress") else None,
        error=from_status(message.error) if message.HasField("error") else None,
        dataset_report=dataset_report(found.dataset_report) if found.HasField("dataset_report") else None,
        evaluation=evaluation(scored) if message.HasField("evaluation") or training.HasField("evaluation") else None,
        gate=gate(training.gate, short(training.gate.base_version)) if training.HasField("gate") else None,
        conditions=conditions(inspection.conditions) if inspection.HasField("conditions") else None,
        other_versions=tuple(map(short, message.other_versions)),
        split=enum_name(evaluation_pb2.Split.DESCRIPTOR, message.split) if message.split else None,
        comparisons=tuple(comparison(one, short(one.model_version), evaluation(one.evaluation)) for one in message.comparisons),
        priority=_priority(message.priority),
        owner=message.owner,
        waiting_reason=message.waiting_reason,
        expected_start_time=_time(message, "expected_start_time"),
        resume_time=_time(message, "resume_time"),
    )


def _priority(number: int) -> t.Priority:
    """Returns a job's priority; one that only a newer server knows is normal."""
    name = enum_name(job_pb2.JobPriority.DESCRIPTOR, number)
    return t.Priority(name) if name in set(t.Priority) else t.Priority.NORMAL


def _options(inspection: job_pb2.Inspection) -> dict[str, SettingValue]:
    """Returns what is set in what was asked of an inspection."""
    return {field.name: value for field, value in inspection.ListFields() if field.message_type is None}


def event(message: job_service_pb2.WatchJobResponse) -> t.JobEvent:
    """Returns the value."""
    kind = message.WhichOneof("update")
    return t.JobEvent(
        sequence=message.sequence,
        time=message.time.ToDatetime(UTC),
        progress=progress(message.progress) if kind == "progress" else None,
        message=message.message if kind == "message" else None,
        job=job(message.job) if kind == "job" else None,
    )


def alias(message: model_pb2.Alias) -> t.Alias:
    """Returns the value."""
    return t.Alias(
        name=short(message.name),
        version=short(message.version),
        record=message.record,
        update_time=message.update_time.ToDatetime(UTC),
        actor=message.actor,
        reason=message.reason,
        previous_version=short(message.previous_version) if message.previous_version else None,
        undone_record=message.undone_record or None,
        evidence=tuple(message.evidence),
        forced=message.forced,
    )


def model(message: model_pb2.Model) -> t.Model:
    """Returns the value."""
    return t.Model(
        name=short(message.name),
        create_time=message.create_time.ToDatetime(UTC),
        aliases=tuple(alias(one) for one in message.aliases),
        latest_version=short(message.latest_version),
        version_count=message.version_count,
    )


def model_version(message: model_pb2.ModelVersion) -> t.ModelVersion:
    """Returns the value."""
    return t.ModelVersion(
        name=short(message.name),
        create_time=message.create_time.ToDatetime(UTC),
        labels=tuple(message.labels),
        backbone=message.backbone,
        image_size_px=message.image_size_px,
        size_bytes=message.size_bytes,
        sha256=message.sha256,
        evaluation=evaluation(message.evaluation),
        parity=t.Parity(
            message.parity.examples,
            message.parity.max_logit_difference,
            message.parity.mean_logit_difference,
            tuple(message.parity.batch_sizes),
        ),
        job=short(message.job),
        dataset_digest=message.dataset_digest,
        weights_source=message.weights_source,
        serving_state=t.ServingState(enum_name(model_pb2.ServingState.DESCRIPTOR, message.serving_state)),
        serving_error=from_status(message.serving_error) if message.HasField("serving_error") else None,
        base_version=short(message.base_version) or None,
        multi_label=message.multi_label,
        lineage=lineage(message.lineage) if message.HasField("lineage") else None,
        files=bundle_files(message.files),
        unknown=_unknown.unknown_rules(message.unknown) if message.HasField("unknown") else None,
        explainable=message.explainable,
        variants=tuple(map(_variants.variant, message.variants)),
        serving_precision=_variants.precision(message.serving_precision),
    )


def classifications(message: classification_service_pb2.ClassifyResponse) -> list[t.Classification | EyasError]:
    """Returns one value a picture, or the error of a picture that could not be labelled."""
    return [_classification(result, message) for result in message.results]


def streamed(message: classification_service_pb2.ClassifyStreamResponse) -> tuple[str, t.Classification | EyasError]:
    """Returns the id of a picture of a stream, and its labels or its error."""
    return message.id, _classification(message.result, message)


def _classification(
    result: classification_service_pb2.ClassifyResult,
    message: classification_service_pb2.ClassifyResponse | classification_service_pb2.ClassifyStreamResponse,
) -> t.Classification | EyasError:
    if result.HasField("error"):
        return from_status(result.error)
    said, timing = result.classification, message.timing
    return t.Classification(
        tuple(t.Prediction(p.label, p.class_index, p.probability, p.applies) for p in said.predictions),
        short(message.model_version),
        t.Timing(timing.preprocessing.ToTimedelta(), timing.queue.ToTimedelta(), timing.inference.ToTimedelta()),
        message.multi_label,
        unknown=_unknown.unknown(said.unknown) if said.HasField("unknown") else None,
        ood_score=optional(said, "ood_score"),
        explanation=said.explanation.png or None,
        prediction_id=said.prediction_id,
    )


def to_json(value: Any) -> Any:
    """Returns a value of the client as what the json module writes: times in ISO 8601, durations in seconds, errors as objects."""
    match value:
        case EyasError():
            return {
                "type": type(value).__name__,
                "code": value.code.name if value.code else None,
                "reason": value.reason,
                "message": value.message,
                "metadata": dict(value.metadata),
            }
        case datetime():
            return value.isoformat()
        case timedelta():
            return value.total_seconds()
        case Mapping():
            return {key: to_json(item) for key, item in value.items()}
        case list() | tuple():
            return [to_json(item) for item in value]
    slots = getattr(type(value), "__dataclass_fields__", None)
    return {name: to_json(getattr(value, name)) for name in slots} if slots else value
