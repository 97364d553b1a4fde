from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Evaluation(_message.Message):
    __slots__ = ("examples", "accuracy", "accuracy_interval", "macro_precision", "macro_recall", "macro_f1", "log_loss", "calibration_error", "labels", "unreadable_files")
    EXAMPLES_FIELD_NUMBER: _ClassVar[int]
    ACCURACY_FIELD_NUMBER: _ClassVar[int]
    ACCURACY_INTERVAL_FIELD_NUMBER: _ClassVar[int]
    MACRO_PRECISION_FIELD_NUMBER: _ClassVar[int]
    MACRO_RECALL_FIELD_NUMBER: _ClassVar[int]
    MACRO_F1_FIELD_NUMBER: _ClassVar[int]
    LOG_LOSS_FIELD_NUMBER: _ClassVar[int]
    CALIBRATION_ERROR_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    UNREADABLE_FILES_FIELD_NUMBER: _ClassVar[int]
    examples: int
    accuracy: float
    accuracy_interval: Interval
    macro_precision: float
    macro_recall: float
    macro_f1: float
    log_loss: float
    calibration_error: float
    labels: _containers.RepeatedCompositeFieldContainer[LabelMetrics]
    unreadable_files: _containers.RepeatedCompositeFieldContainer[UnreadableFile]
    def __init__(self, examples: _Optional[int] = ..., accuracy: _Optional[float] = ..., accuracy_interval: _Optional[_Union[Interval, _Mapping]] = ..., macro_precision: _Optional[float] = ..., macro_recall: _Optional[float] = ..., macro_f1: _Optional[float] = ..., log_loss: _Optional[float] = ..., calibration_error: _Optional[float] = ..., labels: _Optional[_Iterable[_Union[LabelMetrics, _Mapping]]] = ..., unreadable_files: _Optional[_Iterable[_Union[UnreadableFile, _Mapping]]] = ...) -> None: ...

class Interval(_message.Message):
    __slots__ = ("low", "high")
    LOW_FIELD_NUMBER: _ClassVar[int]
    HIGH_FIELD_NUMBER: _ClassVar[int]
    low: float
    high: float
    def __init__(self, low: _Optional[float] = ..., high: _Optional[float] = ...) -> None: ...

class LabelMetrics(_message.Message):
    __slots__ = ("label", "examples", "precision", "recall", "f1", "predicted_counts")
    LABEL_FIELD_NUMBER: _ClassVar[int]
    EXAMPLES_FIELD_NUMBER: _ClassVar[int]
    PRECISION_FIELD_NUMBER: _ClassVar[int]
    RECALL_FIELD_NUMBER: _ClassVar[int]
    F1_FIELD_NUMBER: _ClassVar[int]
    PREDICTED_COUNTS_FIELD_NUMBER: _ClassVar[int]
    label: str
    examples: int
    precision: float
    recall: float
    f1: float
    predicted_counts: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, label: _Optional[str] = ..., examples: _Optional[int] = ..., precision: _Optional[float] = ..., recall: _Optional[float] = ..., f1: _Optional[float] = ..., predicted_counts: _Optional[_Iterable[int]] = ...) -> None: ...

class DatasetReport(_message.Message):
    __slots__ = ("labels", "unreadable_files", "warnings", "digest")
    LABELS_FIELD_NUMBER: _ClassVar[int]
    UNREADABLE_FILES_FIELD_NUMBER: _ClassVar[int]
    WARNINGS_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    labels: _containers.RepeatedCompositeFieldContainer[LabelCounts]
    unreadable_files: _containers.RepeatedCompositeFieldContainer[UnreadableFile]
    warnings: _containers.RepeatedScalarFieldContainer[str]
    digest: str
    def __init__(self, labels: _Optional[_Iterable[_Union[LabelCounts, _Mapping]]] = ..., unreadable_files: _Optional[_Iterable[_Union[UnreadableFile, _Mapping]]] = ..., warnings: _Optional[_Iterable[str]] = ..., digest: _Optional[str] = ...) -> None: ...

class LabelCounts(_message.Message):
    __slots__ = ("label", "train", "validation", "test")
    LABEL_FIELD_NUMBER: _ClassVar[int]
    TRAIN_FIELD_NUMBER: _ClassVar[int]
    VALIDATION_FIELD_NUMBER: _ClassVar[int]
    TEST_FIELD_NUMBER: _ClassVar[int]
    label: str
    train: int
    validation: int
    test: int
    def __init__(self, label: _Optional[str] = ..., train: _Optional[int] = ..., validation: _Optional[int] = ..., test: _Optional[int] = ...) -> None: ...

class UnreadableFile(_message.Message):
    __slots__ = ("path", "reason")
    PATH_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    path: str
    reason: str
    def __init__(self, path: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...
