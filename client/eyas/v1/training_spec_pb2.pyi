from eyas.v1 import variant_pb2 as _variant_pb2
from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Preset(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    PRESET_UNSPECIFIED: _ClassVar[Preset]
    PRESET_FAST: _ClassVar[Preset]
    PRESET_BALANCED: _ClassVar[Preset]
    PRESET_BEST: _ClassVar[Preset]

class Optimizer(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    OPTIMIZER_UNSPECIFIED: _ClassVar[Optimizer]
    OPTIMIZER_ADAMW: _ClassVar[Optimizer]
    OPTIMIZER_ADAM: _ClassVar[Optimizer]
    OPTIMIZER_SGD: _ClassVar[Optimizer]
    OPTIMIZER_NADAMW: _ClassVar[Optimizer]
    OPTIMIZER_LION: _ClassVar[Optimizer]
    OPTIMIZER_LAMB: _ClassVar[Optimizer]
    OPTIMIZER_ADAFACTORBV: _ClassVar[Optimizer]
    OPTIMIZER_ADOPTW: _ClassVar[Optimizer]
    OPTIMIZER_LAPROP: _ClassVar[Optimizer]
    OPTIMIZER_MARS: _ClassVar[Optimizer]
    OPTIMIZER_MUON: _ClassVar[Optimizer]
    OPTIMIZER_ADANW: _ClassVar[Optimizer]
    OPTIMIZER_SGDW: _ClassVar[Optimizer]
    OPTIMIZER_RMSPROP: _ClassVar[Optimizer]

class Schedule(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    SCHEDULE_UNSPECIFIED: _ClassVar[Schedule]
    SCHEDULE_COSINE: _ClassVar[Schedule]
    SCHEDULE_STEP: _ClassVar[Schedule]
    SCHEDULE_PLATEAU: _ClassVar[Schedule]

class Loss(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    LOSS_UNSPECIFIED: _ClassVar[Loss]
    LOSS_CROSS_ENTROPY: _ClassVar[Loss]
    LOSS_BINARY_CROSS_ENTROPY: _ClassVar[Loss]
    LOSS_FOCAL: _ClassVar[Loss]
PRESET_UNSPECIFIED: Preset
PRESET_FAST: Preset
PRESET_BALANCED: Preset
PRESET_BEST: Preset
OPTIMIZER_UNSPECIFIED: Optimizer
OPTIMIZER_ADAMW: Optimizer
OPTIMIZER_ADAM: Optimizer
OPTIMIZER_SGD: Optimizer
OPTIMIZER_NADAMW: Optimizer
OPTIMIZER_LION: Optimizer
OPTIMIZER_LAMB: Optimizer
OPTIMIZER_ADAFACTORBV: Optimizer
OPTIMIZER_ADOPTW: Optimizer
OPTIMIZER_LAPROP: Optimizer
OPTIMIZER_MARS: Optimizer
OPTIMIZER_MUON: Optimizer
OPTIMIZER_ADANW: Optimizer
OPTIMIZER_SGDW: Optimizer
OPTIMIZER_RMSPROP: Optimizer
SCHEDULE_UNSPECIFIED: Schedule
SCHEDULE_COSINE: Schedule
SCHEDULE_STEP: Schedule
SCHEDULE_PLATEAU: Schedule
LOSS_UNSPECIFIED: Loss
LOSS_CROSS_ENTROPY: Loss
LOSS_BINARY_CROSS_ENTROPY: Loss
LOSS_FOCAL: Loss

class TrainingSpec(_message.Message):
    __slots__ = ("preset", "backbone", "pretrained", "budget", "seed", "epochs", "samples", "batch_size", "learning_rate", "backbone_learning_rate_ratio", "layer_decay", "weight_decay", "max_gradient_norm", "optimizer", "schedule", "warmup_fraction", "loss", "label_smoothing", "class_weight_power", "sampling_power", "hidden_units", "dropout", "drop_path_rate", "rotation_degrees", "shift_fraction", "shear_degrees", "zoom_fraction", "min_crop_fraction", "color_fraction", "erasing_probability", "mixup_alpha", "cutmix_alpha", "horizontal_flip", "image_size_px", "early_stopping_patience", "validation_fraction", "test_fraction", "trials", "variants", "min_precision", "add_captured", "captured_days", "captured_weight", "captured_test_fraction")
    PRESET_FIELD_NUMBER: _ClassVar[int]
    BACKBONE_FIELD_NUMBER: _ClassVar[int]
    PRETRAINED_FIELD_NUMBER: _ClassVar[int]
    BUDGET_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    EPOCHS_FIELD_NUMBER: _ClassVar[int]
    SAMPLES_FIELD_NUMBER: _ClassVar[int]
    BATCH_SIZE_FIELD_NUMBER: _ClassVar[int]
    LEARNING_RATE_FIELD_NUMBER: _ClassVar[int]
    BACKBONE_LEARNING_RATE_RATIO_FIELD_NUMBER: _ClassVar[int]
    LAYER_DECAY_FIELD_NUMBER: _ClassVar[int]
    WEIGHT_DECAY_FIELD_NUMBER: _ClassVar[int]
    MAX_GRADIENT_NORM_FIELD_NUMBER: _ClassVar[int]
    OPTIMIZER_FIELD_NUMBER: _ClassVar[int]
    SCHEDULE_FIELD_NUMBER: _ClassVar[int]
    WARMUP_FRACTION_FIELD_NUMBER: _ClassVar[int]
    LOSS_FIELD_NUMBER: _ClassVar[int]
    LABEL_SMOOTHING_FIELD_NUMBER: _ClassVar[int]
    CLASS_WEIGHT_POWER_FIELD_NUMBER: _ClassVar[int]
    SAMPLING_POWER_FIELD_NUMBER: _ClassVar[int]
    HIDDEN_UNITS_FIELD_NUMBER: _ClassVar[int]
    DROPOUT_FIELD_NUMBER: _ClassVar[int]
    DROP_PATH_RATE_FIELD_NUMBER: _ClassVar[int]
    ROTATION_DEGREES_FIELD_NUMBER: _ClassVar[int]
    SHIFT_FRACTION_FIELD_NUMBER: _ClassVar[int]
    SHEAR_DEGREES_FIELD_NUMBER: _ClassVar[int]
    ZOOM_FRACTION_FIELD_NUMBER: _ClassVar[int]
    MIN_CROP_FRACTION_FIELD_NUMBER: _ClassVar[int]
    COLOR_FRACTION_FIELD_NUMBER: _ClassVar[int]
    ERASING_PROBABILITY_FIELD_NUMBER: _ClassVar[int]
    MIXUP_ALPHA_FIELD_NUMBER: _ClassVar[int]
    CUTMIX_ALPHA_FIELD_NUMBER: _ClassVar[int]
    HORIZONTAL_FLIP_FIELD_NUMBER: _ClassVar[int]
    IMAGE_SIZE_PX_FIELD_NUMBER: _ClassVar[int]
    EARLY_STOPPING_PATIENCE_FIELD_NUMBER: _ClassVar[int]
    VALIDATION_FRACTION_FIELD_NUMBER: _ClassVar[int]
    TEST_FRACTION_FIELD_NUMBER: _ClassVar[int]
    TRIALS_FIELD_NUMBER: _ClassVar[int]
    VARIANTS_FIELD_NUMBER: _ClassVar[int]
    MIN_PRECISION_FIELD_NUMBER: _ClassVar[int]
    ADD_CAPTURED_FIELD_NUMBER: _ClassVar[int]
    CAPTURED_DAYS_FIELD_NUMBER: _ClassVar[int]
    CAPTURED_WEIGHT_FIELD_NUMBER: _ClassVar[int]
    CAPTURED_TEST_FRACTION_FIELD_NUMBER: _ClassVar[int]
    preset: Preset
    backbone: str
    pretrained: bool
    budget: _duration_pb2.Duration
    seed: int
    epochs: int
    samples: int
    batch_size: int
    learning_rate: float
    backbone_learning_rate_ratio: float
    layer_decay: float
    weight_decay: float
    max_gradient_norm: float
    optimizer: Optimizer
    schedule: Schedule
    warmup_fraction: float
    loss: Loss
    label_smoothing: float
    class_weight_power: float
    sampling_power: float
    hidden_units: int
    dropout: float
    drop_path_rate: float
    rotation_degrees: float
    shift_fraction: float
    shear_degrees: float
    zoom_fraction: float
    min_crop_fraction: float
    color_fraction: float
    erasing_probability: float
    mixup_alpha: float
    cutmix_alpha: float
    horizontal_flip: bool
    image_size_px: int
    early_stopping_patience: int
    validation_fraction: float
    test_fraction: float
    trials: int
    variants: _containers.RepeatedScalarFieldContainer[_variant_pb2.Precision]
    min_precision: float
    add_captured: str
    captured_days: float
    captured_weight: float
    captured_test_fraction: float
    def __init__(self, preset: _Optional[_Union[Preset, str]] = ..., backbone: _Optional[str] = ..., pretrained: bool = ..., budget: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ..., seed: _Optional[int] = ..., epochs: _Optional[int] = ..., samples: _Optional[int] = ..., batch_size: _Optional[int] = ..., learning_rate: _Optional[float] = ..., backbone_learning_rate_ratio: _Optional[float] = ..., layer_decay: _Optional[float] = ..., weight_decay: _Optional[float] = ..., max_gradient_norm: _Optional[float] = ..., optimizer: _Optional[_Union[Optimizer, str]] = ..., schedule: _Optional[_Union[Schedule, str]] = ..., warmup_fraction: _Optional[float] = ..., loss: _Optional[_Union[Loss, str]] = ..., label_smoothing: _Optional[float] = ..., class_weight_power: _Optional[float] = ..., sampling_power: _Optional[float] = ..., hidden_units: _Optional[int] = ..., dropout: _Optional[float] = ..., drop_path_rate: _Optional[float] = ..., rotation_degrees: _Optional[float] = ..., shift_fraction: _Optional[float] = ..., shear_degrees: _Optional[float] = ..., zoom_fraction: _Optional[float] = ..., min_crop_fraction: _Optional[float] = ..., color_fraction: _Optional[float] = ..., erasing_probability: _Optional[float] = ..., mixup_alpha: _Optional[float] = ..., cutmix_alpha: _Optional[float] = ..., horizontal_flip: bool = ..., image_size_px: _Optional[int] = ..., early_stopping_patience: _Optional[int] = ..., validation_fraction: _Optional[float] = ..., test_fraction: _Optional[float] = ..., trials: _Optional[int] = ..., variants: _Optional[_Iterable[_Union[_variant_pb2.Precision, str]]] = ..., min_precision: _Optional[float] = ..., add_captured: _Optional[str] = ..., captured_days: _Optional[float] = ..., captured_weight: _Optional[float] = ..., captured_test_fraction: _Optional[float] = ...) -> None: ...
