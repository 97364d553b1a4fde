from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Traffic(_message.Message):
    __slots__ = ("name", "canary", "shadow", "record", "update_time", "actor", "reason")
    NAME_FIELD_NUMBER: _ClassVar[int]
    CANARY_FIELD_NUMBER: _ClassVar[int]
    SHADOW_FIELD_NUMBER: _ClassVar[int]
    RECORD_FIELD_NUMBER: _ClassVar[int]
    UPDATE_TIME_FIELD_NUMBER: _ClassVar[int]
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    name: str
    canary: Canary
    shadow: Shadow
    record: int
    update_time: _timestamp_pb2.Timestamp
    actor: str
    reason: str
    def __init__(self, name: _Optional[str] = ..., canary: _Optional[_Union[Canary, _Mapping]] = ..., shadow: _Optional[_Union[Shadow, _Mapping]] = ..., record: _Optional[int] = ..., update_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., actor: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class Canary(_message.Message):
    __slots__ = ("target", "percent", "max_error_rate", "max_latency_ratio", "min_requests", "version", "stopped")
    TARGET_FIELD_NUMBER: _ClassVar[int]
    PERCENT_FIELD_NUMBER: _ClassVar[int]
    MAX_ERROR_RATE_FIELD_NUMBER: _ClassVar[int]
    MAX_LATENCY_RATIO_FIELD_NUMBER: _ClassVar[int]
    MIN_REQUESTS_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    STOPPED_FIELD_NUMBER: _ClassVar[int]
    target: str
    percent: float
    max_error_rate: float
    max_latency_ratio: float
    min_requests: int
    version: str
    stopped: str
    def __init__(self, target: _Optional[str] = ..., percent: _Optional[float] = ..., max_error_rate: _Optional[float] = ..., max_latency_ratio: _Optional[float] = ..., min_requests: _Optional[int] = ..., version: _Optional[str] = ..., stopped: _Optional[str] = ...) -> None: ...

class Shadow(_message.Message):
    __slots__ = ("target", "percent", "version")
    TARGET_FIELD_NUMBER: _ClassVar[int]
    PERCENT_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    target: str
    percent: float
    version: str
    def __init__(self, target: _Optional[str] = ..., percent: _Optional[float] = ..., version: _Optional[str] = ...) -> None: ...
