"""A job arrives with all that is known of it, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from builders import comparison, evaluation
from eyas.v1 import job_pb2
from eyasd.api.messages.jobs import job_message, job_priority
from eyasd.core import findings
from eyasd.core.errors import InvalidArgument
from eyasd.core.evaluation import EpochMetrics
from eyasd.core.jobs import Job, JobError, JobPriority, JobState, JobType, Progress, Waiting
from eyasd.core.names import ModelRef
from eyasd.core.spec import InspectionSpec, TrainSpec

NOW = datetime(2026, 5, 6, 7, 8, 9, tzinfo=UTC)


@pytest.mark.parametrize("noun", [JobState, JobType, JobPriority])
def test_every_state_type_and_priority_has_a_number(noun: type[JobState | JobType | JobPriority]) -> None:
    names = getattr(job_pb2, noun.__name__).DESCRIPTOR.values_by_name
    assert {name.split("_", 2)[2].lower() for name in names} == {*noun, "unspecified"}


def job_of(kind: JobType, **more: Any) -> Job:
    return Job(**{"id": "j", "type": kind, "create_time": NOW, "model": "m", "dataset": "/d", **more})


def test_a_finished_training() -> None:
    report = findings.DatasetReport(
        (findings.LabelCounts("blue", 3, 2, 1),), (findings.UnreadableFile("blue/x", "damaged"),), ("few",), "d"
    )
    job = job_of(
        JobType.TRAINING,
        state=JobState.SUCCEEDED,
        end_time=NOW,
        version=4,
        spec=TrainSpec(seed=7),
        progress=Progress(stage="publish", validation=EpochMetrics(3, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6)),
        dataset_report=report,
        evaluation=evaluation(),
        base_version=ModelRef("other", version=3),
    )
    message = job_message(job)
    assert message.training.spec.seed == 7
    assert message.training.base_version == "models/other/versions/3"
    assert (message.name, message.model, message.training.model_version) == ("jobs/j", "models/m", "models/m/versions/4")
    assert message.create_time.ToDatetime(UTC) == NOW
    assert not message.HasField("start_time")
    assert message.training.dataset_report.unreadable_files[0].reason == "damaged"
    assert [list(row.predicted_counts) for row in message.training.evaluation.labels] == [[9, 1, 0], [0, 9, 1], [1, 0, 9]]
    assert message.progress.validation.macro_f1 == 0.6
    assert not message.progress.HasField("loss")


def test_a_finished_evaluation_of_several() -> None:
    second = ModelRef("m", version=3)
    found = comparison(second)
    job = job_of(
        JobType.EVALUATION,
        state=JobState.SUCCEEDED,
        version=4,
        evaluation=evaluation(),
        others=(second,),
        comparisons=(found,),
    )
    message = job_message(job)
    assert list(message.other_versions) == ["models/m/versions/3"]
    (sent,) = message.comparisons
    assert (sent.model_version, sent.evaluation.examples) == ("models/m/versions/3", 30)
    assert (sent.both_right, sent.only_first_right, sent.only_second_right, sent.both_wrong) == (26, 4, 1, 2)
    assert (sent.p_value, sent.changed_count) == (pytest.approx(0.375), 5)  # 2 (1 + 5) / 32
    (difference,), (label,), (picture,) = sent.differences, sent.labels, sent.changed
    assert (difference.name, difference.first, difference.second, difference.interval.low) == ("accuracy", 0.9, 0.8, -0.2)
    assert (label.label, label.examples, label.wins, label.losses) == ("blue", 10, 1, 4)
    assert (picture.path, picture.first, picture.second, picture.second_confidence) == ("blue/1.png", "blue", "green", 0.6)
    assert [cost.size_bytes for cost in (sent.first_cost, sent.second_cost)] == [1000, 2000]
    assert sent.first_cost.latency.ToTimedelta() == timedelta(milliseconds=2)


def test_an_inspection_says_what_was_asked_and_what_was_found() -> None:
    size, count = findings.PictureSize(3, 2), findings.PictureCount("JPEG", 5)
    group = findings.DuplicateGroup(True, True, False, (findings.DuplicateFile("a/b.jpg", "a", "test"),), 2)
    report = findings.DatasetReport(
        (),
        (),
        (),
        "d",
        findings.PictureStatistics(size, size, size, (count,), (count,)),
        findings.Duplicates((group,), 1, 2, 2, 0),
        findings.Suspects((findings.Suspect("a/b.jpg", "a", "c", 0.75),), 9, 99),
    )
    job = job_of(JobType.INSPECTION, model="", inspection=InspectionSpec("resnet50", 7))
    message = job_message(job)
    assert (message.model, message.WhichOneof("detail"), message.inspection.backbone) == ("", "inspection", "resnet50")
    assert not message.inspection.HasField("dataset_report")
    found = job_message(replace(job, dataset_report=report)).inspection.dataset_report
    assert (found.pictures.median.width_px, found.pictures.modes[0].pictures) == (3, 5)
    assert (found.duplicates.groups[0].exact, found.duplicates.groups[0].files[0].split) == (True, "test")
    assert (found.duplicates.files_across_labels, found.suspects.count, found.suspects.examined) == (2, 9, 99)
    assert (found.suspects.pictures[0].suggested_label, found.suspects.pictures[0].probability) == ("c", 0.75)


def test_a_job_that_waits_says_why() -> None:
    job = job_of(JobType.TRAINING, spec=TrainSpec(), priority=JobPriority.HIGH, owner="ann")
    message = job_message(job, Waiting("It is next; the trainer is busy.", NOW + timedelta(minutes=5)))
    assert (message.priority, message.owner) == (job_pb2.JOB_PRIORITY_HIGH, "ann")
    assert message.waiting_reason == "It is next; the trainer is busy."
    assert message.expected_start_time.ToDatetime(UTC) == NOW + timedelta(minutes=5)
    assert not message.HasField("resume_time")
    message = job_message(replace(job, state=JobState.INTERRUPTED, resume_time=NOW), Waiting("It was lost."))
    assert message.resume_time.ToDatetime(UTC) == NOW
    assert not message.HasField("expected_start_time")
    assert job_message(job).waiting_reason == ""


def test_the_priority_of_a_request() -> None:
    assert [job_priority(number) for number in range(4)] == [
        JobPriority.NORMAL,
        JobPriority.HIGH,
        JobPriority.NORMAL,
        JobPriority.LOW,
    ]
    with pytest.raises(InvalidArgument, match=r"priority is 4; it must be HIGH \(1\), NORMAL \(2\) or LOW \(3\)"):
        job_priority(4)


def test_a_failed_evaluation_names_its_version_and_its_error() -> None:
    error = JobError("BAD_DATASET", "no")
    job = job_of(JobType.EVALUATION, state=JobState.FAILED, version=2, error=error)
    message = job_message(job)
    assert (message.model, message.error.message) == ("models/m/versions/2", "no")
    assert message.WhichOneof("detail") is None
