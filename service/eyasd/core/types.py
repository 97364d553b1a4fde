"""The nouns that cross from one room to another: datasets, progress, jobs, predictions.

All are frozen values. A field that is None takes a default somewhere else, and its docstring says where.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime, timedelta
from enum import StrEnum

from eyasd.core.answers import Split
from eyasd.core.comparison import Comparison
from eyasd.core.evaluation import EpochMetrics, Evaluation
from eyasd.core.findings import Duplicates, PictureStatistics, Suspects, UnreadableFile
from eyasd.core.names import ModelRef
from eyasd.core.spec import InspectionSpec, TrainSpec


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
class Conditions:
    """What decides a training beside its dataset and its hyper-parameters.

    Attributes:
        code_version: version of Eyas.
        packages: versions of the libraries that decide the result.
        device: what it is trained on, in words.
        weights_source: where the weights to start from come from, and their SHA-256 where they are a file; "" is none, None that
            there should be some and none were found, or that they are a version's.
    """

    code_version: str
    packages: Mapping[str, str]
    device: str
    weights_source: str | None


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
        others: further versions to score beside it, whose bundles lie in JOB_DIR/others.
        split: of those that the version was made with, the one to score; None is all of the dataset, or its test split.
    """

    job: str
    attempt: int
    model: str
    dataset: str
    others: tuple[ModelRef, ...] = ()
    split: Split | None = None


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


@dataclass(frozen=True, slots=True, kw_only=True)
class InspectionOutcome:
    """JOB_DIR/result.json of an inspection; `conditions` is set where a version's training was retraced."""

    dataset_report: DatasetReport
    conditions: Conditions | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationOutcome:
    """JOB_DIR/result.json of an evaluation, with a comparison for each of the task's `others`."""

    evaluation: Evaluation
    comparisons: tuple[Comparison, ...] = ()


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
        conditions: of an inspection that retraced a version's training, and succeeded.
        others: further versions that an evaluation scores, by their numbers.
        comparisons: of an evaluation that succeeded, one for each of `others`.
        split: of an evaluation, see `EvaluationTask`.
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
    conditions: Conditions | None = None
    others: tuple[ModelRef, ...] = ()
    comparisons: tuple[Comparison, ...] = ()
    split: Split | None = None


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
