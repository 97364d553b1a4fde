from eyas.v1 import evaluation_pb2 as _evaluation_pb2
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class RegressionGate(_message.Message):
    __slots__ = ("base_version", "passed", "added_count", "test", "captured")
    BASE_VERSION_FIELD_NUMBER: _ClassVar[int]
    PASSED_FIELD_NUMBER: _ClassVar[int]
    ADDED_COUNT_FIELD_NUMBER: _ClassVar[int]
    TEST_FIELD_NUMBER: _ClassVar[int]
    CAPTURED_FIELD_NUMBER: _ClassVar[int]
    base_version: str
    passed: bool
    added_count: int
    test: GatePart
    captured: GatePart
    def __init__(self, base_version: _Optional[str] = ..., passed: bool = ..., added_count: _Optional[int] = ..., test: _Optional[_Union[GatePart, _Mapping]] = ..., captured: _Optional[_Union[GatePart, _Mapping]] = ...) -> None: ...

class GatePart(_message.Message):
    __slots__ = ("met", "finding", "both_right", "only_base_right", "only_new_right", "both_wrong", "base_accuracy", "new_accuracy", "difference")
    MET_FIELD_NUMBER: _ClassVar[int]
    FINDING_FIELD_NUMBER: _ClassVar[int]
    BOTH_RIGHT_FIELD_NUMBER: _ClassVar[int]
    ONLY_BASE_RIGHT_FIELD_NUMBER: _ClassVar[int]
    ONLY_NEW_RIGHT_FIELD_NUMBER: _ClassVar[int]
    BOTH_WRONG_FIELD_NUMBER: _ClassVar[int]
    BASE_ACCURACY_FIELD_NUMBER: _ClassVar[int]
    NEW_ACCURACY_FIELD_NUMBER: _ClassVar[int]
    DIFFERENCE_FIELD_NUMBER: _ClassVar[int]
    met: bool
    finding: str
    both_right: int
    only_base_right: int
    only_new_right: int
    both_wrong: int
    base_accuracy: float
    new_accuracy: float
    difference: _evaluation_pb2.Interval
    def __init__(self, met: bool = ..., finding: _Optional[str] = ..., both_right: _Optional[int] = ..., only_base_right: _Optional[int] = ..., only_new_right: _Optional[int] = ..., both_wrong: _Optional[int] = ..., base_accuracy: _Optional[float] = ..., new_accuracy: _Optional[float] = ..., difference: _Optional[_Union[_evaluation_pb2.Interval, _Mapping]] = ...) -> None: ...
