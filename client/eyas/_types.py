"""What a caller of the client holds: frozen values, in Python's own types, with the short names that people use.

A version is `NAME/NUMBER`, an alias `NAME@ALIAS`, a job its id; each can be passed back to the client as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from eyas._comparison import Comparison
from eyas._errors import EyasError
from eyas._evaluation import Evaluation
from eyas._findings import DatasetReport
from eyas._gate import RegressionGate
from eyas._lineage import BundleFile, Conditions, Lineage
from eyas._settings import SettingValue
from eyas._unknown import Unknown, UnknownRules
from eyas._variants import Precision, Variant


class JobState(StrEnum):
    """Where a job is in its life; `unspecified` is a state that only a newer client knows."""

    UNSPECIFIED = "unspecified"
    QUEUED = "queued"
    STARTING = "starting"
    RUNNING = "running"
    INTERRUPTED = "interrupted"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def ended(self) -> bool:
        """Whether a job never leaves this state."""
        return self in {JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED}


class JobType(StrEnum):
    """What a job does; `unspecified` is a type that only a newer client knows."""

    UNSPECIFIED = "unspecified"
    TRAINING = "training"
    EVALUATION = "evaluation"
    INSPECTION = "inspection"


class Priority(StrEnum):
    """How urgent a picture or a job is where not all can be served at once; pictures of low priority are refused first."""

    HIGH = "high"
    NORMAL = "normal"
    LOW = "low"


class ServingState(StrEnum):
    """What the server does with a version; `unspecified` where it does not serve."""

    UNSPECIFIED = "unspecified"
    NOT_LOADED = "not_loaded"
    LOADING = "loading"
    READY = "ready"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Prediction:
    """A label, its row in the model's list of labels, its calibrated probability, 0..1, and whether it applies to the picture."""

    label: str
    class_index: int
    probability: float
    applies: bool


@dataclass(frozen=True, slots=True)
class Timing:
    """How long the server spent on the request the picture was in, by stage."""

    preprocessing: timedelta
    queue: timedelta
    inference: timedelta


@dataclass(frozen=True, slots=True)
class Classification:
    """The labels of one picture, most probable first, and the version that gave them, such as `clothing/3`.

    Attributes:
        multi_label: whether any number of labels may apply, by the threshold of each; otherwise the most probable one does.
        unknown: why none of the labels applies; None where the picture is not unknown, or that was not allowed.
        ood_score: how little the picture is like the training pictures, larger = less; None where the version does not compute it.
        explanation: where in the picture the network saw the first label: a PNG file of what it saw, which is square and cut out of
            the middle, in grey, coloured from violet to yellow where it speaks for the label; None where nobody asked.
        prediction_id: by which `Client.report_feedback` says what would have been right; "" of a server that has no ids.
    """

    predictions: tuple[Prediction, ...]
    version: str
    timing: Timing
    multi_label: bool = False
    unknown: Unknown | None = None
    ood_score: float | None = None
    explanation: bytes | None = None
    prediction_id: str = ""

    @property
    def label(self) -> str:
        """The most probable label."""
        return self.predictions[0].label

    @property
    def labels(self) -> tuple[str, ...]:
        """Those of the predictions that apply."""
        return tuple(prediction.label for prediction in self.predictions if prediction.applies)


@dataclass(frozen=True, slots=True)
class EpochMetrics:
    """Figures on the validation split; epoch 0 is the head on the frozen backbone."""

    epoch: int
    train_loss: float
    loss: float
    accuracy: float
    macro_precision: float
    macro_recall: float
    macro_f1: float


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a job is; the fields are those of `eyas.v1.JobProgress`, None where they are not set."""

    stage: str
    epoch: int
    epochs: int
    stage_fraction: float
    fraction: float
    images_per_second: float
    time_left: timedelta | None
    loss: float | None
    validation: EpochMetrics | None


@dataclass(frozen=True, slots=True)
class Job:
    """A training, an evaluation or an inspection.

    Attributes:
        model: name of the model trained or evaluated; "" in an inspection.
        version: the version evaluated, or published by a training that succeeded.
        alias: the alias asked for.
        base_version: the version whose weights a training starts from.
        settings: the hyper-parameters a training was asked for, or the options of an inspection.
        error: why it failed.
        dataset_report: of a training or an inspection that succeeded.
        evaluation: of a training or an evaluation that succeeded; a training's is on its test split.
        gate: of a training that succeeded and that added captured pictures: how it did beside `base_version`.
        conditions: of an inspection that retraced a version's training: what one would be done with now.
        other_versions: the further versions of an evaluation.
        comparisons: how each of them did beside `version`, once the evaluation has succeeded.
        split: of the dataset that `version` was made with, `train`, `validation` or `test`, which an evaluation scores; or None.
        owner: who submitted it.
        waiting_reason: why it is not at work; "" where it is, or has ended.
        expected_start_time: when it will probably start, where it is queued and that can be told.
        resume_time: when it is queued again, where it is interrupted; None where it is paused.
    """

    id: str
    type: JobType
    state: JobState
    create_time: datetime
    start_time: datetime | None
    end_time: datetime | None
    attempt: int
    model: str
    version: str | None
    alias: str | None
    dataset: str
    settings: Mapping[str, SettingValue]
    progress: Progress | None
    error: EyasError | None
    dataset_report: DatasetReport | None
    evaluation: Evaluation | None
    base_version: str | None = None
    conditions: Conditions | None = None
    other_versions: tuple[str, ...] = ()
    comparisons: tuple[Comparison, ...] = ()
    split: str | None = None
    priority: Priority = Priority.NORMAL
    owner: str = ""
    waiting_reason: str = ""
    expected_start_time: datetime | None = None
    resume_time: datetime | None = None
    gate: RegressionGate | None = None


@dataclass(frozen=True, slots=True)
class JobEvent:
    """One update of a job: exactly one of `progress`, `message` and `job` is set; sequence numbers have no gaps."""

    sequence: int
    time: datetime
    progress: Progress | None
    message: str | None
    job: Job | None


@dataclass(frozen=True, slots=True)
class Alias:
    """A movable name for one version of a model."""

    name: str
    version: str
    record: int
    update_time: datetime
    actor: str
    reason: str
    previous_version: str | None = None
    undone_record: int | None = None
    evidence: tuple[str, ...] = ()
    forced: bool = False


@dataclass(frozen=True, slots=True)
class Model:
    """A named line of versions."""

    name: str
    create_time: datetime
    aliases: tuple[Alias, ...]
    latest_version: str
    version_count: int


@dataclass(frozen=True, slots=True)
class Parity:
    """The largest differences found between the trained network and the exported file."""

    examples: int
    max_logit_difference: float
    mean_logit_difference: float
    batch_sizes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """An immutable version; the fields are those of `eyas.v1.ModelVersion`.

    Attributes:
        lineage: None where the daemon does not tell it yet, or the version is damaged.
        files: what is wrong with them is known only where the version was asked for with `verify`.
    """

    name: str
    create_time: datetime
    labels: tuple[str, ...]
    backbone: str
    image_size_px: int
    size_bytes: int
    sha256: str
    evaluation: Evaluation
    parity: Parity
    job: str
    dataset_digest: str
    weights_source: str
    serving_state: ServingState
    serving_error: EyasError | None
    base_version: str | None = None
    multi_label: bool = False
    unknown: UnknownRules | None = None
    explainable: bool = False
    variants: tuple[Variant, ...] = ()
    serving_precision: Precision = Precision.UNSPECIFIED
    lineage: Lineage | None = None
    files: tuple[BundleFile, ...] = ()

    @property
    def damaged(self) -> bool:
        """Whether its manifest cannot be read, so that nothing is known but its name and, as `serving_error`, what is wrong."""
        return not self.labels
