"""Messages of the contract <-> nouns. Pure: no I/O, no decisions beyond "is this a value the contract allows"."""

from __future__ import annotations

from datetime import datetime, timedelta

from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp

from eyas.v1 import classification_service_pb2 as classification_pb2
from eyas.v1 import evaluation_pb2, job_pb2, job_service_pb2, model_pb2
from eyasd.api import findings
from eyasd.api.comparison import comparison_message
from eyasd.api.errors import status_of, status_of_reason
from eyasd.api.lineage import conditions_message, files_message, lineage_message, split_sizes
from eyasd.api.specification import train_spec_message
from eyasd.api.variants import precision_number, variant_message
from eyasd.core import types
from eyasd.core.bundle import CheckedFile, Manifest
from eyasd.core.errors import EyasError, UndecodableImage
from eyasd.core.evaluation import Evaluation
from eyasd.core.findings import UnreadableFile
from eyasd.core.names import ModelRef, alias_name, job_name, model_name, version_name
from eyasd.core.promotion import AliasRecord
from eyasd.core.unknown import Unknown, UnknownRules
from eyasd.core.variants import Precision
from eyasd.serving.classifier import Classified, Labelled
from eyasd.serving.fleet import ServingState


def duration(value: timedelta) -> Duration:
    """Returns the well-known type."""
    message = Duration()
    message.FromTimedelta(value)
    return message


def timestamp(value: datetime | None) -> Timestamp | None:
    """Returns the well-known type, or None, which leaves a field unset."""
    if value is None:
        return None
    message = Timestamp()
    message.FromDatetime(value)
    return message


def evaluation_message(evaluation: Evaluation) -> evaluation_pb2.Evaluation:
    """Returns the message."""
    return evaluation_pb2.Evaluation(
        examples=evaluation.examples,
        accuracy=evaluation.accuracy,
        accuracy_interval=_interval(*evaluation.accuracy_interval),
        macro_precision=evaluation.macro_precision,
        macro_recall=evaluation.macro_recall,
        macro_f1=evaluation.macro_f1,
        log_loss=evaluation.log_loss,
        calibration_error=evaluation.calibration_error,
        labels=[
            evaluation_pb2.LabelMetrics(
                label=row.label,
                examples=row.examples,
                precision=row.precision,
                recall=row.recall,
                f1=row.f1,
                predicted_counts=row.predicted_counts,
                threshold=row.threshold,
            )
            for row in evaluation.labels
        ],
        unreadable_files=_unreadable(evaluation.unreadable_files),
        leaked_examples=evaluation.leaked_examples,
        accuracy_without_leaked=evaluation.accuracy_without_leaked,
        micro_f1=evaluation.micro_f1,
        mean_average_precision=evaluation.mean_average_precision,
        figures=[
            evaluation_pb2.Figure(name=row.name, value=row.value, interval=_interval(row.low, row.high))
            for row in evaluation.figures
        ],
        missing_examples=evaluation.missing_examples,
        test_split_looks=evaluation.test_split_looks,
        reliability=[
            evaluation_pb2.ReliabilityBin(
                confidences=_interval(row.low, row.high), answers=row.answers, confidence=row.confidence, right=row.right
            )
            for row in evaluation.reliability
        ],
        coverage=evaluation.coverage,
        accepted_accuracy=evaluation.accepted_accuracy,
    )


def _interval(low: float, high: float) -> evaluation_pb2.Interval:
    return evaluation_pb2.Interval(low=low, high=high)


def _unreadable(files: tuple[UnreadableFile, ...]) -> list[evaluation_pb2.UnreadableFile]:
    return [evaluation_pb2.UnreadableFile(path=file.path, reason=file.reason) for file in files]


def dataset_report_message(report: types.DatasetReport) -> evaluation_pb2.DatasetReport:
    """Returns the message."""
    return evaluation_pb2.DatasetReport(
        labels=[
            evaluation_pb2.LabelCounts(label=row.label, train=row.train, validation=row.validation, test=row.test)
            for row in report.labels
        ],
        unreadable_files=_unreadable(report.unreadable_files),
        warnings=report.warnings,
        digest=report.digest,
        pictures=findings.picture_statistics(report.pictures) if report.pictures else None,
        duplicates=findings.duplicates(report.duplicates) if report.duplicates else None,
        suspects=findings.suspects(report.suspects) if report.suspects else None,
        split_sizes=split_sizes(report.split_sizes) if report.split_sizes else None,
    )


def progress_message(progress: types.Progress) -> job_pb2.JobProgress:
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


def job_message(job: types.Job) -> job_pb2.Job:
    """Returns the message."""
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
        other_versions=[version_name(other.model, other.version or 0) for other in job.others],
        comparisons=[comparison_message(comparison, evaluation_message(comparison.evaluation)) for comparison in job.comparisons],
    )
    if job.spec is not None:
        message.training.CopyFrom(
            job_pb2.Training(
                spec=train_spec_message(job.spec),
                alias=job.alias or "",
                model_version=version_name(job.model, job.version) if job.version else "",
                dataset_report=dataset_report_message(job.dataset_report) if job.dataset_report else None,
                evaluation=evaluation_message(job.evaluation) if job.evaluation else None,
                base_version=_named(job.base_version),
            )
        )
    elif job.inspection is not None:
        message.inspection.CopyFrom(
            job_pb2.Inspection(
                backbone=job.inspection.backbone or "",
                seed=job.inspection.seed,
                dataset_report=dataset_report_message(job.dataset_report) if job.dataset_report else None,
                version=_named(job.inspection.version),
                conditions=conditions_message(job.conditions) if job.conditions else None,
            )
        )
    elif job.evaluation is not None:
        message.evaluation.CopyFrom(evaluation_message(job.evaluation))
    return message


def _named(version: ModelRef | None) -> str:
    return version_name(version.model, version.version or 0) if version else ""


def _subject(job: types.Job) -> str:
    """Returns the name of what a job makes or measures."""
    match job.type:
        case types.JobType.TRAINING:
            return model_name(job.model)
        case types.JobType.EVALUATION:
            return version_name(job.model, job.version or 0)
        case types.JobType.INSPECTION:
            return ""


def event_message(event: types.JobEvent) -> job_service_pb2.WatchJobResponse:
    """Returns the message."""
    return job_service_pb2.WatchJobResponse(
        sequence=event.sequence,
        time=timestamp(event.time),
        progress=progress_message(event.progress) if event.progress else None,
        message=event.message,
        job=job_message(event.job) if event.job else None,
    )


def alias_message(model: str, alias: str, record: AliasRecord) -> model_pb2.Alias:
    """Returns the message."""
    return model_pb2.Alias(
        name=alias_name(model, alias),
        version=version_name(model, record.version),
        record=record.record,
        update_time=timestamp(record.time),
        actor=record.actor,
        reason=record.reason,
        previous_version=version_name(model, record.previous) if record.previous else "",
        undone_record=record.undoes or 0,
        evidence=record.evidence,
        forced=record.forced,
    )


def version_message(
    model: str,
    version: int,
    manifest: Manifest,
    state: ServingState | None,
    error: EyasError | None,
    precision: Precision | None = None,
    checked: tuple[CheckedFile, ...] = (),
) -> model_pb2.ModelVersion:
    """Returns the message.

    Args:
        model: of the version.
        version: its number.
        manifest: its own.
        state: of the version on the daemon; None where that does not serve.
        error: why it could not be loaded.
        precision: what it runs in; None of a version that is not loaded.
        checked: what was found where its files were read.
    """
    return model_pb2.ModelVersion(
        name=version_name(model, version),
        create_time=timestamp(manifest.create_time),
        labels=manifest.labels,
        backbone=manifest.lineage.backbone,
        image_size_px=manifest.preprocess.crop_px,
        size_bytes=manifest.model_bytes,
        sha256=manifest.files["model.onnx"],
        evaluation=evaluation_message(manifest.evaluation),
        parity=model_pb2.Parity(
            examples=manifest.parity.examples,
            max_logit_difference=manifest.parity.max_logit_difference,
            mean_logit_difference=manifest.parity.mean_logit_difference,
            batch_sizes=manifest.parity.batch_sizes,
        ),
        job=job_name(manifest.lineage.job),
        dataset_digest=manifest.dataset_report.digest,
        weights_source=manifest.lineage.weights_source,
        multi_label=manifest.thresholds is not None,
        serving_state=f"SERVING_STATE_{state.upper() if state else 'UNSPECIFIED'}",
        serving_error=status_of(error) if error else None,
        base_version=_named(manifest.lineage.base_version),
        lineage=lineage_message(manifest),
        files=files_message(manifest, checked),
        unknown=_unknown_rules(manifest.unknown, manifest.labels) if manifest.unknown else None,
        explainable=manifest.feature_map is not None,
        variants=map(variant_message, manifest.variants),
        serving_precision=precision_number(precision) if precision else None,
    )


def damaged_version_message(model: str, version: int, error: EyasError) -> model_pb2.ModelVersion:
    """Returns the message of a version whose manifest cannot be read, so that nothing else is known of it."""
    return model_pb2.ModelVersion(
        name=version_name(model, version), serving_state="SERVING_STATE_FAILED", serving_error=status_of(error)
    )


def _unknown_rules(rules: UnknownRules, labels: tuple[str, ...]) -> model_pb2.UnknownRules:
    distribution, confidence = rules.distribution, rules.confidence
    return model_pb2.UnknownRules(
        distribution=model_pb2.DistributionRule(
            method=distribution.method,
            threshold=distribution.threshold,
            known_share=distribution.known_share,
            refused=distribution.refused,
        )
        if distribution
        else None,
        confidence=model_pb2.ConfidenceRule(
            min_precision=confidence.min_precision,
            thresholds=[
                model_pb2.LabelThreshold(label=label, threshold=threshold)
                for label, threshold in zip(labels, confidence.thresholds, strict=True)
            ],
        )
        if confidence
        else None,
    )


def classify_response(classified: Classified) -> classification_pb2.ClassifyResponse:
    """Returns the message."""
    timing = classified.timing
    return classification_pb2.ClassifyResponse(
        model_version=version_name(classified.model, classified.version),
        results=[_result(result) for result in classified.results],
        timing=classification_pb2.ClassifyTiming(
            preprocessing=duration(timedelta(seconds=timing.preprocessing)),
            queue=duration(timedelta(seconds=timing.queue)),
            inference=duration(timedelta(seconds=timing.inference)),
        ),
        multi_label=classified.multi_label,
    )


def _result(result: Labelled | UndecodableImage) -> classification_pb2.ClassifyResult:
    if isinstance(result, UndecodableImage):
        return classification_pb2.ClassifyResult(error=status_of(result))
    predictions = [
        classification_pb2.Prediction(label=p.label, class_index=p.class_index, probability=p.probability, applies=p.applies)
        for p in result.predictions
    ]
    classification = classification_pb2.Classification(
        predictions=predictions,
        unknown=_unknown(result.unknown) if result.unknown else None,
        ood_score=result.ood_score,
        explanation=classification_pb2.Explanation(png=result.explanation, label=predictions[0].label)
        if result.explanation
        else None,
    )
    return classification_pb2.ClassifyResult(classification=classification)


def _unknown(unknown: Unknown) -> classification_pb2.Unknown:
    return classification_pb2.Unknown(
        reason=f"UNKNOWN_REASON_{unknown.reason.upper()}", score=unknown.score, threshold=unknown.threshold, share=unknown.share
    )
