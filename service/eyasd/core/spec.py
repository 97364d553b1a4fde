"""The hyper-parameters that a caller may ask for, and their ranges."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import timedelta
from enum import StrEnum
from typing import Final

from eyasd.core.errors import InvalidArgument
from eyasd.core.frozen import LABELLED, is_list
from eyasd.core.names import ModelRef
from eyasd.core.variants import Precision

_MOST_BACKBONE: Final = 2_000
# In place of a backbone's name: the best of those whose weights are at hand.
AUTO: Final = "auto"


class Preset(StrEnum):
    """How much training a job does."""

    FAST = "fast"
    BALANCED = "balanced"
    BEST = "best"


class Optimizer(StrEnum):
    """The rule by which gradients become steps, by its name in timm.

    Left out are those of timm that need a second derivative (adahessian), keep state where no checkpoint finds it (kron), or have a
    warm-up of their own beside the schedule's (radam); and most variations of what is here.
    """

    ADAMW = "adamw"
    ADAM = "adam"
    SGD = "sgd"
    NADAMW = "nadamw"
    LION = "lion"
    LAMB = "lamb"
    ADAFACTORBV = "adafactorbv"
    ADOPTW = "adoptw"
    LAPROP = "laprop"
    MARS = "mars"
    MUON = "muon"
    ADANW = "adanw"
    SGDW = "sgdw"
    RMSPROP = "rmsprop"


class Schedule(StrEnum):
    """How the learning rate falls after the warm-up."""

    COSINE = "cosine"
    STEP = "step"
    PLATEAU = "plateau"


class Loss(StrEnum):
    """What the fine-tuning minimises."""

    CROSS_ENTROPY = "cross_entropy"
    BINARY_CROSS_ENTROPY = "binary_cross_entropy"
    FOCAL = "focal"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainSpec:
    """The hyper-parameters a caller asked for; None means the preset's value, which `training.recipe` knows.

    The fields are those of the message `eyas.v1.TrainingSpec`, which says what each is and its unit.
    """

    preset: Preset = Preset.BALANCED
    backbone: str | None = None
    pretrained: bool = True
    budget: timedelta | None = None
    seed: int = 0
    epochs: int | None = None
    samples: int | None = None
    batch_size: int | None = None
    learning_rate: float | None = None
    backbone_learning_rate_ratio: float | None = None
    layer_decay: float | None = None
    weight_decay: float | None = None
    max_gradient_norm: float | None = None
    optimizer: Optimizer = Optimizer.ADAMW
    schedule: Schedule = Schedule.COSINE
    warmup_fraction: float | None = None
    loss: Loss | None = None
    label_smoothing: float | None = None
    class_weight_power: float | None = None
    sampling_power: float | None = None
    hidden_units: int = 0
    dropout: float | None = None
    drop_path_rate: float | None = None
    rotation_degrees: float | None = None
    shift_fraction: float | None = None
    shear_degrees: float | None = None
    zoom_fraction: float | None = None
    min_crop_fraction: float | None = None
    color_fraction: float | None = None
    erasing_probability: float | None = None
    mixup_alpha: float | None = None
    cutmix_alpha: float | None = None
    horizontal_flip: bool | None = None
    image_size_px: int | None = None
    early_stopping_patience: int | None = None
    validation_fraction: float | None = None
    test_fraction: float | None = None
    trials: int | None = None
    variants: tuple[Precision, ...] = ()
    min_precision: float | None = None
    add_captured: str | None = None
    captured_days: float | None = None
    captured_weight: float | None = None
    captured_test_fraction: float | None = None

    def __post_init__(self) -> None:
        """Rejects values out of range.

        Raises:
            InvalidArgument: names the first offending field, its value and its range.
        """
        for name, (low, high) in _RANGES.items():
            value = getattr(self, name)
            if value is not None and not low <= value <= high:
                raise InvalidArgument(f"spec.{name}", f"{name} is {value}; it must be from {low} to {high}.")
        if self.epochs is not None and self.samples is not None:
            raise InvalidArgument(
                "spec.samples",
                f"epochs is {self.epochs} and samples {self.samples}; give one of them: epochs counts passes over the training "
                "split, samples its pictures.",
            )
        if (self.class_weight_power or 0) + (self.sampling_power or 0) > 1:
            raise InvalidArgument(
                "spec.sampling_power",
                f"sampling_power is {self.sampling_power} and class_weight_power {self.class_weight_power}; "
                "together they must be at most 1, where every label counts alike.",
            )
        if self.budget is not None and not MIN_BUDGET <= self.budget <= MAX_BUDGET:
            seconds = self.budget.total_seconds()
            raise InvalidArgument("spec.budget", f"budget is {seconds:g} s; it must be from 10 s to 30 days.")
        if self.ranks and not self.pretrained:
            raise InvalidArgument(
                "spec.backbone",
                f"backbone is {self.backbone}, but without pre-trained weights there is nothing to choose by: name one, or "
                "leave pretrained out.",
            )
        if self.trials and self.preset is not Preset.BEST:
            raise InvalidArgument(
                "spec.trials", f"trials is {self.trials}, but the preset {self.preset} has none: choose the preset best."
            )
        _check_backbone(self.backbone, "spec.backbone")
        self._check_captured()
        if Precision.FP32 in self.variants:
            raise InvalidArgument("spec.variants", "variants has fp32, which every version is anyway: ask for fp16 or int8.")
        if len(set(self.variants)) < len(self.variants):
            raise InvalidArgument("spec.variants", f"variants is {', '.join(self.variants)}; name each once.")

    def _check_captured(self) -> None:
        if self.add_captured is not None and self.add_captured != LABELLED and not is_list(self.add_captured):
            raise InvalidArgument(
                "spec.add_captured",
                f"add_captured is {self.add_captured[:80]!r}; it must be {LABELLED}, or the SHA-256 of a list that was frozen "
                "before.",
            )
        for name in ("captured_days", "captured_weight", "captured_test_fraction"):
            if getattr(self, name) is not None and self.add_captured is None:
                raise InvalidArgument(f"spec.{name}", f"{name} is set, but no captured pictures are added: set add_captured, too.")

    @property
    def asked(self) -> dict[str, object]:
        """Returns what the caller set, by name; a value that is the default whatever the preset counts as not set."""
        return {f.name: getattr(self, f.name) for f in fields(self) if getattr(self, f.name) != f.default}

    @property
    def fine_tunes(self) -> bool:
        """Whether the whole network is trained, not its head alone."""
        wish = self.samples if self.epochs is None else self.epochs
        return self.preset is not Preset.FAST if wish is None else wish > 0

    @property
    def ranks(self) -> bool:
        """Whether several backbones are allowed."""
        return self.backbone == AUTO or "," in (self.backbone or "")

    @property
    def searches(self) -> bool:
        """Whether hyper-parameters are searched."""
        return self.preset is Preset.BEST and self.fine_tunes and self.trials != 0


def _check_backbone(backbone: str | None, field: str) -> None:
    """Refuses what no list of names is as long as, and every listing of jobs would hold. Raises InvalidArgument."""
    if backbone is not None and len(backbone) > _MOST_BACKBONE:
        raise InvalidArgument(
            field, f"backbone has {len(backbone):,} characters; at most {_MOST_BACKBONE:,} are read. Name fewer to choose from."
        )


MIN_BUDGET: Final = timedelta(seconds=10)
MAX_BUDGET: Final = timedelta(days=30)

# Closed ranges; where the contract says "above 0" the least useful value stands for it.
_RANGES: Final[dict[str, tuple[float, float]]] = {
    "seed": (0, 2**32 - 1),
    "epochs": (0, 1000),
    "samples": (0, 2**32 - 1),
    "batch_size": (2, 4096),
    "learning_rate": (1e-8, 10),
    "backbone_learning_rate_ratio": (0, 1),
    "layer_decay": (0.1, 1),
    "weight_decay": (0, 1),
    "max_gradient_norm": (0, 1000),
    "warmup_fraction": (0, 0.5),
    "label_smoothing": (0, 0.5),
    "class_weight_power": (0, 1),
    "sampling_power": (0, 1),
    "hidden_units": (0, 8192),
    "dropout": (0, 0.9),
    "drop_path_rate": (0, 0.9),
    "rotation_degrees": (0, 180),
    "shift_fraction": (0, 0.5),
    "shear_degrees": (0, 45),
    "zoom_fraction": (0, 0.9),
    "min_crop_fraction": (0.05, 1),
    "color_fraction": (0, 0.9),
    "erasing_probability": (0, 1),
    "mixup_alpha": (0, 10),
    "cutmix_alpha": (0, 10),
    "image_size_px": (32, 1024),
    "early_stopping_patience": (1, 1000),
    "validation_fraction": (0.01, 0.5),
    "test_fraction": (0.01, 0.5),
    "trials": (0, 1000),
    "min_precision": (0.5, 0.999),
    "captured_days": (0.01, 3650),
    "captured_weight": (0.1, 100),
    "captured_test_fraction": (0.05, 0.5),
}


@dataclass(frozen=True, slots=True)
class InspectionSpec:
    """What an inspection is told, besides its dataset.

    Attributes:
        backbone: network of timm whose features judge the labels; None is the default of a training.
        seed: of every random choice.
        version: whose training is retraced up to its split, by its number; None looks for what is wrong with the dataset.
    """

    backbone: str | None = None
    seed: int = 0
    version: ModelRef | None = None

    def __post_init__(self) -> None:
        """Raises InvalidArgument where the backbone can be none."""
        _check_backbone(self.backbone, "backbone")
