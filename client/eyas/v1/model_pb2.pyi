from eyas.v1 import evaluation_pb2 as _evaluation_pb2
from eyas.v1 import lineage_pb2 as _lineage_pb2
from eyas.v1 import variant_pb2 as _variant_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.rpc import status_pb2 as _status_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ServingState(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SERVING_STATE_UNSPECIFIED: _ClassVar[ServingState]
    SERVING_STATE_NOT_LOADED: _ClassVar[ServingState]
    SERVING_STATE_LOADING: _ClassVar[ServingState]
    SERVING_STATE_READY: _ClassVar[ServingState]
    SERVING_STATE_FAILED: _ClassVar[ServingState]
SERVING_STATE_UNSPECIFIED: ServingState
SERVING_STATE_NOT_LOADED: ServingState
SERVING_STATE_LOADING: ServingState
SERVING_STATE_READY: ServingState
SERVING_STATE_FAILED: ServingState

class Model(_message.Message):
    __slots__ = ("name", "create_time", "aliases", "latest_version", "version_count")
    NAME_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    ALIASES_FIELD_NUMBER: _ClassVar[int]
    LATEST_VERSION_FIELD_NUMBER: _ClassVar[int]
    VERSION_COUNT_FIELD_NUMBER: _ClassVar[int]
    name: str
    create_time: _timestamp_pb2.Timestamp
    aliases: _containers.RepeatedCompositeFieldContainer[Alias]
    latest_version: str
    version_count: int
    def __init__(self, name: _Optional[str] = ..., create_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., aliases: _Optional[_Iterable[_Union[Alias, _Mapping]]] = ..., latest_version: _Optional[str] = ..., version_count: _Optional[int] = ...) -> None: ...

class Alias(_message.Message):
    __slots__ = ("name", "version", "record", "update_time", "actor", "reason", "previous_version", "undone_record", "evidence", "forced")
    NAME_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    RECORD_FIELD_NUMBER: _ClassVar[int]
    UPDATE_TIME_FIELD_NUMBER: _ClassVar[int]
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    PREVIOUS_VERSION_FIELD_NUMBER: _ClassVar[int]
    UNDONE_RECORD_FIELD_NUMBER: _ClassVar[int]
    EVIDENCE_FIELD_NUMBER: _ClassVar[int]
    FORCED_FIELD_NUMBER: _ClassVar[int]
    name: str
    version: str
    record: int
    update_time: _timestamp_pb2.Timestamp
    actor: str
    reason: str
    previous_version: str
    undone_record: int
    evidence: _containers.RepeatedScalarFieldContainer[str]
    forced: bool
    def __init__(self, name: _Optional[str] = ..., version: _Optional[str] = ..., record: _Optional[int] = ..., update_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., actor: _Optional[str] = ..., reason: _Optional[str] = ..., previous_version: _Optional[str] = ..., undone_record: _Optional[int] = ..., evidence: _Optional[_Iterable[str]] = ..., forced: bool = ...) -> None: ...

class Policy(_message.Message):
    __slots__ = ("name", "aliases", "bounds", "max_label_drop", "record", "update_time", "actor", "required_variants", "no_significant_loss")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ALIASES_FIELD_NUMBER: _ClassVar[int]
    BOUNDS_FIELD_NUMBER: _ClassVar[int]
    MAX_LABEL_DROP_FIELD_NUMBER: _ClassVar[int]
    RECORD_FIELD_NUMBER: _ClassVar[int]
    UPDATE_TIME_FIELD_NUMBER: _ClassVar[int]
    ACTOR_FIELD_NUMBER: _ClassVar[int]
    REQUIRED_VARIANTS_FIELD_NUMBER: _ClassVar[int]
    NO_SIGNIFICANT_LOSS_FIELD_NUMBER: _ClassVar[int]
    name: str
    aliases: _containers.RepeatedScalarFieldContainer[str]
    bounds: _containers.RepeatedCompositeFieldContainer[FigureBound]
    max_label_drop: float
    record: int
    update_time: _timestamp_pb2.Timestamp
    actor: str
    required_variants: _containers.RepeatedScalarFieldContainer[_variant_pb2.Precision]
    no_significant_loss: bool
    def __init__(self, name: _Optional[str] = ..., aliases: _Optional[_Iterable[str]] = ..., bounds: _Optional[_Iterable[_Union[FigureBound, _Mapping]]] = ..., max_label_drop: _Optional[float] = ..., record: _Optional[int] = ..., update_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., actor: _Optional[str] = ..., required_variants: _Optional[_Iterable[_Union[_variant_pb2.Precision, str]]] = ..., no_significant_loss: bool = ...) -> None: ...

class FigureBound(_message.Message):
    __slots__ = ("figure", "at_least", "at_most")
    FIGURE_FIELD_NUMBER: _ClassVar[int]
    AT_LEAST_FIELD_NUMBER: _ClassVar[int]
    AT_MOST_FIELD_NUMBER: _ClassVar[int]
    figure: str
    at_least: float
    at_most: float
    def __init__(self, figure: _Optional[str] = ..., at_least: _Optional[float] = ..., at_most: _Optional[float] = ...) -> None: ...

class ModelVersion(_message.Message):
    __slots__ = ("name", "create_time", "labels", "backbone", "image_size_px", "size_bytes", "sha256", "evaluation", "parity", "job", "dataset_digest", "weights_source", "serving_state", "serving_error", "base_version", "multi_label", "lineage", "files", "unknown", "explainable", "variants", "serving_precision")
    NAME_FIELD_NUMBER: _ClassVar[int]
    CREATE_TIME_FIELD_NUMBER: _ClassVar[int]
    LABELS_FIELD_NUMBER: _ClassVar[int]
    BACKBONE_FIELD_NUMBER: _ClassVar[int]
    IMAGE_SIZE_PX_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    EVALUATION_FIELD_NUMBER: _ClassVar[int]
    PARITY_FIELD_NUMBER: _ClassVar[int]
    JOB_FIELD_NUMBER: _ClassVar[int]
    DATASET_DIGEST_FIELD_NUMBER: _ClassVar[int]
    WEIGHTS_SOURCE_FIELD_NUMBER: _ClassVar[int]
    SERVING_STATE_FIELD_NUMBER: _ClassVar[int]
    SERVING_ERROR_FIELD_NUMBER: _ClassVar[int]
    BASE_VERSION_FIELD_NUMBER: _ClassVar[int]
    MULTI_LABEL_FIELD_NUMBER: _ClassVar[int]
    LINEAGE_FIELD_NUMBER: _ClassVar[int]
    FILES_FIELD_NUMBER: _ClassVar[int]
    UNKNOWN_FIELD_NUMBER: _ClassVar[int]
    EXPLAINABLE_FIELD_NUMBER: _ClassVar[int]
    VARIANTS_FIELD_NUMBER: _ClassVar[int]
    SERVING_PRECISION_FIELD_NUMBER: _ClassVar[int]
    name: str
    create_time: _timestamp_pb2.Timestamp
    labels: _containers.RepeatedScalarFieldContainer[str]
    backbone: str
    image_size_px: int
    size_bytes: int
    sha256: str
    evaluation: _evaluation_pb2.Evaluation
    parity: Parity
    job: str
    dataset_digest: str
    weights_source: str
    serving_state: ServingState
    serving_error: _status_pb2.Status
    base_version: str
    multi_label: bool
    lineage: _lineage_pb2.Lineage
    files: _containers.RepeatedCompositeFieldContainer[_lineage_pb2.BundleFile]
    unknown: UnknownRules
    explainable: bool
    variants: _containers.RepeatedCompositeFieldContainer[_variant_pb2.Variant]
    serving_precision: _variant_pb2.Precision
    def __init__(self, name: _Optional[str] = ..., create_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., labels: _Optional[_Iterable[str]] = ..., backbone: _Optional[str] = ..., image_size_px: _Optional[int] = ..., size_bytes: _Optional[int] = ..., sha256: _Optional[str] = ..., evaluation: _Optional[_Union[_evaluation_pb2.Evaluation, _Mapping]] = ..., parity: _Optional[_Union[Parity, _Mapping]] = ..., job: _Optional[str] = ..., dataset_digest: _Optional[str] = ..., weights_source: _Optional[str] = ..., serving_state: _Optional[_Union[ServingState, str]] = ..., serving_error: _Optional[_Union[_status_pb2.Status, _Mapping]] = ..., base_version: _Optional[str] = ..., multi_label: bool = ..., lineage: _Optional[_Union[_lineage_pb2.Lineage, _Mapping]] = ..., files: _Optional[_Iterable[_Union[_lineage_pb2.BundleFile, _Mapping]]] = ..., unknown: _Optional[_Union[UnknownRules, _Mapping]] = ..., explainable: bool = ..., variants: _Optional[_Iterable[_Union[_variant_pb2.Variant, _Mapping]]] = ..., serving_precision: _Optional[_Union[_variant_pb2.Precision, str]] = ...) -> None: ...

class UnknownRules(_message.Message):
    __slots__ = ("distribution", "confidence")
    DISTRIBUTION_FIELD_NUMBER: _ClassVar[int]
    CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    distribution: DistributionRule
    confidence: ConfidenceRule
    def __init__(self, distribution: _Optional[_Union[DistributionRule, _Mapping]] = ..., confidence: _Optional[_Union[ConfidenceRule, _Mapping]] = ...) -> None: ...

class DistributionRule(_message.Message):
    __slots__ = ("method", "threshold", "known_share", "refused")
    METHOD_FIELD_NUMBER: _ClassVar[int]
    THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    KNOWN_SHARE_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    method: str
    threshold: float
    known_share: float
    refused: float
    def __init__(self, method: _Optional[str] = ..., threshold: _Optional[float] = ..., known_share: _Optional[float] = ..., refused: _Optional[float] = ...) -> None: ...

class ConfidenceRule(_message.Message):
    __slots__ = ("min_precision", "thresholds")
    MIN_PRECISION_FIELD_NUMBER: _ClassVar[int]
    THRESHOLDS_FIELD_NUMBER: _ClassVar[int]
    min_precision: float
    thresholds: _containers.RepeatedCompositeFieldContainer[LabelThreshold]
    def __init__(self, min_precision: _Optional[float] = ..., thresholds: _Optional[_Iterable[_Union[LabelThreshold, _Mapping]]] = ...) -> None: ...

class LabelThreshold(_message.Message):
    __slots__ = ("label", "threshold")
    LABEL_FIELD_NUMBER: _ClassVar[int]
    THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    label: str
    threshold: float
    def __init__(self, label: _Optional[str] = ..., threshold: _Optional[float] = ...) -> None: ...

class Parity(_message.Message):
    __slots__ = ("examples", "max_logit_difference", "mean_logit_difference", "batch_sizes")
    EXAMPLES_FIELD_NUMBER: _ClassVar[int]
    MAX_LOGIT_DIFFERENCE_FIELD_NUMBER: _ClassVar[int]
    MEAN_LOGIT_DIFFERENCE_FIELD_NUMBER: _ClassVar[int]
    BATCH_SIZES_FIELD_NUMBER: _ClassVar[int]
    examples: int
    max_logit_difference: float
    mean_logit_difference: float
    batch_sizes: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, examples: _Optional[int] = ..., max_logit_difference: _Optional[float] = ..., mean_logit_difference: _Optional[float] = ..., batch_sizes: _Optional[_Iterable[int]] = ...) -> None: ...
