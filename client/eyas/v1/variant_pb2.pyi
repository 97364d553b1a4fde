from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Precision(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PRECISION_UNSPECIFIED: _ClassVar[Precision]
    PRECISION_FP32: _ClassVar[Precision]
    PRECISION_FP16: _ClassVar[Precision]
    PRECISION_INT8: _ClassVar[Precision]
PRECISION_UNSPECIFIED: Precision
PRECISION_FP32: Precision
PRECISION_FP16: Precision
PRECISION_INT8: Precision

class Variant(_message.Message):
    __slots__ = ("precision", "size_bytes", "validation", "test", "speed", "device", "refusal")
    PRECISION_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    VALIDATION_FIELD_NUMBER: _ClassVar[int]
    TEST_FIELD_NUMBER: _ClassVar[int]
    SPEED_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    REFUSAL_FIELD_NUMBER: _ClassVar[int]
    precision: Precision
    size_bytes: int
    validation: Fidelity
    test: Fidelity
    speed: float
    device: str
    refusal: str
    def __init__(self, precision: _Optional[_Union[Precision, str]] = ..., size_bytes: _Optional[int] = ..., validation: _Optional[_Union[Fidelity, _Mapping]] = ..., test: _Optional[_Union[Fidelity, _Mapping]] = ..., speed: _Optional[float] = ..., device: _Optional[str] = ..., refusal: _Optional[str] = ...) -> None: ...

class Fidelity(_message.Message):
    __slots__ = ("examples", "agreement", "accuracy", "accuracy_lost", "log_loss", "calibration_error", "calibration_error_grown")
    EXAMPLES_FIELD_NUMBER: _ClassVar[int]
    AGREEMENT_FIELD_NUMBER: _ClassVar[int]
    ACCURACY_FIELD_NUMBER: _ClassVar[int]
    ACCURACY_LOST_FIELD_NUMBER: _ClassVar[int]
    LOG_LOSS_FIELD_NUMBER: _ClassVar[int]
    CALIBRATION_ERROR_FIELD_NUMBER: _ClassVar[int]
    CALIBRATION_ERROR_GROWN_FIELD_NUMBER: _ClassVar[int]
    examples: int
    agreement: float
    accuracy: float
    accuracy_lost: float
    log_loss: float
    calibration_error: float
    calibration_error_grown: float
    def __init__(self, examples: _Optional[int] = ..., agreement: _Optional[float] = ..., accuracy: _Optional[float] = ..., accuracy_lost: _Optional[float] = ..., log_loss: _Optional[float] = ..., calibration_error: _Optional[float] = ..., calibration_error_grown: _Optional[float] = ...) -> None: ...
