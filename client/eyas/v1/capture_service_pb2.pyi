from eyas.v1 import capture_pb2 as _capture_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class LabelFilter(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    LABEL_FILTER_UNSPECIFIED: _ClassVar[LabelFilter]
    LABEL_FILTER_LABELLED: _ClassVar[LabelFilter]
    LABEL_FILTER_UNLABELLED: _ClassVar[LabelFilter]
LABEL_FILTER_UNSPECIFIED: LabelFilter
LABEL_FILTER_LABELLED: LabelFilter
LABEL_FILTER_UNLABELLED: LabelFilter

class GetCapturePolicyRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class GetCapturePolicyResponse(_message.Message):
    __slots__ = ("policy",)
    POLICY_FIELD_NUMBER: _ClassVar[int]
    policy: _capture_pb2.CapturePolicy
    def __init__(self, policy: _Optional[_Union[_capture_pb2.CapturePolicy, _Mapping]] = ...) -> None: ...

class SetCapturePolicyRequest(_message.Message):
    __slots__ = ("policy",)
    POLICY_FIELD_NUMBER: _ClassVar[int]
    policy: _capture_pb2.CapturePolicy
    def __init__(self, policy: _Optional[_Union[_capture_pb2.CapturePolicy, _Mapping]] = ...) -> None: ...

class SetCapturePolicyResponse(_message.Message):
    __slots__ = ("policy",)
    POLICY_FIELD_NUMBER: _ClassVar[int]
    policy: _capture_pb2.CapturePolicy
    def __init__(self, policy: _Optional[_Union[_capture_pb2.CapturePolicy, _Mapping]] = ...) -> None: ...

class ListCapturedPicturesRequest(_message.Message):
    __slots__ = ("parent", "page_size", "page_token", "reasons", "labels", "predicted_label")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    REASONS_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    PREDICTED_LABEL_FIELD_NUMBER: _ClassVar[int]
    parent: str
    page_size: int
    page_token: str
    reasons: _containers.RepeatedScalarFieldContainer[_capture_pb2.CaptureReason]
    labels: LabelFilter
    predicted_label: str
    def __init__(self, parent: _Optional[str] = ..., page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., reasons: _Optional[_Iterable[_Union[_capture_pb2.CaptureReason, str]]] = ..., labels: _Optional[_Union[LabelFilter, str]] = ..., predicted_label: _Optional[str] = ...) -> None: ...

class ListCapturedPicturesResponse(_message.Message):
    __slots__ = ("pictures", "next_page_token")
    PICTURES_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    pictures: _containers.RepeatedCompositeFieldContainer[_capture_pb2.CapturedPicture]
    next_page_token: str
    def __init__(self, pictures: _Optional[_Iterable[_Union[_capture_pb2.CapturedPicture, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class GetCapturedPictureRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class GetCapturedPictureResponse(_message.Message):
    __slots__ = ("picture", "content")
    PICTURE_FIELD_NUMBER: _ClassVar[int]
    CONTENT_FIELD_NUMBER: _ClassVar[int]
    picture: _capture_pb2.CapturedPicture
    content: bytes
    def __init__(self, picture: _Optional[_Union[_capture_pb2.CapturedPicture, _Mapping]] = ..., content: _Optional[bytes] = ...) -> None: ...

class PictureLabels(_message.Message):
    __slots__ = ("name", "labels")
    NAME_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    name: str
    labels: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, name: _Optional[str] = ..., labels: _Optional[_Iterable[str]] = ...) -> None: ...

class LabelCapturedPicturesRequest(_message.Message):
    __slots__ = ("parent", "pictures")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    PICTURES_FIELD_NUMBER: _ClassVar[int]
    parent: str
    pictures: _containers.RepeatedCompositeFieldContainer[PictureLabels]
    def __init__(self, parent: _Optional[str] = ..., pictures: _Optional[_Iterable[_Union[PictureLabels, _Mapping]]] = ...) -> None: ...

class LabelCapturedPicturesResponse(_message.Message):
    __slots__ = ("labelled_count", "missing", "new_labels")
    LABELLED_COUNT_FIELD_NUMBER: _ClassVar[int]
    MISSING_FIELD_NUMBER: _ClassVar[int]
    NEW_LABELS_FIELD_NUMBER: _ClassVar[int]
    labelled_count: int
    missing: _containers.RepeatedScalarFieldContainer[str]
    new_labels: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, labelled_count: _Optional[int] = ..., missing: _Optional[_Iterable[str]] = ..., new_labels: _Optional[_Iterable[str]] = ...) -> None: ...

class DeleteCapturedPicturesRequest(_message.Message):
    __slots__ = ("parent", "names")
    PARENT_FIELD_NUMBER: _ClassVar[int]
    NAMES_FIELD_NUMBER: _ClassVar[int]
    parent: str
    names: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, parent: _Optional[str] = ..., names: _Optional[_Iterable[str]] = ...) -> None: ...

class DeleteCapturedPicturesResponse(_message.Message):
    __slots__ = ("deleted_count",)
    DELETED_COUNT_FIELD_NUMBER: _ClassVar[int]
    deleted_count: int
    def __init__(self, deleted_count: _Optional[int] = ...) -> None: ...
