"""The nouns that cross from one room to another: datasets, evaluations, progress, jobs, predictions.

All are frozen values. A field that is None takes a default somewhere else, and its docstring says where.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from eyasd.core.findings import Duplicates, PictureStatistics, Suspects
from eyasd.core.names import ModelRef
from eyasd.core.spec import InspectionSpec, TrainSpec


@dataclass(frozen=True, slots=True)
class UnreadableFile:
    """A file of a dataset that is no picture Eyas reads; `path` is relative to the dataset's folder, or as its manifest has it."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class LabelCounts:
    """How many readable pictures a label has in each split."""

    label: str
    train: int
    validation: int
    test: int


@dataclass(frozen=True, slots=True)
class SplitSizes:
    """How many readable pictures there are in each split; of several labels, or none, each counts once."""

    train: int
    validation: int
    test: int


@dataclass(frozen=True, slots=True)
class DatasetReport:
    """What was found in a dataset.

    Attributes:
        labels: in order of class index.
        unreadable_files: left out of the training.
        warnings: sentences for a person.
        digest: SHA-256, hexadecimal, over the sorted (split, label, SHA-256 of the file).
        pictures: None in reports written before it was known; so `duplicates`, `suspects` and `split_sizes`.
        suspects: None also where no label has pictures enough, and of a multi-label dataset.
    """

    labels: tuple[LabelCounts, ...]
    unreadable_files: tuple[UnreadableFile, ...]
    warnings: tuple[str, ...]
    digest: str
    pictures: PictureStatistics | None = None
    duplicates: Duplicates | None = None
    suspects: Suspects | None = None
    split_sizes: SplitSizes | None = None


@dataclass(frozen=True, slots=True)
class LabelMetrics:
    """One label's figures within an evaluation.

    Attributes:
        predicted_counts: its row of the confusion matrix; empty for a multi-label model, which has none.
        threshold: the probability from which on a multi-label model says that it applies; None for others.
    """

    label: str
    examples: int
    precision: float
    recall: float
    f1: float
    predicted_counts: tuple[int, ...] = ()
    threshold: float | None = None


# The names that figures have; of a model of one label a picture, and of several, not all.
FIGURES: Final = (
    *("accuracy", "top_5_accuracy", "balanced_accuracy", "log_loss", "calibration_error", "roc_auc", "average_precision"),
    *(f"{mean}_{name}" for mean in ("macro", "micro", "weighted") for name in ("precision", "recall", "f1")),
)


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of an evaluation.

    Attributes:
        name: such as `balanced_accuracy`; see `eyas.v1.Figure`.
        value: of the pictures scored.
        low: lower end of its 95 % interval.
        high: upper end of it.
    """

    name: str
    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """The answers of about the same confidence: of a picture's most probable label, or of every label of a multi-label model.

    Attributes:
        low: the confidences are above it, and at most `high`.
        answers: how many there are.
        confidence: their mean confidence, 0..1; 0 where there are none.
        right: the share of them that holds, 0..1; 0 where there are none.
    """

    low: float
    high: float
    answers: int
    confidence: float
    right: float


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What a model version scored on labelled pictures.

    Attributes:
        examples: number of pictures scored.
        accuracy: share labelled right, 0..1; of a multi-label model, the share whose whole set of labels is right.
        accuracy_interval: ends of its 95 % Wilson score interval.
        macro_precision: unweighted mean over the labels that have an example; so `macro_recall` and `macro_f1`.
        log_loss: mean negative log-likelihood of the true label, in nats; of a multi-label model, of the whole set of labels.
        calibration_error: expected calibration error, 15 equally wide bins; of a multi-label model, over every label of every
            picture.
        labels: one row a label, in order of class index.
        unreadable_files: not scored.
        leaked_examples: of a training's test split, how many pictures have an exact or near copy in train or validation, or were
            trained on by its base version.
        accuracy_without_leaked: accuracy on the others; None where nothing leaked, or everything.
        micro_f1: of a multi-label model, F1 over every label of every picture; None for others.
        mean_average_precision: of a multi-label model, the unweighted mean over the labels that have an example; it needs no
            thresholds. None for others.
        figures: the headline figures, each with its interval; empty in evaluations written before it was known.
        reliability: 15 equally wide bins from 0 to 1; empty likewise.
    """

    examples: int
    accuracy: float
    accuracy_interval: tuple[float, float]
    macro_precision: float
    macro_recall: float
    macro_f1: float
    log_loss: float
    calibration_error: float
    labels: tuple[LabelMetrics, ...]
    unreadable_files: tuple[UnreadableFile, ...] = ()
    leaked_examples: int = 0
    accuracy_without_leaked: float | None = None
    micro_f1: float | None = None
    mean_average_precision: float | None = None
    figures: tuple[Figure, ...] = ()
    reliability: tuple[ReliabilityBin, ...] = ()


@dataclass(frozen=True, slots=True)
class EpochMetrics:
    """A network's figures on the validation split; epoch 0 is the head on the frozen backbone."""

    epoch: int
    train_loss: float
    loss: float
    accuracy: float
    macro_precision: float
    macro_recall: float
    macro_f1: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a job is.

    Attributes:
        stage: `audit`, `decode`, `weights`, `head`, `search`, `fine-tune`, `export`, `evaluate` or `publish`, and in an inspection
            `features` and `suspects`; `search` where several backbones or hyper-parameters are tried.
        epoch: the epoch under way, from 1; 0 outside `fine-tune`.
        epochs: number of epochs planned; 0 outside `fine-tune`.
        stage_fraction: how much of the stage is done, 0..1.
        fraction: how much of the job is done, 0..1, as estimated.
        images_per_second: 0 where the stage processes no pictures.
        time_left: estimated time until the job ends; None while unknown.
        loss: training loss so far in this epoch; None outside `fine-tune`.
        validation: the newest figures on the validation split; None before the head is fitted.
    """

    stage: str
    epoch: int = 0
    epochs: int = 0
    stage_fraction: float = 0.0
    fraction: float = 0.0
    images_per_second: float = 0.0
    time_left: timedelta | None = None
    loss: float | None = None
    validation: EpochMetrics | None = None


@dataclass(frozen=True, slots=True)
class SharedCache:
    """Where jobs keep decoded pictures for each other.

    Attributes:
        folder: absolute path.
        max_bytes: of all its files.
    """

    folder: str
    max_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingTask:
    """JOB_DIR/training.json: all that the training program is told.

    Attributes:
        job: id of the job, recorded in the version's lineage.
        attempt: number of this attempt, from 1.
        model: name of the model, for the report.
        dataset: absolute path of the folder, manifest or archive.
        spec: the hyper-parameters asked for.
        weights: file or folder of pre-trained weights given by the operator, searched first; None is none.
        hub: whether weights may be downloaded.
        deadline: when the budget ends, UTC; None is no budget.
        base_version: the version that JOB_DIR/base holds, to start from; None is none.
        cache: of decoded pictures; None is a cache for this job alone.
    """

    job: str
    attempt: int
    model: str
    dataset: str
    spec: TrainSpec
    weights: str | None = None
    hub: bool = True
    deadline: datetime | None = None
    base_version: ModelRef | None = None
    cache: SharedCache | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationTask:
    """JOB_DIR/evaluation.json; the version's bundle lies in JOB_DIR/bundle.

    Attributes:
        job: id of the job.
        attempt: number of this attempt, from 1.
        model: short reference of the version, for messages.
        dataset: absolute path of the folder, manifest or archive.
    """

    job: str
    attempt: int
    model: str
    dataset: str


@dataclass(frozen=True, slots=True, kw_only=True)
class InspectionTask:
    """JOB_DIR/inspection.json.

    Attributes:
        job: id of the job.
        attempt: number of this attempt, from 1.
        dataset: as in TrainingTask.
        spec: what was asked for.
        weights: as in TrainingTask; so `hub` and `cache`.
    """

    job: str
    attempt: int
    dataset: str
    spec: InspectionSpec
    weights: str | None = None
    hub: bool = True
    cache: SharedCache | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingOutcome:
    """JOB_DIR/result.json of a training; the version's bundle lies in JOB_DIR/bundle."""

    dataset_report: DatasetReport
    evaluation: Evaluation


class JobType(StrEnum):
    """What a job does."""

    TRAINING = "training"
    EVALUATION = "evaluation"
    INSPECTION = "inspection"


class JobState(StrEnum):
    """Where a job is in its life."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        """Whether a job never leaves this state."""
        return self in (JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED)


@dataclass(frozen=True, slots=True)
class JobError:
    """Why a job failed, in the words of the error tree; `reason` is its stable name."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A training, an evaluation or an inspection, from its acceptance to its end.

    Attributes:
        id: last part of the resource name.
        model: name of the model trained or evaluated; "" in an inspection.
        version: the version evaluated, or published by the training; None until then.
        alias: the alias a training is to point to its version; None for the default rule.
        spec: of a training.
        base_version: the version that a training starts from, by its number; None is none.
        inspection: of an inspection.
        attempt: how often its process has been started.
        lost: how often its process ended through no fault of its own.
        cancelling: whether somebody asked it to end.
        dataset_report: of a training or an inspection that succeeded.
        evaluation: of a training or an evaluation that succeeded.
    """

    id: str
    type: JobType
    state: JobState = JobState.QUEUED
    create_time: datetime
    start_time: datetime | None = None
    end_time: datetime | None = None
    attempt: int = 0
    lost: int = 0
    cancelling: bool = False
    model: str
    version: int | None = None
    dataset: str
    alias: str | None = None
    spec: TrainSpec | None = None
    progress: Progress | None = None
    error: JobError | None = None
    dataset_report: DatasetReport | None = None
    evaluation: Evaluation | None = None
    inspection: InspectionSpec | None = None
    base_version: ModelRef | None = None


@dataclass(frozen=True, slots=True)
class JobEvent:
    """One update of a job: exactly one of `progress`, `message` and `job` is set.

    Attributes:
        sequence: number within the job, from 1, without gaps.
        time: when it happened, UTC.
    """

    sequence: int
    time: datetime
    progress: Progress | None = None
    message: str | None = None
    job: Job | None = None


@dataclass(frozen=True, slots=True)
class AliasRecord:
    """One entry of an alias's history.

    Attributes:
        record: number within the history, from 1.
        version: where the alias points from this record on.
        previous: where it pointed before; None in the first record.
        time: when, UTC.
        actor: who set it.
        reason: why, in the actor's words.
        undoes: number of the record that this one takes back; None where it is no rollback.
        evidence: what the model's policy demanded of the version and what it had, a sentence each; empty where none was asked.
        forced: whether it was moved although the policy refused.
    """

    record: int
    version: int
    previous: int | None
    time: datetime
    actor: str
    reason: str
    undoes: int | None = None
    evidence: tuple[str, ...] = ()
    forced: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What a version must have before some of its model's aliases may point to it.

    Attributes:
        aliases: those that it guards.
        at_least: the least value of figures, by the names of `eyas.v1.Figure`.
        at_most: the largest value of figures.
        max_label_drop: how much lower the F1 of a label may be than that of the version the alias points to; None is anything.
    """

    aliases: tuple[str, ...]
    at_least: Mapping[str, float]
    at_most: Mapping[str, float]
    max_label_drop: float | None = None


@dataclass(frozen=True, slots=True)
class PolicyRecord:
    """One entry of the history of a model's policy: the number, from 1, what was in force from then on, since when, and by whom."""

    record: int
    policy: Policy
    time: datetime
    actor: str


class Device(StrEnum):
    """Where networks run; `auto` is CUDA where there is a GPU."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"


@dataclass(frozen=True, slots=True)
class Prediction:
    """A label, its class index, its calibrated probability, 0..1, and whether it applies: by its threshold, or as the likeliest."""

    label: str
    class_index: int
    probability: float
    applies: bool


@dataclass(frozen=True, slots=True)
class Timing:
    """How long one picture, or the slowest of several, took in each stage, in seconds."""

    preprocessing: float = field(default=0.0)
    queue: float = field(default=0.0)
    inference: float = field(default=0.0)

    def longest(self, other: Timing) -> Timing:
        """Returns the longer of the two, stage by stage."""
        return Timing(*(max(getattr(self, stage.name), getattr(other, stage.name)) for stage in fields(self)))
