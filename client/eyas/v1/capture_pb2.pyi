from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class CaptureReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CAPTURE_REASON_UNSPECIFIED: _ClassVar[CaptureReason]
    CAPTURE_REASON_WRONG: _ClassVar[CaptureReason]
    CAPTURE_REASON_SHADOW: _ClassVar[CaptureReason]
    CAPTURE_REASON_DRIFT: _ClassVar[CaptureReason]
    CAPTURE_REASON_LOW_MARGIN: _ClassVar[CaptureReason]
    CAPTURE_REASON_SAMPLE: _ClassVar[CaptureReason]

class LabelSource(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    LABEL_SOURCE_UNSPECIFIED: _ClassVar[LabelSource]
    LABEL_SOURCE_PERSON: _ClassVar[LabelSource]
    LABEL_SOURCE_FEEDBACK: _ClassVar[LabelSource]
CAPTURE_REASON_UNSPECIFIED: CaptureReason
CAPTURE_REASON_WRONG: CaptureReason
CAPTURE_REASON_SHADOW: CaptureReason
CAPTURE_REASON_DRIFT: CaptureReason
CAPTURE_REASON_LOW_MARGIN: CaptureReason
CAPTURE_REASON_SAMPLE: CaptureReason
LABEL_SOURCE_UNSPECIFIED: LabelSource
LABEL_SOURCE_PERSON: LabelSource
LABEL_SOURCE_FEEDBACK: LabelSource

class CapturePolicy(_message.Message):
    __slots__ = ("name", "enabled", "reasons", "percent", "max_margin", "max_images", "keep_days", "record", "update_time", "actor")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ENABLED_FIELD_NUMBER: _ClassVar[int]
    REASONS_FIELD_NUMBER: _ClassVar[int]
    PERCENT_FIELD_NUMBER: _ClassVar[int]
    MAX_MARGIN_FIELD_NUMBER: _ClassVar[int]
    MAX_IMAGES_FIELD_NUMBER: _ClassVar[int]
    KEEP_DAYS_FIELD_NUMBER: _ClassVar[int]
    RECORD_FIELD_NUMBER: _ClassVar[int]
    UPDATE_TIME_FIELD_NUMBER: _ClassVar[int]
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    name: str
    enabled: bool
    reasons: _containers.RepeatedScalarFieldContainer[CaptureReason]
    percent: float
    max_margin: float
    max_images: int
    keep_days: float
    record: int
    update_time: _timestamp_pb2.Timestamp
    actor: str
    def __init__(self, name: _Optional[str] = ..., enabled: bool = ..., reasons: _Optional[_Iterable[_Union[CaptureReason, str]]] = ..., percent: _Optional[float] = ..., max_margin: _Optional[float] = ..., max_images: _Optional[int] = ..., keep_days: _Optional[float] = ..., record: _Optional[int] = ..., update_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., actor: _Optional[str] = ...) -> None: ...

class CapturedPicture(_message.Message):
    __slots__ = ("name", "version", "create_time", "reasons", "predictions", "margin", "ood_score", "shadow_label", "size_bytes", "labels", "worth")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    REASONS_FIELD_NUMBER: _ClassVar[int]
    PREDICTIONS_FIELD_NUMBER: _ClassVar[int]
    MARGIN_FIELD_NUMBER: _ClassVar[int]
    OOD_SCORE_FIELD_NUMBER: _ClassVar[int]
    SHADOW_LABEL_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    WORTH_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: str
    create_time: _timestamp_pb2.Timestamp
    reasons: _containers.RepeatedScalarFieldContainer[CaptureReason]
    predictions: _containers.RepeatedCompositeFieldContainer[CapturedPrediction]
    margin: float
    ood_score: float
    shadow_label: str
    size_bytes: int
    labels: GivenLabels
    worth: int
    def __init__(self, name: _Optional[str] = ..., version: _Optional[str] = ..., create_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., reasons: _Optional[_Iterable[_Union[CaptureReason, str]]] = ..., predictions: _Optional[_Iterable[_Union[CapturedPrediction, _Mapping]]] = ..., margin: _Optional[float] = ..., ood_score: _Optional[float] = ..., shadow_label: _Optional[str] = ..., size_bytes: _Optional[int] = ..., labels: _Optional[_Union[GivenLabels, _Mapping]] = ..., worth: _Optional[int] = ...) -> None: ...

class CapturedPrediction(_message.Message):
    __slots__ = ("label", "probability")
    LABEL_FIELD_NUMBER: _ClassVar[int]
    PROBABILITY_FIELD_NUMBER: _ClassVar[int]
    label: str
    probability: float
    def __init__(self, label: _Optional[str] = ..., probability: _Optional[float] = ...) -> None: ...

class GivenLabels(_message.Message):
    __slots__ = ("labels", "create_time", "source", "actor")
    LABELS_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    labels: _containers.RepeatedScalarFieldContainer[str]
    create_time: _timestamp_pb2.Timestamp
    source: LabelSource
    actor: str
    def __init__(self, labels: _Optional[_Iterable[str]] = ..., create_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., source: _Optional[_Union[LabelSource, str]] = ..., actor: _Optional[str] = ...) -> None: ...
