from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Dataset(_message.Message):
    __slots__ = ("name", "digest", "file_count", "size_bytes", "create_time", "actor", "folders")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    FILE_COUNT_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    FOLDERS_FIELD_NUMBER: _ClassVar[int]
    name: str
    digest: str
    file_count: int
    size_bytes: int
    create_time: _timestamp_pb2.Timestamp
    actor: str
    folders: _containers.RepeatedCompositeFieldContainer[DatasetFolder]
    def __init__(self, name: _Optional[str] = ..., digest: _Optional[str] = ..., file_count: _Optional[int] = ..., size_bytes: _Optional[int] = ..., create_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., actor: _Optional[str] = ..., folders: _Optional[_Iterable[_Union[DatasetFolder, _Mapping]]] = ...) -> None: ...

class DatasetFolder(_message.Message):
    __slots__ = ("path", "file_count")
    PATH_FIELD_NUMBER: _ClassVar[int]
    FILE_COUNT_FIELD_NUMBER: _ClassVar[int]
    path: str
    file_count: int
    def __init__(self, path: _Optional[str] = ..., file_count: _Optional[int] = ...) -> None: ...
