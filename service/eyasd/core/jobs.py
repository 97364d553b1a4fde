"""The nouns of a job: its state, how far it is, and what came of it.

All are frozen values. A field that is None takes a default somewhere else, and its docstring says where.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from eyasd.core.answers import Split
from eyasd.core.comparison import Comparison
from eyasd.core.evaluation import EpochMetrics, Evaluation
from eyasd.core.findings import DatasetReport
from eyasd.core.gate import Gate
from eyasd.core.names import ModelRef
from eyasd.core.spec import InspectionSpec, TrainSpec
from eyasd.core.tasks import Conditions


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a job is.

    Attributes:
        stage: `fetch`, `audit`, `decode`, `weights`, `head`, `search`, `fine-tune`, `export`, `evaluate` or `publish`, and in an
            inspection `features` and `suspects`; `fetch` where the dataset lies in a bucket, `search` where several backbones or
            hyper-parameters are tried.
        epoch: the epoch under way, from 1; 0 outside `fine-tune`.
        epochs: number of epochs planned; 0 outside `fine-tune`.
        stage_fraction: how much of the stage is done, 0..1.
        fraction: how much of the job is done, 0..1, as estimated.
        images_per_second: 0 where the stage processes no pictures.
        time_left: estimated time until the job ends; None while unknown.
        loss: training loss so far in this epoch; None outside `fine-tune`.
        validation: the newest figures on the validation split; None before the head is fitted.
        step: how many steps of the fine-tuning are done; 0 outside `fine-tune`.
        learning_rate: of the last of them, the largest of all parts of the network; None outside `fine-tune`.
        part: of the stage, where it has several and somebody wants to know, see `TrainingTask.trace`.
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
    step: int = 0
    learning_rate: float | None = None
    part: str | None = None


class JobType(StrEnum):
    """What a job does."""

    TRAINING = "training"
    EVALUATION = "evaluation"
    INSPECTION = "inspection"


class JobPriority(StrEnum):
    """Which jobs go first where not all can run."""

    LOW = "low"
    NORMAL = "normal"
    HIGH = "high"


class JobState(StrEnum):
    """Where a job is in its life. One that is interrupted ended its attempt through no fault of its own, or was paused."""

    QUEUED = "queued"
    STARTING = "starting"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"

    @property
    def ended(self) -> bool:
        """Whether a job never leaves this state."""
        return self in (JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED)

    @property
    def at_work(self) -> bool:
        """Whether a replica holds a job in this state."""
        return self in (JobState.STARTING, JobState.RUNNING)


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
        pausing: whether somebody asked it, while it runs, to be interrupted until it is resumed.
        resume_time: when an interrupted job is queued again; None waits until somebody resumes it.
        dataset_report: of a training or an inspection that succeeded.
        evaluation: of a training or an evaluation that succeeded.
        gate: of a training that succeeded and that added captured pictures, see `Manifest`.
        conditions: of an inspection that retraced a version's training, and succeeded.
        others: further versions that an evaluation scores, by their numbers.
        comparisons: of an evaluation that succeeded, one for each of `others`.
        split: of an evaluation, see `EvaluationTask`.
        owner: who submitted it; "" is nobody that is known.
        devices: how many it wants at once; 0 is what the trainer that runs it gives to one of its type.
        micro_batches: of the next attempt of a training, see `TrainingTask`.
        setback: why the last attempt ended where another one follows, for a person.
        worked: how long the attempts before this one have been at work, as far as that was seen.
        trace: the call that asked for it, as `traceparent` has it; None where that is not traced.
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
    gate: Gate | None = None
    inspection: InspectionSpec | None = None
    base_version: ModelRef | None = None
    conditions: Conditions | None = None
    others: tuple[ModelRef, ...] = ()
    comparisons: tuple[Comparison, ...] = ()
    split: Split | None = None
    priority: JobPriority = JobPriority.NORMAL
    owner: str = ""
    devices: int = 0
    pausing: bool = False
    resume_time: datetime | None = None
    micro_batches: int = 1
    setback: str = ""
    worked: timedelta = timedelta(0)
    trace: str | None = None


@dataclass(frozen=True, slots=True)
class Queued:
    """What a queue has to know of a job that waits in it."""

    id: str
    type: JobType
    priority: JobPriority
    owner: str
    devices: int
    create_time: datetime


@dataclass(frozen=True, slots=True)
class Waiting:
    """Why a job is not at work.

    Attributes:
        reason: a sentence, or several.
        expected_start: of a queued one, estimated from how far the running jobs are; None while unknown.
    """

    reason: str
    expected_start: datetime | None = None


@dataclass(frozen=True, slots=True)
class Lease:
    """What a replica, a daemon among others, names with all that it writes of an attempt: the right to write it."""

    job: str
    attempt: int
    replica: str


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
