from eyas.v1 import evaluation_pb2 as _evaluation_pb2
from eyas.v1 import job_pb2 as _job_pb2
from eyas.v1 import training_spec_pb2 as _training_spec_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class TrainRequest(_message.Message):
    __slots__ = ("model", "dataset", "spec", "alias", "request_id", "base_version", "priority")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    DATASET_FIELD_NUMBER: _ClassVar[int]
    SPEC_FIELD_NUMBER: _ClassVar[int]
    ALIAS_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    BASE_VERSION_FIELD_NUMBER: _ClassVar[int]
    PRIORITY_FIELD_NUMBER: _ClassVar[int]
    model: str
    dataset: str
    spec: _training_spec_pb2.TrainingSpec
    alias: str
    request_id: str
    base_version: str
    priority: _job_pb2.JobPriority
    def __init__(self, model: _Optional[str] = ..., dataset: _Optional[str] = ..., spec: _Optional[_Union[_training_spec_pb2.TrainingSpec, _Mapping]] = ..., alias: _Optional[str] = ..., request_id: _Optional[str] = ..., base_version: _Optional[str] = ..., priority: _Optional[_Union[_job_pb2.JobPriority, str]] = ...) -> None: ...

class TrainResponse(_message.Message):
    __slots__ = ("job",)
    JOB_FIELD_NUMBER: _ClassVar[int]
    job: _job_pb2.Job
    def __init__(self, job: _Optional[_Union[_job_pb2.Job, _Mapping]] = ...) -> None: ...

class EvaluateRequest(_message.Message):
    __slots__ = ("model", "dataset", "request_id", "other_models", "split")
    MODEL_FIELD_NUMBER: _ClassVar[int]
    DATASET_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    OTHER_MODELS_FIELD_NUMBER: _ClassVar[int]
    SPLIT_FIELD_NUMBER: _ClassVar[int]
    model: str
    dataset: str
    request_id: str
    other_models: _containers.RepeatedScalarFieldContainer[str]
    split: _evaluation_pb2.Split
    def __init__(self, model: _Optional[str] = ..., dataset: _Optional[str] = ..., request_id: _Optional[str] = ..., other_models: _Optional[_Iterable[str]] = ..., split: _Optional[_Union[_evaluation_pb2.Split, str]] = ...) -> None: ...

class EvaluateResponse(_message.Message):
    __slots__ = ("job",)
    JOB_FIELD_NUMBER: _ClassVar[int]
    job: _job_pb2.Job
    def __init__(self, job: _Optional[_Union[_job_pb2.Job, _Mapping]] = ...) -> None: ...

class InspectDatasetRequest(_message.Message):
    __slots__ = ("dataset", "backbone", "seed", "request_id", "version")
    DATASET_FIELD_NUMBER: _ClassVar[int]
    BACKBONE_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    dataset: str
    backbone: str
    seed: int
    request_id: str
    version: str
    def __init__(self, dataset: _Optional[str] = ..., backbone: _Optional[str] = ..., seed: _Optional[int] = ..., request_id: _Optional[str] = ..., version: _Optional[str] = ...) -> None: ...

class InspectDatasetResponse(_message.Message):
    __slots__ = ("job",)
    JOB_FIELD_NUMBER: _ClassVar[int]
    job: _job_pb2.Job
    def __init__(self, job: _Optional[_Union[_job_pb2.Job, _Mapping]] = ...) -> None: ...
