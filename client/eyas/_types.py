"""What a caller of the client holds: frozen values, in Python's own types, with the short names that people use.

A version is `NAME/NUMBER`, an alias `NAME@ALIAS`, a job its id; each can be passed back to the client as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

from eyas._errors import EyasError
from eyas._findings import Duplicates, PictureStatistics, SplitSizes, Suspects
from eyas._lineage import BundleFile, Conditions, Lineage
from eyas._settings import SettingValue
from eyas._unknown import Unknown, UnknownRules
from eyas._variants import Precision, Variant

if TYPE_CHECKING:  # a comparison holds an evaluation, and a job both
    from eyas._comparison import Comparison


class JobState(StrEnum):
    """Where a job is in its life; `unspecified` is a state that only a newer client knows."""

    UNSPECIFIED = "unspecified"
    QUEUED = "queued"
    RUNNING = "running"
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
    """

    predictions: tuple[Prediction, ...]
    version: str
    timing: Timing
    multi_label: bool = False
    unknown: Unknown | None = None
    ood_score: float | None = None
    explanation: bytes | None = None

    @property
    def label(self) -> str:
        """The most probable label."""
        return self.predictions[0].label

    @property
    def labels(self) -> tuple[str, ...]:
        """Those of the predictions that apply."""
        return tuple(prediction.label for prediction in self.predictions if prediction.applies)


@dataclass(frozen=True, slots=True)
class UnreadableFile:
    """A file that is not a picture Eyas reads; `path` is relative to the dataset's folder, or as its manifest has it."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class LabelMetrics:
    """One label's figures; `predicted_counts` is its row of the confusion matrix, in order of class index.

    Of a multi-label model `predicted_counts` is empty, and `threshold` is the probability from which on the label applies.
    """

    label: str
    examples: int
    precision: float
    recall: float
    f1: float
    predicted_counts: tuple[int, ...]
    threshold: float | None = None


@dataclass(frozen=True, slots=True)
class Interval:
    """A closed interval."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of an evaluation, by the name that `eyas.v1.Figure` lists, with its 95 % interval."""

    name: str
    value: float
    interval: Interval


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """The answers whose confidence is in the interval, their mean confidence, and the share of them that is right."""

    confidences: Interval
    answers: int
    confidence: float
    right: float


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What a version scored; the fields are those of `eyas.v1.Evaluation`, shares 0..1, log loss in nats.

    Attributes:
        leaked_examples: how many pictures had a part in making the version; see `eyas.v1.Evaluation`.
        accuracy_without_leaked: on the others; None where nothing leaked, or everything.
        micro_f1: of a multi-label model, whose `accuracy` is that of whole sets of labels; None for others.
        mean_average_precision: likewise.
        figures: the headline figures, each with its interval; empty if the daemon does not know it yet.
        reliability: bins of confidence from 0 to 1; empty likewise.
        test_split_looks: how often versions of the model have been scored on just these pictures; 0 where it is not known.
        missing_examples: of a split that the version was made with, how many pictures the dataset does not hold any more.
        coverage: share of pictures that would not be called unknown where that is allowed; None where the version never does.
        accepted_accuracy: accuracy on these; None where there are none.
    """

    examples: int
    accuracy: float
    accuracy_interval: Interval
    macro_precision: float
    macro_recall: float
    macro_f1: float
    log_loss: float
    calibration_error: float
    labels: tuple[LabelMetrics, ...]
    unreadable_files: tuple[UnreadableFile, ...]
    leaked_examples: int = 0
    accuracy_without_leaked: float | None = None
    micro_f1: float | None = None
    mean_average_precision: float | None = None
    figures: tuple[Figure, ...] = ()
    reliability: tuple[ReliabilityBin, ...] = ()
    missing_examples: int = 0
    test_split_looks: int = 0
    coverage: float | None = None
    accepted_accuracy: float | None = None


@dataclass(frozen=True, slots=True)
class LabelCounts:
    """How many readable pictures a label has in each split."""

    label: str
    train: int
    validation: int
    test: int


@dataclass(frozen=True, slots=True)
class DatasetReport:
    """What was found in a dataset; the fields are those of `eyas.v1.DatasetReport`, None where they are not set."""

    labels: tuple[LabelCounts, ...]
    unreadable_files: tuple[UnreadableFile, ...]
    warnings: tuple[str, ...]
    digest: str
    pictures: PictureStatistics | None = None
    duplicates: Duplicates | None = None
    suspects: Suspects | None = None
    split_sizes: SplitSizes | None = None

    @property
    def sizes(self) -> SplitSizes:
        """The sizes of the splits; of a daemon that does not tell them, the sums over the labels."""
        if self.split_sizes is not None:
            return self.split_sizes
        train, validation, test = (sum(getattr(row, split) for row in self.labels) for split in SplitSizes.__slots__)
        return SplitSizes(train, validation, test)


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
        conditions: of an inspection that retraced a version's training: what one would be done with now.
        other_versions: the further versions of an evaluation.
        comparisons: how each of them did beside `version`, once the evaluation has succeeded.
        split: of the dataset that `version` was made with, `train`, `validation` or `test`, which an evaluation scores; or None.
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
