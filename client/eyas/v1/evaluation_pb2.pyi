from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Split(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SPLIT_UNSPECIFIED: _ClassVar[Split]
    SPLIT_TRAIN: _ClassVar[Split]
    SPLIT_VALIDATION: _ClassVar[Split]
    SPLIT_TEST: _ClassVar[Split]
SPLIT_UNSPECIFIED: Split
SPLIT_TRAIN: Split
SPLIT_VALIDATION: Split
SPLIT_TEST: Split

class Evaluation(_message.Message):
    __slots__ = ("examples", "accuracy", "accuracy_interval", "macro_precision", "macro_recall", "macro_f1", "log_loss", "calibration_error", "labels", "unreadable_files", "leaked_examples", "accuracy_without_leaked", "micro_f1", "mean_average_precision", "figures", "reliability", "test_split_looks", "missing_examples", "coverage", "accepted_accuracy")
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
    LEAKED_EXAMPLES_FIELD_NUMBER: _ClassVar[int]
    ACCURACY_WITHOUT_LEAKED_FIELD_NUMBER: _ClassVar[int]
    MICRO_F1_FIELD_NUMBER: _ClassVar[int]
    MEAN_AVERAGE_PRECISION_FIELD_NUMBER: _ClassVar[int]
    FIGURES_FIELD_NUMBER: _ClassVar[int]
    RELIABILITY_FIELD_NUMBER: _ClassVar[int]
    TEST_SPLIT_LOOKS_FIELD_NUMBER: _ClassVar[int]
    MISSING_EXAMPLES_FIELD_NUMBER: _ClassVar[int]
    COVERAGE_FIELD_NUMBER: _ClassVar[int]
    ACCEPTED_ACCURACY_FIELD_NUMBER: _ClassVar[int]
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
    leaked_examples: int
    accuracy_without_leaked: float
    micro_f1: float
    mean_average_precision: float
    figures: _containers.RepeatedCompositeFieldContainer[Figure]
    reliability: _containers.RepeatedCompositeFieldContainer[ReliabilityBin]
    test_split_looks: int
    missing_examples: int
    coverage: float
    accepted_accuracy: float
    def __init__(self, examples: _Optional[int] = ..., accuracy: _Optional[float] = ..., accuracy_interval: _Optional[_Union[Interval, _Mapping]] = ..., macro_precision: _Optional[float] = ..., macro_recall: _Optional[float] = ..., macro_f1: _Optional[float] = ..., log_loss: _Optional[float] = ..., calibration_error: _Optional[float] = ..., labels: _Optional[_Iterable[_Union[LabelMetrics, _Mapping]]] = ..., unreadable_files: _Optional[_Iterable[_Union[UnreadableFile, _Mapping]]] = ..., leaked_examples: _Optional[int] = ..., accuracy_without_leaked: _Optional[float] = ..., micro_f1: _Optional[float] = ..., mean_average_precision: _Optional[float] = ..., figures: _Optional[_Iterable[_Union[Figure, _Mapping]]] = ..., reliability: _Optional[_Iterable[_Union[ReliabilityBin, _Mapping]]] = ..., test_split_looks: _Optional[int] = ..., missing_examples: _Optional[int] = ..., coverage: _Optional[float] = ..., accepted_accuracy: _Optional[float] = ...) -> None: ...

class Figure(_message.Message):
    __slots__ = ("name", "value", "interval")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    INTERVAL_FIELD_NUMBER: _ClassVar[int]
    name: str
    value: float
    interval: Interval
    def __init__(self, name: _Optional[str] = ..., value: _Optional[float] = ..., interval: _Optional[_Union[Interval, _Mapping]] = ...) -> None: ...

class ReliabilityBin(_message.Message):
    __slots__ = ("confidences", "answers", "confidence", "right")
    CONFIDENCES_FIELD_NUMBER: _ClassVar[int]
    ANSWERS_FIELD_NUMBER: _ClassVar[int]
    CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    RIGHT_FIELD_NUMBER: _ClassVar[int]
    confidences: Interval
    answers: int
    confidence: float
    right: float
    def __init__(self, confidences: _Optional[_Union[Interval, _Mapping]] = ..., answers: _Optional[int] = ..., confidence: _Optional[float] = ..., right: _Optional[float] = ...) -> None: ...

class Interval(_message.Message):
    __slots__ = ("low", "high")
    LOW_FIELD_NUMBER: _ClassVar[int]
    HIGH_FIELD_NUMBER: _ClassVar[int]
    low: float
    high: float
    def __init__(self, low: _Optional[float] = ..., high: _Optional[float] = ...) -> None: ...

class LabelMetrics(_message.Message):
    __slots__ = ("label", "examples", "precision", "recall", "f1", "predicted_counts", "threshold")
    LABEL_FIELD_NUMBER: _ClassVar[int]
    EXAMPLES_FIELD_NUMBER: _ClassVar[int]
    PRECISION_FIELD_NUMBER: _ClassVar[int]
    RECALL_FIELD_NUMBER: _ClassVar[int]
    F1_FIELD_NUMBER: _ClassVar[int]
    PREDICTED_COUNTS_FIELD_NUMBER: _ClassVar[int]
    THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    label: str
    examples: int
    precision: float
    recall: float
    f1: float
    predicted_counts: _containers.RepeatedScalarFieldContainer[int]
    threshold: float
    def __init__(self, label: _Optional[str] = ..., examples: _Optional[int] = ..., precision: _Optional[float] = ..., recall: _Optional[float] = ..., f1: _Optional[float] = ..., predicted_counts: _Optional[_Iterable[int]] = ..., threshold: _Optional[float] = ...) -> None: ...

class DatasetReport(_message.Message):
    __slots__ = ("labels", "unreadable_files", "warnings", "digest", "pictures", "duplicates", "suspects", "split_sizes")
    LABELS_FIELD_NUMBER: _ClassVar[int]
    UNREADABLE_FILES_FIELD_NUMBER: _ClassVar[int]
    WARNINGS_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    PICTURES_FIELD_NUMBER: _ClassVar[int]
    DUPLICATES_FIELD_NUMBER: _ClassVar[int]
    SUSPECTS_FIELD_NUMBER: _ClassVar[int]
    SPLIT_SIZES_FIELD_NUMBER: _ClassVar[int]
    labels: _containers.RepeatedCompositeFieldContainer[LabelCounts]
    unreadable_files: _containers.RepeatedCompositeFieldContainer[UnreadableFile]
    warnings: _containers.RepeatedScalarFieldContainer[str]
    digest: str
    pictures: PictureStatistics
    duplicates: Duplicates
    suspects: Suspects
    split_sizes: SplitSizes
    def __init__(self, labels: _Optional[_Iterable[_Union[LabelCounts, _Mapping]]] = ..., unreadable_files: _Optional[_Iterable[_Union[UnreadableFile, _Mapping]]] = ..., warnings: _Optional[_Iterable[str]] = ..., digest: _Optional[str] = ..., pictures: _Optional[_Union[PictureStatistics, _Mapping]] = ..., duplicates: _Optional[_Union[Duplicates, _Mapping]] = ..., suspects: _Optional[_Union[Suspects, _Mapping]] = ..., split_sizes: _Optional[_Union[SplitSizes, _Mapping]] = ...) -> None: ...

class SplitSizes(_message.Message):
    __slots__ = ("train", "validation", "test")
    TRAIN_FIELD_NUMBER: _ClassVar[int]
    VALIDATION_FIELD_NUMBER: _ClassVar[int]
    TEST_FIELD_NUMBER: _ClassVar[int]
    train: int
    validation: int
    test: int
    def __init__(self, train: _Optional[int] = ..., validation: _Optional[int] = ..., test: _Optional[int] = ...) -> None: ...

class PictureStatistics(_message.Message):
    __slots__ = ("smallest", "median", "largest", "formats", "modes")
    SMALLEST_FIELD_NUMBER: _ClassVar[int]
    MEDIAN_FIELD_NUMBER: _ClassVar[int]
    LARGEST_FIELD_NUMBER: _ClassVar[int]
    FORMATS_FIELD_NUMBER: _ClassVar[int]
    MODES_FIELD_NUMBER: _ClassVar[int]
    smallest: PictureSize
    median: PictureSize
    largest: PictureSize
    formats: _containers.RepeatedCompositeFieldContainer[PictureCount]
    modes: _containers.RepeatedCompositeFieldContainer[PictureCount]
    def __init__(self, smallest: _Optional[_Union[PictureSize, _Mapping]] = ..., median: _Optional[_Union[PictureSize, _Mapping]] = ..., largest: _Optional[_Union[PictureSize, _Mapping]] = ..., formats: _Optional[_Iterable[_Union[PictureCount, _Mapping]]] = ..., modes: _Optional[_Iterable[_Union[PictureCount, _Mapping]]] = ...) -> None: ...

class PictureSize(_message.Message):
    __slots__ = ("width_px", "height_px")
    WIDTH_PX_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_PX_FIELD_NUMBER: _ClassVar[int]
    width_px: int
    height_px: int
    def __init__(self, width_px: _Optional[int] = ..., height_px: _Optional[int] = ...) -> None: ...

class PictureCount(_message.Message):
    __slots__ = ("name", "pictures")
    NAME_FIELD_NUMBER: _ClassVar[int]
    PICTURES_FIELD_NUMBER: _ClassVar[int]
    name: str
    pictures: int
    def __init__(self, name: _Optional[str] = ..., pictures: _Optional[int] = ...) -> None: ...

class Duplicates(_message.Message):
    __slots__ = ("groups", "group_count", "file_count", "files_across_labels", "files_across_splits")
    GROUPS_FIELD_NUMBER: _ClassVar[int]
    GROUP_COUNT_FIELD_NUMBER: _ClassVar[int]
    FILE_COUNT_FIELD_NUMBER: _ClassVar[int]
    FILES_ACROSS_LABELS_FIELD_NUMBER: _ClassVar[int]
    FILES_ACROSS_SPLITS_FIELD_NUMBER: _ClassVar[int]
    groups: _containers.RepeatedCompositeFieldContainer[DuplicateGroup]
    group_count: int
    file_count: int
    files_across_labels: int
    files_across_splits: int
    def __init__(self, groups: _Optional[_Iterable[_Union[DuplicateGroup, _Mapping]]] = ..., group_count: _Optional[int] = ..., file_count: _Optional[int] = ..., files_across_labels: _Optional[int] = ..., files_across_splits: _Optional[int] = ...) -> None: ...

class DuplicateGroup(_message.Message):
    __slots__ = ("exact", "across_labels", "across_splits", "files", "file_count")
    EXACT_FIELD_NUMBER: _ClassVar[int]
    ACROSS_LABELS_FIELD_NUMBER: _ClassVar[int]
    ACROSS_SPLITS_FIELD_NUMBER: _ClassVar[int]
    FILES_FIELD_NUMBER: _ClassVar[int]
    FILE_COUNT_FIELD_NUMBER: _ClassVar[int]
    exact: bool
    across_labels: bool
    across_splits: bool
    files: _containers.RepeatedCompositeFieldContainer[DuplicateFile]
    file_count: int
    def __init__(self, exact: bool = ..., across_labels: bool = ..., across_splits: bool = ..., files: _Optional[_Iterable[_Union[DuplicateFile, _Mapping]]] = ..., file_count: _Optional[int] = ...) -> None: ...

class DuplicateFile(_message.Message):
    __slots__ = ("path", "label", "split")
    PATH_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    SPLIT_FIELD_NUMBER: _ClassVar[int]
    path: str
    label: str
    split: str
    def __init__(self, path: _Optional[str] = ..., label: _Optional[str] = ..., split: _Optional[str] = ...) -> None: ...

class Suspects(_message.Message):
    __slots__ = ("pictures", "count", "examined")
    PICTURES_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    EXAMINED_FIELD_NUMBER: _ClassVar[int]
    pictures: _containers.RepeatedCompositeFieldContainer[Suspect]
    count: int
    examined: int
    def __init__(self, pictures: _Optional[_Iterable[_Union[Suspect, _Mapping]]] = ..., count: _Optional[int] = ..., examined: _Optional[int] = ...) -> None: ...

class Suspect(_message.Message):
    __slots__ = ("path", "label", "suggested_label", "probability")
    PATH_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    SUGGESTED_LABEL_FIELD_NUMBER: _ClassVar[int]
    PROBABILITY_FIELD_NUMBER: _ClassVar[int]
    path: str
    label: str
    suggested_label: str
    probability: float
    def __init__(self, path: _Optional[str] = ..., label: _Optional[str] = ..., suggested_label: _Optional[str] = ..., probability: _Optional[float] = ...) -> None: ...

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
