from eyas.v1 import comparison_pb2 as _comparison_pb2
from eyas.v1 import evaluation_pb2 as _evaluation_pb2
from eyas.v1 import gate_pb2 as _gate_pb2
from eyas.v1 import lineage_pb2 as _lineage_pb2
from eyas.v1 import training_spec_pb2 as _training_spec_pb2
from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.rpc import status_pb2 as _status_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class JobType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    JOB_TYPE_UNSPECIFIED: _ClassVar[JobType]
    JOB_TYPE_TRAINING: _ClassVar[JobType]
    JOB_TYPE_EVALUATION: _ClassVar[JobType]
    JOB_TYPE_INSPECTION: _ClassVar[JobType]

class JobState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    JOB_STATE_UNSPECIFIED: _ClassVar[JobState]
    JOB_STATE_QUEUED: _ClassVar[JobState]
    JOB_STATE_RUNNING: _ClassVar[JobState]
    JOB_STATE_SUCCEEDED: _ClassVar[JobState]
    JOB_STATE_FAILED: _ClassVar[JobState]
    JOB_STATE_CANCELLED: _ClassVar[JobState]
    JOB_STATE_STARTING: _ClassVar[JobState]
    JOB_STATE_INTERRUPTED: _ClassVar[JobState]

class JobPriority(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    JOB_PRIORITY_UNSPECIFIED: _ClassVar[JobPriority]
    JOB_PRIORITY_HIGH: _ClassVar[JobPriority]
    JOB_PRIORITY_NORMAL: _ClassVar[JobPriority]
    JOB_PRIORITY_LOW: _ClassVar[JobPriority]
JOB_TYPE_UNSPECIFIED: JobType
JOB_TYPE_TRAINING: JobType
JOB_TYPE_EVALUATION: JobType
JOB_TYPE_INSPECTION: JobType
JOB_STATE_UNSPECIFIED: JobState
JOB_STATE_QUEUED: JobState
JOB_STATE_RUNNING: JobState
JOB_STATE_SUCCEEDED: JobState
JOB_STATE_FAILED: JobState
JOB_STATE_CANCELLED: JobState
JOB_STATE_STARTING: JobState
JOB_STATE_INTERRUPTED: JobState
JOB_PRIORITY_UNSPECIFIED: JobPriority
JOB_PRIORITY_HIGH: JobPriority
JOB_PRIORITY_NORMAL: JobPriority
JOB_PRIORITY_LOW: JobPriority

class Job(_message.Message):
    __slots__ = ("name", "type", "state", "create_time", "start_time", "end_time", "attempt", "model", "dataset", "progress", "error", "training", "evaluation", "inspection", "other_versions", "comparisons", "split", "priority", "owner", "waiting_reason", "expected_start_time", "resume_time")
    NAME_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    MODEL_FIELD_NUMBER: _ClassVar[int]
    DATASET_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    TRAINING_FIELD_NUMBER: _ClassVar[int]
    EVALUATION_FIELD_NUMBER: _ClassVar[int]
    INSPECTION_FIELD_NUMBER: _ClassVar[int]
    OTHER_VERSIONS_FIELD_NUMBER: _ClassVar[int]
    COMPARISONS_FIELD_NUMBER: _ClassVar[int]
    SPLIT_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    OWNER_FIELD_NUMBER: _ClassVar[int]
    WAITING_REASON_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_START_TIME_FIELD_NUMBER: _ClassVar[int]
    RESUME_TIME_FIELD_NUMBER: _ClassVar[int]
    name: str
    type: JobType
    state: JobState
    create_time: _timestamp_pb2.Timestamp
    start_time: _timestamp_pb2.Timestamp
    end_time: _timestamp_pb2.Timestamp
    attempt: int
    model: str
    dataset: str
    progress: JobProgress
    error: _status_pb2.Status
    training: Training
    evaluation: _evaluation_pb2.Evaluation
    inspection: Inspection
    other_versions: _containers.RepeatedScalarFieldContainer[str]
    comparisons: _containers.RepeatedCompositeFieldContainer[_comparison_pb2.Comparison]
    split: _evaluation_pb2.Split
    priority: JobPriority
    owner: str
    waiting_reason: str
    expected_start_time: _timestamp_pb2.Timestamp
    resume_time: _timestamp_pb2.Timestamp
    def __init__(self, name: _Optional[str] = ..., type: _Optional[_Union[JobType, str]] = ..., state: _Optional[_Union[JobState, str]] = ..., create_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., start_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., end_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., attempt: _Optional[int] = ..., model: _Optional[str] = ..., dataset: _Optional[str] = ..., progress: _Optional[_Union[JobProgress, _Mapping]] = ..., error: _Optional[_Union[_status_pb2.Status, _Mapping]] = ..., training: _Optional[_Union[Training, _Mapping]] = ..., evaluation: _Optional[_Union[_evaluation_pb2.Evaluation, _Mapping]] = ..., inspection: _Optional[_Union[Inspection, _Mapping]] = ..., other_versions: _Optional[_Iterable[str]] = ..., comparisons: _Optional[_Iterable[_Union[_comparison_pb2.Comparison, _Mapping]]] = ..., split: _Optional[_Union[_evaluation_pb2.Split, str]] = ..., priority: _Optional[_Union[JobPriority, str]] = ..., owner: _Optional[str] = ..., waiting_reason: _Optional[str] = ..., expected_start_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., resume_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class Training(_message.Message):
    __slots__ = ("spec", "alias", "model_version", "dataset_report", "evaluation", "base_version", "gate")
    SPEC_FIELD_NUMBER: _ClassVar[int]
    ALIAS_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    DATASET_REPORT_FIELD_NUMBER: _ClassVar[int]
    EVALUATION_FIELD_NUMBER: _ClassVar[int]
    BASE_VERSION_FIELD_NUMBER: _ClassVar[int]
    GATE_FIELD_NUMBER: _ClassVar[int]
    spec: _training_spec_pb2.TrainingSpec
    alias: str
    model_version: str
    dataset_report: _evaluation_pb2.DatasetReport
    evaluation: _evaluation_pb2.Evaluation
    base_version: str
    gate: _gate_pb2.RegressionGate
    def __init__(self, spec: _Optional[_Union[_training_spec_pb2.TrainingSpec, _Mapping]] = ..., alias: _Optional[str] = ..., model_version: _Optional[str] = ..., dataset_report: _Optional[_Union[_evaluation_pb2.DatasetReport, _Mapping]] = ..., evaluation: _Optional[_Union[_evaluation_pb2.Evaluation, _Mapping]] = ..., base_version: _Optional[str] = ..., gate: _Optional[_Union[_gate_pb2.RegressionGate, _Mapping]] = ...) -> None: ...

class Inspection(_message.Message):
    __slots__ = ("backbone", "seed", "dataset_report", "version", "conditions")
    BACKBONE_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    DATASET_REPORT_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    CONDITIONS_FIELD_NUMBER: _ClassVar[int]
    backbone: str
    seed: int
    dataset_report: _evaluation_pb2.DatasetReport
    version: str
    conditions: _lineage_pb2.Conditions
    def __init__(self, backbone: _Optional[str] = ..., seed: _Optional[int] = ..., dataset_report: _Optional[_Union[_evaluation_pb2.DatasetReport, _Mapping]] = ..., version: _Optional[str] = ..., conditions: _Optional[_Union[_lineage_pb2.Conditions, _Mapping]] = ...) -> None: ...

class JobProgress(_message.Message):
    __slots__ = ("stage", "epoch", "epochs", "stage_fraction", "fraction", "images_per_second", "time_left", "loss", "validation")
    STAGE_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    EPOCHS_FIELD_NUMBER: _ClassVar[int]
    STAGE_FRACTION_FIELD_NUMBER: _ClassVar[int]
    FRACTION_FIELD_NUMBER: _ClassVar[int]
    IMAGES_PER_SECOND_FIELD_NUMBER: _ClassVar[int]
    TIME_LEFT_FIELD_NUMBER: _ClassVar[int]
    LOSS_FIELD_NUMBER: _ClassVar[int]
    VALIDATION_FIELD_NUMBER: _ClassVar[int]
    stage: str
    epoch: int
    epochs: int
    stage_fraction: float
    fraction: float
    images_per_second: float
    time_left: _duration_pb2.Duration
    loss: float
    validation: EpochMetrics
    def __init__(self, stage: _Optional[str] = ..., epoch: _Optional[int] = ..., epochs: _Optional[int] = ..., stage_fraction: _Optional[float] = ..., fraction: _Optional[float] = ..., images_per_second: _Optional[float] = ..., time_left: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., loss: _Optional[float] = ..., validation: _Optional[_Union[EpochMetrics, _Mapping]] = ...) -> None: ...

class EpochMetrics(_message.Message):
    __slots__ = ("epoch", "train_loss", "loss", "accuracy", "macro_precision", "macro_recall", "macro_f1")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    TRAIN_LOSS_FIELD_NUMBER: _ClassVar[int]
    LOSS_FIELD_NUMBER: _ClassVar[int]
    ACCURACY_FIELD_NUMBER: _ClassVar[int]
    MACRO_PRECISION_FIELD_NUMBER: _ClassVar[int]
    MACRO_RECALL_FIELD_NUMBER: _ClassVar[int]
    MACRO_F1_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    train_loss: float
    loss: float
    accuracy: float
    macro_precision: float
    macro_recall: float
    macro_f1: float
    def __init__(self, epoch: _Optional[int] = ..., train_loss: _Optional[float] = ..., loss: _Optional[float] = ..., accuracy: _Optional[float] = ..., macro_precision: _Optional[float] = ..., macro_recall: _Optional[float] = ..., macro_f1: _Optional[float] = ...) -> None: ...
