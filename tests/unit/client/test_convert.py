"""Messages of the contract <-> what a user holds."""

from __future__ import annotations

import json
from datetime import timedelta

import grpc
import pytest
from google.rpc import error_details_pb2

import eyas
from eyas import _capture, _convert, _evaluation, _settings
from eyas.v1 import job_pb2
from eyas.v1.training_spec_pb2 import TrainingSpec
from fake_server import Refusal
from replies import (
    NOW,
    alias_message,
    captured_message,
    evaluated_message,
    inspected_message,
    job_message,
    model_message,
    progress_message,
    update,
    version_message,
)


@pytest.mark.parametrize(
    ("reference", "resource"),
    [
        ("clothing", "models/clothing"),
        ("clothing@canary", "models/clothing/aliases/canary"),
        ("clothing/3", "models/clothing/versions/3"),
        ("models/clothing/versions/3", "models/clothing/versions/3"),
    ],
)
def test_a_reference_is_what_people_write(reference: str, resource: str) -> None:
    assert _convert.reference_resource(reference) == resource
    assert _convert.reference_resource(_convert.short(resource)) == resource


@pytest.mark.parametrize("job", ["abc", "jobs/abc"])
def test_a_job_is_named_with_and_without_its_collection(job: str) -> None:
    assert _convert.job_resource(job) == "jobs/abc"
    assert _convert.short("jobs/abc") == "abc"


def test_a_training() -> None:
    job = _convert.job(job_message())
    assert (job.id, job.type, job.state, job.attempt) == ("abc", eyas.JobType.TRAINING, eyas.JobState.SUCCEEDED, 1)
    assert (job.model, job.version, job.alias, job.dataset) == ("clothing", "clothing/3", None, "/photos")
    assert job.base_version == "garments/2"
    assert (job.create_time, job.end_time) == (NOW, NOW + timedelta(seconds=91))
    assert job.settings == {"preset": "fast", "budget": timedelta(minutes=10), "epochs": 3}
    assert job.dataset_report == eyas.DatasetReport((eyas.LabelCounts("label 0", 8, 1, 10),), (), ("Few.",), "d1")
    assert job.evaluation is not None
    assert job.evaluation.accuracy_interval == eyas.Interval(0.744, 0.965)
    assert job.evaluation.labels[2] == eyas.LabelMetrics("label 2", 10, 0.9, 0.9, 0.9, (1, 0, 9))
    assert job.evaluation.unreadable_files == (eyas.UnreadableFile("a/b.jpg", "It is cut short."),)


def test_a_job_that_has_just_been_accepted_has_no_results() -> None:
    job = _convert.job(job_message("QUEUED"))
    assert (job.start_time, job.end_time, job.version, job.progress, job.error) == (None, None, None, None, None)
    assert (job.dataset_report, job.evaluation) == (None, None)


def test_a_job_that_failed_holds_its_error() -> None:
    message = job_message("FAILED")
    message.error.CopyFrom(
        Refusal(
            grpc.StatusCode.FAILED_PRECONDITION, "No weights.", (error_details_pb2.ErrorInfo(reason="WEIGHTS_NOT_FOUND"),)
        ).status()
    )
    error = _convert.job(message).error
    assert isinstance(error, eyas.FailedPrecondition)
    assert (error.message, error.reason) == ("No weights.", "WEIGHTS_NOT_FOUND")


def test_an_evaluation_names_its_version() -> None:
    job = _convert.job(evaluated_message())
    assert (job.type, job.model, job.version) == (eyas.JobType.EVALUATION, "clothing", "clothing/3")
    assert job.evaluation is not None
    assert job.evaluation.figures[1] == eyas.Figure("roc_auc", 0.875, eyas.Interval(0.775, pytest.approx(0.925)))
    assert job.evaluation.reliability == (eyas.ReliabilityBin(eyas.Interval(0.5, 1.0), 30, 0.92, 0.9),)
    assert job.settings == {}


def test_an_inspection_has_a_report_and_no_model() -> None:
    job = _convert.job(inspected_message())
    assert (job.type, job.model, job.version, job.evaluation) == (eyas.JobType.INSPECTION, "", None, None)
    assert job.settings == {"backbone": "resnet50", "seed": 7}
    report = job.dataset_report
    assert report is not None
    assert report.pictures == eyas.PictureStatistics(
        eyas.PictureSize(40, 30),
        eyas.PictureSize(80, 60),
        eyas.PictureSize(120, 90),
        (eyas.PictureCount("JPEG", 18), eyas.PictureCount("PNG", 1)),
        (eyas.PictureCount("RGB", 19),),
    )
    assert report.duplicates is not None
    group = report.duplicates.groups[0]
    assert (report.duplicates.group_count, report.duplicates.file_count, report.duplicates.files_across_labels) == (2, 14, 7)
    assert (group.exact, group.across_labels, group.across_splits, group.file_count) == (False, True, False, 7)
    assert group.files[1] == eyas.DuplicateFile("train/label 0/b.jpg", "label 0", "train")
    assert report.suspects is not None
    assert (report.suspects.count, report.suspects.examined) == (3, 1900)
    assert report.suspects.pictures[0] == eyas.Suspect("train/[hat]/00.jpg", "hat", "shoes", 0.98)
    assert _convert.job(inspected_message("RUNNING")).dataset_report is None


def test_a_leak_without_a_figure_is_kept_apart_from_zero() -> None:
    message = evaluated_message()
    message.evaluation.leaked_examples = 3
    found = _convert.job(message).evaluation
    assert found is not None
    assert (found.leaked_examples, found.accuracy_without_leaked) == (3, None)
    message.evaluation.accuracy_without_leaked = 0.0
    assert _evaluation.evaluation(message.evaluation).accuracy_without_leaked == 0.0


def test_progress_keeps_what_is_not_set_apart_from_zero() -> None:
    progress = _convert.progress(progress_message())
    assert (progress.stage, progress.epoch, progress.loss, progress.time_left) == ("fine-tune", 2, 0.5, timedelta(seconds=75))
    assert progress.validation == eyas.EpochMetrics(1, 0.6, 0.5, 0.875, 0.8, 0.7, 0.75)
    bare = _convert.progress(job_pb2.JobProgress(stage="audit"))
    assert (bare.loss, bare.time_left, bare.validation) == (None, None, None)
    assert _convert.progress(job_pb2.JobProgress(loss=0.0)).loss == 0.0


def test_an_event_holds_one_thing() -> None:
    assert _convert.event(update(1, message="Few pictures.")).message == "Few pictures."
    job = _convert.event(update(2, job=job_message())).job
    assert job is not None
    assert job.version == "clothing/3"
    nothing = _convert.event(update(3))  # of a newer server
    assert (nothing.progress, nothing.message, nothing.job) == (None, None, None)


def test_what_only_a_newer_server_knows_is_unspecified() -> None:
    job = _convert.job(job_pb2.Job(name="jobs/a", type=99, state=99))  # type: ignore[arg-type] # that is the point
    assert (job.type, job.state) == (eyas.JobType.UNSPECIFIED, eyas.JobState.UNSPECIFIED)
    assert not job.state.ended
    assert _settings.settings(TrainingSpec(optimizer=99)) == {"optimizer": "unspecified"}  # type: ignore[arg-type]
    kept = captured_message(1, "shirt")
    kept.reasons.append(99)  # type: ignore[arg-type]
    kept.labels.source = 99  # type: ignore[assignment]
    picture = _capture.picture(kept)
    assert picture.reasons[-1] is eyas.CaptureReason.UNSPECIFIED
    assert picture.labels is not None
    assert picture.labels.source == "unspecified"


def test_a_model_and_its_versions() -> None:
    model = _convert.model(model_message())
    assert (model.name, model.latest_version, model.version_count, model.create_time) == ("clothing", "clothing/3", 3, NOW)
    assert model.aliases == (_convert.alias(alias_message()),)
    assert (model.aliases[0].name, model.aliases[0].version, model.aliases[0].record) == ("clothing@production", "clothing/3", 2)
    version = _convert.model_version(version_message(state="NOT_LOADED"))
    assert (version.name, version.job, version.labels) == ("clothing/3", "abc", ("label 0", "label 1"))
    assert (version.serving_state, version.serving_error) == (eyas.ServingState.NOT_LOADED, None)
    assert version.parity == eyas.Parity(64, 1e-5, 1e-6, (1, 8))
    assert version.explainable
    int8, fp16 = version.variants
    assert (int8.precision, int8.size_bytes, int8.speed, int8.refusal) == (eyas.Precision.INT8, 3_600_000, 1.5, "")
    assert int8.test == eyas.Fidelity(70, 0.9875, 0.89, 0.01, 0.0, 0.03, 0.0)
    assert (fp16.refusal, fp16.validation, fp16.speed) == ("it overflows", None, None)
    assert version.serving_precision is eyas.Precision.UNSPECIFIED
    assert _convert.model_version(version_message()).serving_precision is eyas.Precision.INT8


def test_everything_can_be_written_as_json() -> None:
    failed = eyas.NotFound("gone", code=grpc.StatusCode.NOT_FOUND, reason="R", metadata={"a": "b"})
    document = json.loads(json.dumps(_convert.to_json({"job": _convert.job(job_message()), "error": failed})))
    assert document["job"]["state"] == "succeeded"
    assert document["job"]["create_time"] == "2026-03-01T12:30:00+00:00"
    assert document["job"]["settings"] == {"preset": "fast", "budget": 600.0, "epochs": 3}
    assert document["job"]["evaluation"]["labels"][0]["predicted_counts"] == [9, 1, 0]
    assert document["error"] == {"type": "NotFound", "code": "NOT_FOUND", "reason": "R", "message": "gone", "metadata": {"a": "b"}}
