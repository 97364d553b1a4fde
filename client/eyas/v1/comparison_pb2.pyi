from eyas.v1 import evaluation_pb2 as _evaluation_pb2
from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Comparison(_message.Message):
    __slots__ = ("model_version", "evaluation", "both_right", "only_first_right", "only_second_right", "both_wrong", "p_value", "differences", "labels", "changed_count", "changed", "first_cost", "second_cost", "device", "batch_size", "left_out_count")
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    EVALUATION_FIELD_NUMBER: _ClassVar[int]
    BOTH_RIGHT_FIELD_NUMBER: _ClassVar[int]
    ONLY_FIRST_RIGHT_FIELD_NUMBER: _ClassVar[int]
    ONLY_SECOND_RIGHT_FIELD_NUMBER: _ClassVar[int]
    BOTH_WRONG_FIELD_NUMBER: _ClassVar[int]
    P_VALUE_FIELD_NUMBER: _ClassVar[int]
    DIFFERENCES_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    CHANGED_COUNT_FIELD_NUMBER: _ClassVar[int]
    CHANGED_FIELD_NUMBER: _ClassVar[int]
    FIRST_COST_FIELD_NUMBER: _ClassVar[int]
    SECOND_COST_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    BATCH_SIZE_FIELD_NUMBER: _ClassVar[int]
    LEFT_OUT_COUNT_FIELD_NUMBER: _ClassVar[int]
    model_version: str
    evaluation: _evaluation_pb2.Evaluation
    both_right: int
    only_first_right: int
    only_second_right: int
    both_wrong: int
    p_value: float
    differences: _containers.RepeatedCompositeFieldContainer[FigureDifference]
    labels: _containers.RepeatedCompositeFieldContainer[LabelChange]
    changed_count: int
    changed: _containers.RepeatedCompositeFieldContainer[ChangedPicture]
    first_cost: VersionCost
    second_cost: VersionCost
    device: str
    batch_size: int
    left_out_count: int
    def __init__(self, model_version: _Optional[str] = ..., evaluation: _Optional[_Union[_evaluation_pb2.Evaluation, _Mapping]] = ..., both_right: _Optional[int] = ..., only_first_right: _Optional[int] = ..., only_second_right: _Optional[int] = ..., both_wrong: _Optional[int] = ..., p_value: _Optional[float] = ..., differences: _Optional[_Iterable[_Union[FigureDifference, _Mapping]]] = ..., labels: _Optional[_Iterable[_Union[LabelChange, _Mapping]]] = ..., changed_count: _Optional[int] = ..., changed: _Optional[_Iterable[_Union[ChangedPicture, _Mapping]]] = ..., first_cost: _Optional[_Union[VersionCost, _Mapping]] = ..., second_cost: _Optional[_Union[VersionCost, _Mapping]] = ..., device: _Optional[str] = ..., batch_size: _Optional[int] = ..., left_out_count: _Optional[int] = ...) -> None: ...

class FigureDifference(_message.Message):
    __slots__ = ("name", "first", "second", "interval")
    NAME_FIELD_NUMBER: _ClassVar[int]
    FIRST_FIELD_NUMBER: _ClassVar[int]
    SECOND_FIELD_NUMBER: _ClassVar[int]
    INTERVAL_FIELD_NUMBER: _ClassVar[int]
    name: str
    first: float
    second: float
    interval: _evaluation_pb2.Interval
    def __init__(self, name: _Optional[str] = ..., first: _Optional[float] = ..., second: _Optional[float] = ..., interval: _Optional[_Union[_evaluation_pb2.Interval, _Mapping]] = ...) -> None: ...

class LabelChange(_message.Message):
    __slots__ = ("label", "examples", "wins", "losses")
    LABEL_FIELD_NUMBER: _ClassVar[int]
    EXAMPLES_FIELD_NUMBER: _ClassVar[int]
    WINS_FIELD_NUMBER: _ClassVar[int]
    LOSSES_FIELD_NUMBER: _ClassVar[int]
    label: str
    examples: int
    wins: int
    losses: int
    def __init__(self, label: _Optional[str] = ..., examples: _Optional[int] = ..., wins: _Optional[int] = ..., losses: _Optional[int] = ...) -> None: ...

class ChangedPicture(_message.Message):
    __slots__ = ("path", "label", "first", "first_confidence", "second", "second_confidence")
    PATH_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    FIRST_FIELD_NUMBER: _ClassVar[int]
    FIRST_CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    SECOND_FIELD_NUMBER: _ClassVar[int]
    SECOND_CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    path: str
    label: str
    first: str
    first_confidence: float
    second: str
    second_confidence: float
    def __init__(self, path: _Optional[str] = ..., label: _Optional[str] = ..., first: _Optional[str] = ..., first_confidence: _Optional[float] = ..., second: _Optional[str] = ..., second_confidence: _Optional[float] = ...) -> None: ...

class VersionCost(_message.Message):
    __slots__ = ("size_bytes", "latency", "batch_latency")
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    LATENCY_FIELD_NUMBER: _ClassVar[int]
    BATCH_LATENCY_FIELD_NUMBER: _ClassVar[int]
    size_bytes: int
    latency: _duration_pb2.Duration
    batch_latency: _duration_pb2.Duration
    def __init__(self, size_bytes: _Optional[int] = ..., latency: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., batch_latency: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ...) -> None: ...
