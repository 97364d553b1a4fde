"""The nouns of JOB_DIR: what the training program is told, and what it returns; see `core.jobdir`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from eyasd.core.answers import Split
from eyasd.core.comparison import Comparison
from eyasd.core.evaluation import Evaluation
from eyasd.core.findings import DatasetReport
from eyasd.core.gate import Gate
from eyasd.core.names import ModelRef
from eyasd.core.spec import InspectionSpec, TrainSpec


@dataclass(frozen=True, slots=True)
class SharedCache:
    """Where jobs keep something for each other.

    Attributes:
        folder: absolute path.
        max_bytes: of all its files.
    """

    folder: str
    max_bytes: int


@dataclass(frozen=True, slots=True)
class Sources:
    """Where datasets come from.

    Attributes:
        roots: names of the places below which they must lie, see `core.places`; none allows any.
        fetched: where jobs keep what they fetch of buckets for each other; None keeps it for this job alone.
    """

    roots: tuple[str, ...] = ()
    fetched: SharedCache | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingTask:
    """JOB_DIR/training.json: all that the training program is told.

    Attributes:
        job: id of the job, recorded in the version's lineage.
        attempt: number of this attempt, from 1.
        model: name of the model, for the report.
        dataset: name of the folder, manifest, shards or archive, see `core.places`.
        spec: the hyper-parameters asked for.
        weights: file or folder of pre-trained weights given by the operator, searched first; None is none.
        hub: whether weights may be downloaded.
        deadline: when the budget ends, UTC; None is no budget.
        base_version: the version that JOB_DIR/base holds, to start from; None is none.
        cache: of decoded pictures; None is a cache for this job alone.
        micro_batches: in how many parts each batch is taken at least, where memory is short; the steps are those of whole ones.
        sources: where the dataset may lie.
        trace: the call that asked for it, see `Job`; where there is one, the parts of the stages are told, too.
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
    micro_batches: int = 1
    sources: Sources = Sources()
    trace: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationTask:
    """JOB_DIR/evaluation.json; the version's bundle lies in JOB_DIR/bundle.

    Attributes:
        job: id of the job.
        attempt: number of this attempt, from 1.
        model: short reference of the version, for messages.
        dataset: name of the folder, manifest, shards or archive, see `core.places`.
        others: further versions to score beside it, whose bundles lie in JOB_DIR/others.
        split: of those that the version was made with, the one to score; None is all of the dataset, or its test split.
        sources: as in TrainingTask.
    """

    job: str
    attempt: int
    model: str
    dataset: str
    others: tuple[ModelRef, ...] = ()
    split: Split | None = None
    sources: Sources = Sources()


@dataclass(frozen=True, slots=True, kw_only=True)
class InspectionTask:
    """JOB_DIR/inspection.json.

    Attributes:
        job: id of the job.
        attempt: number of this attempt, from 1.
        dataset: as in TrainingTask.
        spec: what was asked for.
        weights: as in TrainingTask; so `hub`, `cache` and `sources`.
    """

    job: str
    attempt: int
    dataset: str
    spec: InspectionSpec
    weights: str | None = None
    hub: bool = True
    cache: SharedCache | None = None
    sources: Sources = Sources()


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
class TrainingOutcome:
    """JOB_DIR/result.json of a training; the version's bundle lies in JOB_DIR/bundle, and `gate` is its manifest's."""

    dataset_report: DatasetReport
    evaluation: Evaluation
    gate: Gate | None = None


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
