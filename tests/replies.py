"""Messages of the contract, as a daemon would send them: one of each kind, and what a fake server answers."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
from google.rpc import error_details_pb2, status_pb2

from eyas.v1 import (
    capture_pb2,
    dataset_pb2,
    evaluation_pb2,
    feedback_service_pb2,
    job_pb2,
    job_service_pb2,
    lineage_pb2,
    model_pb2,
    model_service_pb2,
    traffic_pb2,
    variant_pb2,
)
from eyas.v1 import classification_service_pb2 as classification_pb2
from fake_server import Refusal

NOW = datetime(2026, 3, 1, 12, 30, tzinfo=UTC)


def evaluation_message(labels: int = 3) -> evaluation_pb2.Evaluation:
    """An evaluation in which each label has 10 pictures, one of which was given the next label."""
    rows = []
    for index in range(labels):
        counts = [0] * labels
        counts[index], counts[(index + 1) % labels] = 9, 1
        rows.append(
            evaluation_pb2.LabelMetrics(
                label=f"label {index}", examples=10, precision=0.9, recall=0.9, f1=0.9, predicted_counts=counts
            )
        )
    return evaluation_pb2.Evaluation(
        examples=10 * labels,
        accuracy=0.9,
        accuracy_interval=evaluation_pb2.Interval(low=0.744, high=0.965),
        macro_precision=0.91,
        macro_recall=0.92,
        macro_f1=0.93,
        log_loss=0.25,
        calibration_error=0.02,
        labels=rows,
        unreadable_files=[evaluation_pb2.UnreadableFile(path="a/b.jpg", reason="It is cut short.")],
        figures=[
            evaluation_pb2.Figure(name=name, value=value, interval=evaluation_pb2.Interval(low=value - 0.1, high=value + 0.05))
            for name, value in (("accuracy", 0.9), ("roc_auc", 0.875), ("micro_f1", 0.9))
        ],
        reliability=[
            evaluation_pb2.ReliabilityBin(
                confidences=evaluation_pb2.Interval(low=0.5, high=1.0), answers=10 * labels, confidence=0.92, right=0.9
            )
        ],
    )


def progress_message(**values: Any) -> job_pb2.JobProgress:
    newest = job_pb2.EpochMetrics(
        epoch=1, train_loss=0.6, loss=0.5, accuracy=0.875, macro_precision=0.8, macro_recall=0.7, macro_f1=0.75
    )
    message = job_pb2.JobProgress(
        stage="fine-tune", epoch=2, epochs=5, stage_fraction=0.5, fraction=0.4, images_per_second=120.0, loss=0.5, validation=newest
    )
    message.time_left.FromTimedelta(timedelta(seconds=75))
    message.MergeFrom(job_pb2.JobProgress(**values))
    return message


def job_message(state: str = "SUCCEEDED", job: str = "abc", labels: int = 3) -> job_pb2.Job:
    """A training of `clothing`; it has its version, its report and its evaluation once it has succeeded."""
    message = job_pb2.Job(
        name=f"jobs/{job}",
        type="JOB_TYPE_TRAINING",
        state=f"JOB_STATE_{state}",
        attempt=1,
        model="models/clothing",
        dataset="/photos",
    )
    message.create_time.FromDatetime(NOW)
    if state != "QUEUED":
        message.start_time.FromDatetime(NOW + timedelta(seconds=1))
    message.training.spec.preset = 1
    message.training.spec.budget.FromTimedelta(timedelta(minutes=10))
    message.training.spec.epochs = 3
    message.training.base_version = "models/garments/versions/2"
    if state in {"SUCCEEDED", "FAILED", "CANCELLED"}:
        message.end_time.FromDatetime(NOW + timedelta(seconds=91))
    if state == "SUCCEEDED":
        message.training.model_version = "models/clothing/versions/3"
        message.training.evaluation.CopyFrom(evaluation_message(labels))
        message.training.dataset_report.CopyFrom(
            evaluation_pb2.DatasetReport(
                labels=[evaluation_pb2.LabelCounts(label="label 0", train=8, validation=1, test=10)], warnings=["Few."], digest="d1"
            )
        )
    return message


def waiting_message(state: str) -> job_pb2.Job:
    """The training, of low priority, while it waits in the queue, or is paused."""
    message = job_message(state)
    message.priority, message.owner = job_pb2.JOB_PRIORITY_LOW, "ann"
    if state == "QUEUED":
        message.waiting_reason = "2 jobs are before it; the trainer is busy."
        message.expected_start_time.FromDatetime(NOW + timedelta(minutes=30))
    else:
        message.waiting_reason = "It is paused; `eyas jobs resume abc` lets it go on."
    return message


def evaluated_message(labels: int = 3) -> job_pb2.Job:
    """An evaluation of `clothing/3` that has succeeded."""
    message = job_pb2.Job(
        name="jobs/eva",
        type="JOB_TYPE_EVALUATION",
        state="JOB_STATE_SUCCEEDED",
        model="models/clothing/versions/3",
        dataset="/test",
    )
    for field in ("create_time", "start_time", "end_time"):
        getattr(message, field).FromDatetime(NOW)
    message.evaluation.CopyFrom(evaluation_message(labels))
    return message


def compared_message() -> job_pb2.Job:
    """An evaluation of `clothing/3` and, beside it, of `clothing/2`, which gets eight pictures more wrong."""
    message = evaluated_message()
    message.other_versions.append("models/clothing/versions/2")
    found = message.comparisons.add(
        model_version="models/clothing/versions/2",
        evaluation=evaluation_message(),
        both_right=20,
        only_first_right=9,
        only_second_right=1,
        p_value=0.021484375,
        changed_count=150,
        device="a processor, 2 threads",
        batch_size=32,
    )
    for name, first, second in (("accuracy", 0.9667, 0.7), ("log_loss", 0.1, 0.9), ("macro_f1", 0.96, 0.95)):
        gained = second - first
        interval = evaluation_pb2.Interval(low=gained - 0.1, high=gained + 0.05)
        found.differences.add(name=name, first=first, second=second, interval=interval)
    found.labels.add(label="label [0]", examples=10, wins=1, losses=9)
    found.labels.add(label="label 1", examples=20)
    for number in range(100):
        found.changed.add(
            path=f"[hat]/{number:02}.jpg", label="hat", first="hat", first_confidence=0.9, second="shoes", second_confidence=0.8
        )
    for cost, size, microseconds in ((found.first_cost, 13_000_000, 12_340), (found.second_cost, 26_000_000, 5_000)):
        cost.size_bytes = size
        cost.latency.FromMicroseconds(microseconds)
        cost.batch_latency.FromMicroseconds(microseconds // 2)
    return message


def inspected_message(state: str = "SUCCEEDED", groups: int = 2, suspects: int = 3) -> job_pb2.Job:
    """An inspection; once it has succeeded, with the groups of copies and the suspects asked for."""
    message = job_pb2.Job(name="jobs/ins", type="JOB_TYPE_INSPECTION", state=f"JOB_STATE_{state}", dataset="/photos")
    message.create_time.FromDatetime(NOW)
    message.inspection.backbone, message.inspection.seed = "resnet50", 7
    if state != "SUCCEEDED":
        return message
    for field in ("start_time", "end_time"):
        getattr(message, field).FromDatetime(NOW)
    report = message.inspection.dataset_report
    report.CopyFrom(job_message().training.dataset_report)
    report.unreadable_files.add(path="a/b.jpg", reason="It is cut short.")
    for place, size in enumerate((report.pictures.smallest, report.pictures.median, report.pictures.largest), 1):
        size.width_px, size.height_px = 40 * place, 30 * place
    report.pictures.formats.add(name="JPEG", pictures=18)
    report.pictures.formats.add(name="PNG", pictures=1)
    report.pictures.modes.add(name="RGB", pictures=19)
    found = report.duplicates
    found.group_count, found.file_count, found.files_across_labels, found.files_across_splits = groups, 7 * groups, 7, 0
    for number in range(groups):
        group = found.groups.add(exact=number > 0, across_labels=number == 0, file_count=7)
        for name in "abcdefg":
            group.files.add(path=f"train/label {number}/{name}.jpg", label=f"label {number}", split="train")
    report.suspects.count, report.suspects.examined = suspects, 1900
    for number in range(suspects):
        report.suspects.pictures.add(path=f"train/[hat]/{number:02}.jpg", label="hat", suggested_label="shoes", probability=0.98)
    return message


def update(sequence: int, **what: Any) -> job_service_pb2.WatchJobResponse:
    message = job_service_pb2.WatchJobResponse(sequence=sequence, **what)
    message.time.FromDatetime(NOW)
    return message


def traffic_message() -> traffic_pb2.Traffic:
    """Version 7 of `clothing` is its canary, and what its alias `next` leads to its shadow."""
    message = traffic_pb2.Traffic(name="models/clothing/traffic", record=4, actor="ipv4:1", reason="better on hats")
    message.update_time.FromDatetime(NOW)
    message.canary.CopyFrom(
        traffic_pb2.Canary(
            target="models/clothing/versions/7",
            percent=5,
            max_error_rate=0.02,
            max_latency_ratio=1.5,
            min_requests=50,
            version="models/clothing/versions/7",
        )
    )
    message.shadow.CopyFrom(
        traffic_pb2.Shadow(target="models/clothing/aliases/next", percent=10, version="models/clothing/versions/8")
    )
    return message


def alias_message(version: int = 3, reason: str = "") -> model_pb2.Alias:
    message = model_pb2.Alias(
        name="models/clothing/aliases/production",
        version=f"models/clothing/versions/{version}",
        record=2,
        actor="ipv4:1",
        reason=reason,
    )
    message.update_time.FromDatetime(NOW)
    return message


def model_message(name: str = "clothing") -> model_pb2.Model:
    message = model_pb2.Model(
        name=f"models/{name}", aliases=[alias_message()], latest_version=f"models/{name}/versions/3", version_count=3
    )
    message.create_time.FromDatetime(NOW)
    return message


def dataset_message(version: int = 2) -> dataset_pb2.Dataset:
    message = dataset_pb2.Dataset(
        name=f"datasets/photos/versions/{version}", digest="ab" * 32, file_count=3781, size_bytes=98_000_000
    )
    message.actor = "ipv4:10.0.0.7:50000"
    message.create_time.FromDatetime(NOW)
    message.folders.add(path="train/shirt", file_count=3000)
    message.folders.add(path="", file_count=781)
    return message


def conditions_message() -> lineage_pb2.Conditions:
    return lineage_pb2.Conditions(
        code_version="1",
        packages={"torch": "2", "numpy": "2"},
        device="the CPU (2 threads)",
        weights_source="package x (SHA-256 12ab)",
    )


def retraced_message(state: str = "SUCCEEDED") -> job_pb2.Job:
    """The retracing of the training of `clothing/3`, which finds everything as it was."""
    message = inspected_message(state, groups=0, suspects=0)
    message.inspection.version = "models/clothing/versions/3"
    if state == "SUCCEEDED":
        message.inspection.conditions.CopyFrom(conditions_message())
        sizes = message.inspection.dataset_report.split_sizes
        sizes.train, sizes.validation, sizes.test = 24, 6, 6
    return message


def version_message(number: int = 3, state: str = "READY", *, lineage: bool = False) -> model_pb2.ModelVersion:
    """A version that started from another one; with its lineage, from a package, on the dataset that `retraced_message` finds."""
    message = model_pb2.ModelVersion(
        name=f"models/clothing/versions/{number}",
        labels=["label 0", "label 1"],
        backbone="resnet50",
        image_size_px=224,
        size_bytes=13_000_000,
        sha256="ab" * 32,
        evaluation=evaluation_message(),
        parity=model_pb2.Parity(examples=64, max_logit_difference=1e-5, mean_logit_difference=1e-6, batch_sizes=[1, 8]),
        job="jobs/abc",
        dataset_digest="d1",
        weights_source="package",
        serving_state=f"SERVING_STATE_{state}",
        base_version="models/garments/versions/2",
        explainable=True,
        variants=[INT8, variant_pb2.Variant(precision="PRECISION_FP16", refusal="it overflows")],
        serving_precision="PRECISION_INT8" if state == "READY" else None,
    )
    message.create_time.FromDatetime(NOW)
    if lineage:
        made = message.lineage
        made.dataset, made.seed, made.attempt = "/photos", 7, 1
        made.duration.FromTimedelta(timedelta(seconds=90))
        made.spec.preset = 1
        made.spec.budget.FromTimedelta(timedelta(minutes=10))
        made.recipe.update({"epochs": "0", "dropout": "0.2"})
        made.conditions.CopyFrom(conditions_message())
        made.split_sizes.train, made.split_sizes.validation, made.split_sizes.test = 24, 6, 6
        for name, digit in (("model.onnx", "a"), ("weights.safetensors", "b")):
            message.files.add(name=name, sha256=64 * digit)
        message.weights_source, message.base_version = made.conditions.weights_source, ""
    return message


INT8 = variant_pb2.Variant(
    precision="PRECISION_INT8",
    size_bytes=3_600_000,
    validation=variant_pb2.Fidelity(examples=60, agreement=0.99, accuracy=0.9),
    test=variant_pb2.Fidelity(examples=70, agreement=0.9875, accuracy=0.89, accuracy_lost=0.01, calibration_error=0.03),
    speed=1.5,
    device="the CPU (2 threads)",
)


def report_message() -> model_service_pb2.GetReportResponse:
    return model_service_pb2.GetReportResponse(version="models/clothing/versions/3", html="<!doctype html><p>größer".encode())


def classified(request: classification_pb2.ClassifyRequest) -> classification_pb2.ClassifyResponse:
    """Labels each picture with its own bytes, and refuses those that begin with `bad`."""
    response = classification_pb2.ClassifyResponse(model_version="models/clothing/versions/3")
    response.timing.inference.FromTimedelta(timedelta(milliseconds=2))
    for image in request.images:
        result = response.results.add()
        if image.content.startswith(b"bad"):
            result.error.CopyFrom(UNDECODABLE.status())
        else:
            label = image.content[:20].decode(errors="replace")
            result.classification.predictions.add(label=label, class_index=1, probability=0.75, applies=True)
            result.classification.prediction_id = f"id-of-{label}"
            if request.explain:
                result.classification.explanation.png, result.classification.explanation.label = b"PNG of " + image.content, label
    return response


def judged(request: feedback_service_pb2.ReportFeedbackRequest) -> feedback_service_pb2.ReportFeedbackResponse:
    """Says of each report the outcome that its id names; each answer was `shirt`."""
    response = feedback_service_pb2.ReportFeedbackResponse()
    for one in request.feedback:
        result = response.results.add(outcome=f"FEEDBACK_OUTCOME_{one.prediction_id.upper()}")
        if one.prediction_id in {"right", "wrong"}:
            result.model_version, result.answered_labels[:] = "models/clothing/versions/3", ["shirt"]
        else:
            result.message = "It is not counted."
    return response


def streamed(
    request: classification_pb2.ClassifyStreamRequest, error: status_pb2.Status | None = None
) -> classification_pb2.ClassifyStreamResponse:
    """Labels a picture of a stream as `classified` does, or says the error."""
    picture = request.picture
    alone = classified(classification_pb2.ClassifyRequest(images=[picture.image]))
    response = classification_pb2.ClassifyStreamResponse(
        id=picture.id, model_version=alone.model_version, result=alone.results[0], timing=alone.timing
    )
    if error is not None:
        response.result.error.CopyFrom(error)
    return response


def captured_message(number: int = 1, label: str = "", shown: str = "shirt") -> capture_pb2.CapturedPicture:
    """Returns a picture that was kept of `clothing`, which was taken for `shown`, and which somebody has called `label`."""
    message = capture_pb2.CapturedPicture(
        name=f"models/clothing/captured/{number:024x}",
        version="models/clothing/versions/3",
        reasons=["CAPTURE_REASON_WRONG", "CAPTURE_REASON_LOW_MARGIN"],
        predictions=[{"label": shown, "probability": 0.51}, {"label": "hat", "probability": 0.42}],
        margin=0.09,
        size_bytes=4,
        worth=950,
    )
    message.create_time.FromDatetime(NOW)
    if label:
        message.labels.labels.append(label)
        message.labels.source = capture_pb2.LABEL_SOURCE_PERSON
        message.labels.create_time.FromDatetime(NOW)
    return message


UNDECODABLE = Refusal(
    grpc.StatusCode.INVALID_ARGUMENT,
    "The picture is cut short.",
    (error_details_pb2.ErrorInfo(reason="UNDECODABLE_IMAGE", domain="eyas", metadata={"bytes": "3"}),),
)
TRAINING_UPDATES = [
    update(1, job=job_message("RUNNING")),
    update(2, message="The label 'shoes' has 3 pictures only."),
    update(3, progress=progress_message()),
    update(4, progress=progress_message(stage_fraction=0.9)),
    update(5, job=job_message()),
]
