from google.protobuf import duration_pb2 as _duration_pb2
from google.rpc import status_pb2 as _status_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Priority(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PRIORITY_UNSPECIFIED: _ClassVar[Priority]
    PRIORITY_HIGH: _ClassVar[Priority]
    PRIORITY_NORMAL: _ClassVar[Priority]
    PRIORITY_LOW: _ClassVar[Priority]

class UnknownReason(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    UNKNOWN_REASON_UNSPECIFIED: _ClassVar[UnknownReason]
    UNKNOWN_REASON_OUT_OF_DISTRIBUTION: _ClassVar[UnknownReason]
    UNKNOWN_REASON_LOW_CONFIDENCE: _ClassVar[UnknownReason]
PRIORITY_UNSPECIFIED: Priority
PRIORITY_HIGH: Priority
PRIORITY_NORMAL: Priority
PRIORITY_LOW: Priority
UNKNOWN_REASON_UNSPECIFIED: UnknownReason
UNKNOWN_REASON_OUT_OF_DISTRIBUTION: UnknownReason
UNKNOWN_REASON_LOW_CONFIDENCE: UnknownReason

class ClassifyRequest(_message.Message):
    __slots__ = ("model", "images", "top_k", "explain", "allow_unknown", "priority", "routing_key")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    IMAGES_FIELD_NUMBER: _ClassVar[int]
    TOP_K_FIELD_NUMBER: _ClassVar[int]
    EXPLAIN_FIELD_NUMBER: _ClassVar[int]
    ALLOW_UNKNOWN_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    ROUTING_KEY_FIELD_NUMBER: _ClassVar[int]
    model: str
    images: _containers.RepeatedCompositeFieldContainer[Image]
    top_k: int
    explain: bool
    allow_unknown: bool
    priority: Priority
    routing_key: str
    def __init__(self, model: _Optional[str] = ..., images: _Optional[_Iterable[_Union[Image, _Mapping]]] = ..., top_k: _Optional[int] = ..., explain: bool = ..., allow_unknown: bool = ..., priority: _Optional[_Union[Priority, str]] = ..., routing_key: _Optional[str] = ...) -> None: ...

class ClassifyStreamRequest(_message.Message):
    __slots__ = ("options", "picture")
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    PICTURE_FIELD_NUMBER: _ClassVar[int]
    options: ClassifyStreamOptions
    picture: StreamedImage
    def __init__(self, options: _Optional[_Union[ClassifyStreamOptions, _Mapping]] = ..., picture: _Optional[_Union[StreamedImage, _Mapping]] = ...) -> None: ...

class ClassifyStreamOptions(_message.Message):
    __slots__ = ("model", "top_k", "explain", "allow_unknown", "priority", "routing_key", "ordered", "picture_timeout")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    TOP_K_FIELD_NUMBER: _ClassVar[int]
    EXPLAIN_FIELD_NUMBER: _ClassVar[int]
    ALLOW_UNKNOWN_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    ROUTING_KEY_FIELD_NUMBER: _ClassVar[int]
    ORDERED_FIELD_NUMBER: _ClassVar[int]
    PICTURE_TIMEOUT_FIELD_NUMBER: _ClassVar[int]
    model: str
    top_k: int
    explain: bool
    allow_unknown: bool
    priority: Priority
    routing_key: str
    ordered: bool
    picture_timeout: _duration_pb2.Duration
    def __init__(self, model: _Optional[str] = ..., top_k: _Optional[int] = ..., explain: bool = ..., allow_unknown: bool = ..., priority: _Optional[_Union[Priority, str]] = ..., routing_key: _Optional[str] = ..., ordered: bool = ..., picture_timeout: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class StreamedImage(_message.Message):
    __slots__ = ("id", "image")
    ID_FIELD_NUMBER: _ClassVar[int]
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    id: str
    image: Image
    def __init__(self, id: _Optional[str] = ..., image: _Optional[_Union[Image, _Mapping]] = ...) -> None: ...

class ClassifyStreamResponse(_message.Message):
    __slots__ = ("id", "model_version", "result", "timing", "multi_label")
    ID_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    TIMING_FIELD_NUMBER: _ClassVar[int]
    MULTI_LABEL_FIELD_NUMBER: _ClassVar[int]
    id: str
    model_version: str
    result: ClassifyResult
    timing: ClassifyTiming
    multi_label: bool
    def __init__(self, id: _Optional[str] = ..., model_version: _Optional[str] = ..., result: _Optional[_Union[ClassifyResult, _Mapping]] = ..., timing: _Optional[_Union[ClassifyTiming, _Mapping]] = ..., multi_label: bool = ...) -> None: ...

class Image(_message.Message):
    __slots__ = ("content",)
    CONTENT_FIELD_NUMBER: _ClassVar[int]
    content: bytes
    def __init__(self, content: _Optional[bytes] = ...) -> None: ...

class ClassifyResponse(_message.Message):
    __slots__ = ("model_version", "results", "timing", "multi_label")
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    TIMING_FIELD_NUMBER: _ClassVar[int]
    MULTI_LABEL_FIELD_NUMBER: _ClassVar[int]
    model_version: str
    results: _containers.RepeatedCompositeFieldContainer[ClassifyResult]
    timing: ClassifyTiming
    multi_label: bool
    def __init__(self, model_version: _Optional[str] = ..., results: _Optional[_Iterable[_Union[ClassifyResult, _Mapping]]] = ..., timing: _Optional[_Union[ClassifyTiming, _Mapping]] = ..., multi_label: bool = ...) -> None: ...

class ClassifyResult(_message.Message):
    __slots__ = ("classification", "error")
    CLASSIFICATION_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    classification: Classification
    error: _status_pb2.Status
    def __init__(self, classification: _Optional[_Union[Classification, _Mapping]] = ..., error: _Optional[_Union[_status_pb2.Status, _Mapping]] = ...) -> None: ...

class Classification(_message.Message):
    __slots__ = ("predictions", "unknown", "ood_score", "explanation", "prediction_id")
    PREDICTIONS_FIELD_NUMBER: _ClassVar[int]
    UNKNOWN_FIELD_NUMBER: _ClassVar[int]
    OOD_SCORE_FIELD_NUMBER: _ClassVar[int]
    EXPLANATION_FIELD_NUMBER: _ClassVar[int]
    PREDICTION_ID_FIELD_NUMBER: _ClassVar[int]
    predictions: _containers.RepeatedCompositeFieldContainer[Prediction]
    unknown: Unknown
    ood_score: float
    explanation: Explanation
    prediction_id: str
    def __init__(self, predictions: _Optional[_Iterable[_Union[Prediction, _Mapping]]] = ..., unknown: _Optional[_Union[Unknown, _Mapping]] = ..., ood_score: _Optional[float] = ..., explanation: _Optional[_Union[Explanation, _Mapping]] = ..., prediction_id: _Optional[str] = ...) -> None: ...

class Explanation(_message.Message):
    __slots__ = ("png", "label")
    PNG_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    png: bytes
    label: str
    def __init__(self, png: _Optional[bytes] = ..., label: _Optional[str] = ...) -> None: ...

class Unknown(_message.Message):
    __slots__ = ("reason", "score", "threshold", "share")
    REASON_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    SHARE_FIELD_NUMBER: _ClassVar[int]
    reason: UnknownReason
    score: float
    threshold: float
    share: float
    def __init__(self, reason: _Optional[_Union[UnknownReason, str]] = ..., score: _Optional[float] = ..., threshold: _Optional[float] = ..., share: _Optional[float] = ...) -> None: ...

class Prediction(_message.Message):
    __slots__ = ("label", "class_index", "probability", "applies")
    LABEL_FIELD_NUMBER: _ClassVar[int]
    CLASS_INDEX_FIELD_NUMBER: _ClassVar[int]
    PROBABILITY_FIELD_NUMBER: _ClassVar[int]
    APPLIES_FIELD_NUMBER: _ClassVar[int]
    label: str
    class_index: int
    probability: float
    applies: bool
    def __init__(self, label: _Optional[str] = ..., class_index: _Optional[int] = ..., probability: _Optional[float] = ..., applies: bool = ...) -> None: ...

class ClassifyTiming(_message.Message):
    __slots__ = ("preprocessing", "queue", "inference")
    PREPROCESSING_FIELD_NUMBER: _ClassVar[int]
    QUEUE_FIELD_NUMBER: _ClassVar[int]
    INFERENCE_FIELD_NUMBER: _ClassVar[int]
    preprocessing: _duration_pb2.Duration
    queue: _duration_pb2.Duration
    inference: _duration_pb2.Duration
    def __init__(self, preprocessing: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., queue: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., inference: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ...) -> None: ...
