from eyas.v1 import evaluation_pb2 as _evaluation_pb2
from eyas.v1 import training_spec_pb2 as _training_spec_pb2
from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Lineage(_message.Message):
    __slots__ = ("dataset", "split_sizes", "spec", "seed", "recipe", "conditions", "duration", "attempt")
    class RecipeEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    DATASET_FIELD_NUMBER: _ClassVar[int]
    SPLIT_SIZES_FIELD_NUMBER: _ClassVar[int]
    SPEC_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    RECIPE_FIELD_NUMBER: _ClassVar[int]
    CONDITIONS_FIELD_NUMBER: _ClassVar[int]
    DURATION_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    dataset: str
    split_sizes: _evaluation_pb2.SplitSizes
    spec: _training_spec_pb2.TrainingSpec
    seed: int
    recipe: _containers.ScalarMap[str, str]
    conditions: Conditions
    duration: _duration_pb2.Duration
    attempt: int
    def __init__(self, dataset: _Optional[str] = ..., split_sizes: _Optional[_Union[_evaluation_pb2.SplitSizes, _Mapping]] = ..., spec: _Optional[_Union[_training_spec_pb2.TrainingSpec, _Mapping]] = ..., seed: _Optional[int] = ..., recipe: _Optional[_Mapping[str, str]] = ..., conditions: _Optional[_Union[Conditions, _Mapping]] = ..., duration: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., attempt: _Optional[int] = ...) -> None: ...

class Conditions(_message.Message):
    __slots__ = ("code_version", "packages", "device", "weights_source")
    class PackagesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    CODE_VERSION_FIELD_NUMBER: _ClassVar[int]
    PACKAGES_FIELD_NUMBER: _ClassVar[int]
    DEVICE_FIELD_NUMBER: _ClassVar[int]
    WEIGHTS_SOURCE_FIELD_NUMBER: _ClassVar[int]
    code_version: str
    packages: _containers.ScalarMap[str, str]
    device: str
    weights_source: str
    def __init__(self, code_version: _Optional[str] = ..., packages: _Optional[_Mapping[str, str]] = ..., device: _Optional[str] = ..., weights_source: _Optional[str] = ...) -> None: ...

class BundleFile(_message.Message):
    __slots__ = ("name", "sha256", "problem")
    NAME_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    PROBLEM_FIELD_NUMBER: _ClassVar[int]
    name: str
    sha256: str
    problem: str
    def __init__(self, name: _Optional[str] = ..., sha256: _Optional[str] = ..., problem: _Optional[str] = ...) -> None: ...
