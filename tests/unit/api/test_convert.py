"""api.convert: nothing is lost between the contract and the nouns."""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from builders import comparison, evaluation, write_bundle
from eyas.v1 import evaluation_pb2, job_pb2, training_spec_pb2, variant_pb2
from eyasd.api import convert, specification
from eyasd.core import bundle, document, findings, types
from eyasd.core.errors import BrokenBundle, InvalidArgument
from eyasd.core.evaluation import EpochMetrics, Figure, LabelMetrics, ReliabilityBin
from eyasd.core.names import ModelRef
from eyasd.core.spec import InspectionSpec, Loss, Optimizer, Preset, Schedule, TrainSpec
from eyasd.core.types import Job, JobError, JobState, JobType, Progress
from eyasd.core.unknown import NEVER, ConfidenceRule, DistributionRule, UnknownRules
from eyasd.core.variants import Fidelity, Precision, Variant
from eyasd.serving.fleet import ServingState

FULL = TrainSpec(
    preset=Preset.BEST,
    backbone="resnet50",
    pretrained=False,
    budget=timedelta(minutes=10),
    seed=7,
    epochs=0,
    batch_size=16,
    learning_rate=0.01,
    backbone_learning_rate_ratio=0.5,
    weight_decay=0.1,
    max_gradient_norm=0.0,
    optimizer=Optimizer.SGD,
    schedule=Schedule.PLATEAU,
    warmup_fraction=0.2,
    loss=Loss.BINARY_CROSS_ENTROPY,
    label_smoothing=0.0,
    hidden_units=64,
    dropout=0.5,
    rotation_degrees=1.0,
    shift_fraction=0.1,
    shear_degrees=2.0,
    zoom_fraction=0.3,
    horizontal_flip=False,
    image_size_px=64,
    early_stopping_patience=3,
    validation_fraction=0.2,
    test_fraction=0.3,
    trials=5,
    variants=(Precision.INT8, Precision.FP16),
    min_precision=0.98,
)


def test_the_message_and_the_noun_have_the_same_fields() -> None:
    assert [f.name for f in training_spec_pb2.TrainingSpec.DESCRIPTOR.fields] == [f.name for f in fields(TrainSpec)]


@pytest.mark.parametrize("spec", [FULL, TrainSpec()], ids=["full", "default"])
def test_a_specification_survives_the_trip(spec: TrainSpec) -> None:
    assert specification.train_spec(specification.train_spec_message(spec)) == spec


def test_an_empty_message_is_the_defaults() -> None:
    assert specification.train_spec(training_spec_pb2.TrainingSpec()) == TrainSpec()


def test_an_enum_of_the_future_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="99 is not a preset: use one of fast, balanced, best"):
        specification.train_spec(training_spec_pb2.TrainingSpec(preset=99))  # type: ignore[arg-type]


@pytest.mark.parametrize(("noun", "message"), [(JobState, job_pb2.JobState), (JobType, job_pb2.JobType)])
def test_every_state_and_type_has_a_number(noun: type[JobState | JobType], message: object) -> None:
    names = {name.removeprefix("JOB_STATE_").removeprefix("JOB_TYPE_").lower() for name in message.DESCRIPTOR.values_by_name}  # type: ignore[attr-defined]
    assert names == {*noun, "unspecified"}


def test_a_finished_training() -> None:
    now = datetime(2026, 5, 6, 7, 8, 9, tzinfo=UTC)
    report = types.DatasetReport((types.LabelCounts("blue", 3, 2, 1),), (types.UnreadableFile("blue/x", "damaged"),), ("few",), "d")
    job = Job(
        id="j",
        type=JobType.TRAINING,
        state=JobState.SUCCEEDED,
        create_time=now,
        end_time=now,
        model="m",
        version=4,
        dataset="/d",
        spec=FULL,
        progress=Progress(stage="publish", validation=EpochMetrics(3, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6)),
        dataset_report=report,
        evaluation=evaluation(),
        base_version=ModelRef("other", version=3),
    )
    message = convert.job_message(job)
    assert message.training.base_version == "models/other/versions/3"
    assert (message.name, message.model, message.training.model_version) == ("jobs/j", "models/m", "models/m/versions/4")
    assert message.create_time.ToDatetime(UTC) == now
    assert not message.HasField("start_time")
    assert message.training.dataset_report.unreadable_files[0].reason == "damaged"
    assert [list(row.predicted_counts) for row in message.training.evaluation.labels] == [[9, 1, 0], [0, 9, 1], [1, 0, 9]]
    assert message.progress.validation.macro_f1 == 0.6
    assert not message.progress.HasField("loss")


def test_a_finished_evaluation_of_several() -> None:
    second = ModelRef("m", version=3)
    found = comparison(second)
    job = Job(
        id="j",
        type=JobType.EVALUATION,
        state=JobState.SUCCEEDED,
        create_time=datetime(2026, 5, 6, tzinfo=UTC),
        model="m",
        version=4,
        dataset="/d",
        evaluation=evaluation(),
        others=(second,),
        comparisons=(found,),
    )
    message = convert.job_message(job)
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


def test_every_figure_of_an_evaluation_arrives() -> None:
    message = convert.evaluation_message(evaluation())
    for field in evaluation_pb2.Evaluation.DESCRIPTOR.fields:
        if field.name in {"accuracy_without_leaked", "micro_f1", "mean_average_precision", "coverage", "accepted_accuracy"}:
            assert not message.HasField(field.name)
        elif field.name not in {"accuracy_interval", "labels", "unreadable_files", "figures", "reliability"}:
            assert getattr(message, field.name) == getattr(evaluation(), field.name)
    assert not any(row.HasField("threshold") for row in message.labels)
    figure, filled = Figure("roc_auc", 0.9, 0.8, 0.95), ReliabilityBin(0.5, 1.0, 30, 0.92, 0.9)
    judged = convert.evaluation_message(replace(evaluation(), figures=(figure,), reliability=(filled,)))
    (row,), (held,) = judged.figures, judged.reliability
    assert (row.name, row.value, row.interval.low, row.interval.high) == ("roc_auc", 0.9, 0.8, 0.95)
    assert (held.confidences.low, held.confidences.high, held.answers, held.confidence, held.right) == (0.5, 1.0, 30, 0.92, 0.9)
    leaky = convert.evaluation_message(replace(evaluation(), leaked_examples=3, accuracy_without_leaked=0.0))
    assert (leaky.leaked_examples, leaky.HasField("accuracy_without_leaked")) == (3, True)
    assert (message.accuracy_interval.low, message.accuracy_interval.high) == evaluation().accuracy_interval
    rows = (LabelMetrics("red", 9, 0.5, 0.6, 0.7, threshold=0.25),)
    accepting = convert.evaluation_message(replace(evaluation(), coverage=0.0))
    assert (accepting.HasField("coverage"), accepting.HasField("accepted_accuracy")) == (True, False)
    several = convert.evaluation_message(replace(evaluation(), labels=rows, micro_f1=0.0, mean_average_precision=0.5))
    assert (several.HasField("micro_f1"), several.mean_average_precision) == (True, 0.5)
    assert (several.labels[0].threshold, list(several.labels[0].predicted_counts)) == (0.25, [])


NOUNS = [
    (types.DatasetReport, evaluation_pb2.DatasetReport),
    *((noun, getattr(evaluation_pb2, noun.__name__)) for noun in vars(findings).values() if is_dataclass(noun)),
]


@pytest.mark.parametrize(("noun", "message"), NOUNS, ids=lambda value: value.__name__)
def test_a_finding_and_its_message_have_the_same_fields(noun: type, message: type) -> None:
    assert [f.name for f in message.DESCRIPTOR.fields] == [f.name for f in fields(noun)]  # type: ignore[attr-defined]


def test_an_inspection_says_what_was_asked_and_what_was_found() -> None:
    size, count = findings.PictureSize(3, 2), findings.PictureCount("JPEG", 5)
    group = findings.DuplicateGroup(True, True, False, (findings.DuplicateFile("a/b.jpg", "a", "test"),), 2)
    report = types.DatasetReport(
        (),
        (),
        (),
        "d",
        findings.PictureStatistics(size, size, size, (count,), (count,)),
        findings.Duplicates((group,), 1, 2, 2, 0),
        findings.Suspects((findings.Suspect("a/b.jpg", "a", "c", 0.75),), 9, 99),
    )
    job = Job(
        id="j",
        type=JobType.INSPECTION,
        create_time=datetime.now(UTC),
        model="",
        dataset="/d",
        inspection=InspectionSpec("resnet50", 7),
    )
    message = convert.job_message(job)
    assert (message.model, message.WhichOneof("detail"), message.inspection.backbone) == ("", "inspection", "resnet50")
    assert not message.inspection.HasField("dataset_report")
    found = convert.job_message(replace(job, dataset_report=report)).inspection.dataset_report
    assert (found.pictures.median.width_px, found.pictures.modes[0].pictures) == (3, 5)
    assert (found.duplicates.groups[0].exact, found.duplicates.groups[0].files[0].split) == (True, "test")
    assert (found.duplicates.files_across_labels, found.suspects.count, found.suspects.examined) == (2, 9, 99)
    assert (found.suspects.pictures[0].suggested_label, found.suspects.pictures[0].probability) == ("c", 0.75)


def test_a_failed_evaluation_names_its_version_and_its_error() -> None:
    error = JobError("BAD_DATASET", "no")
    job = Job(
        id="j",
        type=JobType.EVALUATION,
        state=JobState.FAILED,
        create_time=datetime.now(UTC),
        model="m",
        version=2,
        dataset="/d",
        error=error,
    )
    message = convert.job_message(job)
    assert (message.model, message.error.message) == ("models/m/versions/2", "no")
    assert message.WhichOneof("detail") is None


def test_a_version_that_could_not_be_loaded(tiny_bundle: Path) -> None:
    manifest = bundle.read_manifest((tiny_bundle / bundle.MANIFEST).read_bytes())
    message = convert.version_message("m", 1, manifest, ServingState.FAILED, BrokenBundle("damaged"))
    assert (message.serving_error.message, list(message.labels)) == ("damaged", ["blue", "green", "red"])
    assert message.sha256 == manifest.files["model.onnx"]
    assert message.base_version == ""


def test_the_variants_of_a_version_survive_the_manifest_and_the_trip(tiny_bundle: Path) -> None:
    judged = Fidelity(
        examples=60,
        agreement=0.95,
        accuracy=0.9,
        accuracy_lost=0.0,
        log_loss=0.5,
        calibration_error=0.03,
        calibration_error_grown=-0.01,
    )
    made = Variant(precision=Precision.INT8, size_bytes=9, validation=judged, test=judged, speed=1.5, device="the CPU")
    refused = Variant(precision=Precision.FP16, refusal="it overflows")
    manifest = bundle.read_manifest((tiny_bundle / bundle.MANIFEST).read_bytes())
    written = document.dump(replace(manifest, variants=(made, refused))).encode()
    read = bundle.read_manifest(written)
    assert read.variants == (made, refused)
    assert read.accepted() == (Precision.INT8,)
    message = convert.version_message("m", 1, read, ServingState.READY, None, Precision.INT8)
    assert message.serving_precision == variant_pb2.PRECISION_INT8
    first, second = message.variants
    assert (first.precision, first.size_bytes, first.speed) == (variant_pb2.PRECISION_INT8, 9, 1.5)
    assert all(getattr(first.test, field.name) == getattr(judged, field.name) for field in fields(Fidelity))
    assert (second.refusal, second.HasField("validation"), second.HasField("speed")) == ("it overflows", False, False)
    assert convert.version_message("m", 1, manifest, None, None).serving_precision == variant_pb2.PRECISION_UNSPECIFIED


@pytest.mark.parametrize(
    ("numbers", "sentence"),
    [
        ([9], "9 is not a precision"),
        ([0], "0 is not a precision"),
        ([1], "which every version is anyway"),
        ([3, 3], "name each once"),
    ],
)
def test_a_variant_that_makes_no_sense_is_refused(numbers: list[int], sentence: str) -> None:
    with pytest.raises(InvalidArgument, match=sentence):
        specification.train_spec(training_spec_pb2.TrainingSpec(variants=numbers))  # type: ignore[arg-type]


def test_a_version_that_started_from_another(tiny_bundle: Path) -> None:
    manifest = bundle.read_manifest((tiny_bundle / bundle.MANIFEST).read_bytes())
    lineage = replace(manifest.lineage, base_version=ModelRef("other", version=3))
    written = document.dump(replace(manifest, lineage=lineage)).encode()
    message = convert.version_message("m", 1, bundle.read_manifest(written), None, None)
    assert message.base_version == "models/other/versions/3"


def test_a_version_says_whether_its_answers_can_be_explained(tmp_path: Path) -> None:
    for explainable in (True, False):
        folder = write_bundle(tmp_path / str(explainable), explainable=explainable)
        manifest = bundle.read_manifest((folder / bundle.MANIFEST).read_bytes())
        assert (bundle.EXPLAIN in manifest.files) is explainable
        assert convert.version_message("m", 1, manifest, None, None).explainable is explainable


def test_a_version_says_what_is_unknown_to_it(tiny_bundle: Path) -> None:
    manifest = bundle.read_manifest((tiny_bundle / bundle.MANIFEST).read_bytes())
    assert not convert.version_message("m", 1, manifest, None, None).HasField("unknown")
    distribution, confidence = DistributionRule("far", 3.5, 0.99, 0.02), ConfidenceRule(0.98, (0.9, 0.8, NEVER))
    one = convert.version_message("m", 1, replace(manifest, unknown=UnknownRules(distribution)), None, None).unknown
    found = one.distribution
    assert (found.method, found.threshold, found.known_share, found.refused) == ("far", 3.5, 0.99, 0.02)
    assert not one.HasField("confidence")
    other = convert.version_message("m", 1, replace(manifest, unknown=UnknownRules(confidence=confidence)), None, None).unknown
    assert not other.HasField("distribution")
    assert other.confidence.min_precision == 0.98
    assert [(row.label, row.threshold) for row in other.confidence.thresholds] == [("blue", 0.9), ("green", 0.8), ("red", NEVER)]
