from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class FeedbackOutcome(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FEEDBACK_OUTCOME_UNSPECIFIED: _ClassVar[FeedbackOutcome]
    FEEDBACK_OUTCOME_RIGHT: _ClassVar[FeedbackOutcome]
    FEEDBACK_OUTCOME_WRONG: _ClassVar[FeedbackOutcome]
    FEEDBACK_OUTCOME_REPEATED: _ClassVar[FeedbackOutcome]
    FEEDBACK_OUTCOME_CORRECTED: _ClassVar[FeedbackOutcome]
    FEEDBACK_OUTCOME_EXPIRED: _ClassVar[FeedbackOutcome]
    FEEDBACK_OUTCOME_FORGED: _ClassVar[FeedbackOutcome]
    FEEDBACK_OUTCOME_UNKNOWN_LABEL: _ClassVar[FeedbackOutcome]
FEEDBACK_OUTCOME_UNSPECIFIED: FeedbackOutcome
FEEDBACK_OUTCOME_RIGHT: FeedbackOutcome
FEEDBACK_OUTCOME_WRONG: FeedbackOutcome
FEEDBACK_OUTCOME_REPEATED: FeedbackOutcome
FEEDBACK_OUTCOME_CORRECTED: FeedbackOutcome
FEEDBACK_OUTCOME_EXPIRED: FeedbackOutcome
FEEDBACK_OUTCOME_FORGED: FeedbackOutcome
FEEDBACK_OUTCOME_UNKNOWN_LABEL: FeedbackOutcome

class ReportFeedbackRequest(_message.Message):
    __slots__ = ("feedback",)
    FEEDBACK_FIELD_NUMBER: _ClassVar[int]
    feedback: _containers.RepeatedCompositeFieldContainer[Feedback]
    def __init__(self, feedback: _Optional[_Iterable[_Union[Feedback, _Mapping]]] = ...) -> None: ...

class Feedback(_message.Message):
    __slots__ = ("prediction_id", "true_labels", "true_class_indices")
    PREDICTION_ID_FIELD_NUMBER: _ClassVar[int]
    TRUE_LABELS_FIELD_NUMBER: _ClassVar[int]
    TRUE_CLASS_INDICES_FIELD_NUMBER: _ClassVar[int]
    prediction_id: str
    true_labels: _containers.RepeatedScalarFieldContainer[str]
    true_class_indices: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, prediction_id: _Optional[str] = ..., true_labels: _Optional[_Iterable[str]] = ..., true_class_indices: _Optional[_Iterable[int]] = ...) -> None: ...

class ReportFeedbackResponse(_message.Message):
    __slots__ = ("results",)
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[FeedbackResult]
    def __init__(self, results: _Optional[_Iterable[_Union[FeedbackResult, _Mapping]]] = ...) -> None: ...

class FeedbackResult(_message.Message):
    __slots__ = ("outcome", "message", "model_version", "answered_labels")
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    MODEL_VERSION_FIELD_NUMBER: _ClassVar[int]
    ANSWERED_LABELS_FIELD_NUMBER: _ClassVar[int]
    outcome: FeedbackOutcome
    message: str
    model_version: str
    answered_labels: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, outcome: _Optional[_Union[FeedbackOutcome, str]] = ..., message: _Optional[str] = ..., model_version: _Optional[str] = ..., answered_labels: _Optional[_Iterable[str]] = ...) -> None: ...
