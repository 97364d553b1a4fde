"""What a job will do, with every value decided: the caller's wishes, then the preset's, adapted to the size of the dataset.

Pure: no torch, no files. The learning-rate schedule is here because it is nothing but arithmetic on the recipe.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from math import ceil, cos, pi
from typing import Any, Final

from eyasd.core.errors import InvalidArgument
from eyasd.core.spec import Loss, Optimizer, Preset, Schedule, TrainSpec

# Ships its ImageNet weights as an ordinary package, so that it needs no download of its own; 13 MB, and the quickest on a CPU.
DEFAULT_BACKBONE: Final = "tf_efficientnet_lite0"
DEFAULT_FRACTION: Final = 0.15
# Chosen, not measured: a hundred captured pictures among thousands are a few steps of an epoch where each is seen once, and where
# they fill it what was known is forgotten. `bench/circle.py --weight` tells.
CAPTURED_WEIGHT: Final = 4.0
# The gate tells a gain of 20 points from chance 7 times of 10 by 40 pictures held out, and 9 times by 60; one of 10 points 7 times
# by 100 (simulated, with 5 % of the answers lost). Fewer leave it blind, more are not learnt from.
CAPTURED_TEST_FRACTION: Final = 0.3

# One label with so many times the pictures of another is worth a warning, and a weight.
MAX_IMBALANCE: Final = 10.0

_BATCH_SIZE: Final = 32
# Not measured here: Kolesnikov et al. (BiT, 2020) use mixup from 20,000 pictures on.
_EPOCHS_TO_MIX: Final = 20
_EXAMPLES_TO_MIX: Final = 20_000
# Of the others, the rate at which their steps are about as large as AdamW's: measured with timm 1.0.31 on gradients of nothing but
# noise, after 300 steps at a rate of 1, the root mean square of AdamW's steps is 0.23, of LION's 1.0, ADANW's 0.06, RMSPROP's 2.2.
# Chen et al. (2023) report rates 3 to 10 times smaller for LION, Xie et al. (2022) 5 to 10 times larger ones for ADANW. LAMB's is
# that of You et al. (2020) for 512 pictures a step, 0.005, taken to 32 by the square root.
_LEARNING_RATE: Final = 1e-3
_LEARNING_RATES: Final = {
    Optimizer.SGD: 1e-2,
    Optimizer.SGDW: 1e-2,
    Optimizer.ADANW: 3e-3,
    Optimizer.LION: 2e-4,
    Optimizer.RMSPROP: 1e-4,
}
# Thin evidence, one seed each: on the clothing data set (224 px, tf_efficientnet_lite0) 10 epochs with this ratio gave a test
# accuracy of 0.936, and a ratio of 1 with a layer decay of 0.85, ahead after 1 epoch, 0.919; see docs/benchmarks.md.
_BACKBONE_RATIO: Final = 0.3
# Crops pay over many passes and cost in few, and where what matters fills the picture: those of at least 0.35 of the area took
# photographs to 0.949 after 10 passes (without, 0.936), and handwritten digits after 4 from 0.997 to 0.970.
_MIN_CROP: Final = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Every hyper-parameter as it is used; the fields mean what those of `eyas.v1.TrainingSpec` mean.

    The length is `samples`; `epochs` says the same in passes.
    """

    preset: Preset
    backbone: str
    pretrained: bool
    seed: int
    epochs: float
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
    captured_weight: float
    captured_test_fraction: float

    def to_strings(self) -> dict[str, str]:
        """Returns every value as text, for the manifest and the report."""
        return {field.name: f"{getattr(self, field.name)}" for field in fields(self)}


def resolve(
    spec: TrainSpec,
    examples: int,
    native_px: int,
    *,
    training: int | None = None,
    imbalance: float = 1.0,
    multi_label: bool = False,
) -> Recipe:
    """Returns the recipe of a job.

    Args:
        spec: what the caller asked for.
        examples: number of pictures offered for training.
        native_px: size at which the backbone's weights were trained, in pixels.
        training: number of pictures of the training split, once it is made; epochs and samples are converted by it.
        imbalance: pictures of the commonest label for each picture of the rarest.
        multi_label: whether a picture has any number of labels, rather than one.

    Raises:
        InvalidArgument: the loss that was asked for knows one label a picture.
    """
    loss = spec.loss or (Loss.BINARY_CROSS_ENTROPY if multi_label else Loss.CROSS_ENTROPY)
    if multi_label and loss is not Loss.BINARY_CROSS_ENTROPY:
        raise InvalidArgument(
            "spec.loss",
            f"loss is {loss}, but the pictures of this dataset have several labels: leave it out, or ask for "
            f"{Loss.BINARY_CROSS_ENTROPY}.",
        )
    wishes: dict[str, Any] = {field.name: getattr(spec, field.name) for field in fields(Recipe)}
    batch_size = spec.batch_size or _BATCH_SIZE
    training = training or examples
    passes = _epochs(spec, examples, batch_size) if spec.epochs is None else spec.epochs
    samples = passes * training if spec.samples is None else spec.samples
    defaults: dict[str, Any] = {
        "backbone": DEFAULT_BACKBONE,
        "epochs": passes if spec.samples is None else round(samples / training, 2),
        "samples": samples,
        "batch_size": batch_size,
        "learning_rate": _LEARNING_RATES.get(spec.optimizer, _LEARNING_RATE),
        # Weights that know nothing yet have nothing to lose.
        "backbone_learning_rate_ratio": _BACKBONE_RATIO if spec.pretrained else 1.0,
        "layer_decay": 1.0,
        "weight_decay": 0.02,
        "max_gradient_norm": 1.0,
        "warmup_fraction": 0.1,
        "loss": loss,
        "label_smoothing": 0.1 if loss is Loss.CROSS_ENTROPY else 0.0,
        # Weights rather than sampling, which shows some of the common labels' pictures not at all and repeats the rare ones'; never
        # both, as each does the other's work again. Which one is more accurate was not measured here.
        "class_weight_power": 0.5 if imbalance > MAX_IMBALANCE and not spec.sampling_power else 0.0,
        "sampling_power": 0.0,
        "dropout": 0.2,
        # Not measured here. Fine-tunings of up to some tens of passes do without it (Kolesnikov et al., BiT, 2020); those that take
        # 50 to 100 have 0.1 for base and 0.2 for large vision transformers (He et al., MAE, 2022).
        "drop_path_rate": 0.0,
        "rotation_degrees": 10.0,
        "shift_fraction": 0.0,
        "shear_degrees": 5.0,
        "zoom_fraction": 0.0,
        "min_crop_fraction": _MIN_CROP,
        "color_fraction": 0.2,
        "erasing_probability": 0.0,
        "mixup_alpha": 0.2 if samples >= _EPOCHS_TO_MIX * training and examples >= _EXAMPLES_TO_MIX else 0.0,
        "cutmix_alpha": 0.0,
        "horizontal_flip": True,
        "image_size_px": native_px,
        "early_stopping_patience": 5 if spec.preset is not Preset.BEST else 10,
        "validation_fraction": DEFAULT_FRACTION,
        "test_fraction": DEFAULT_FRACTION,
        "captured_weight": CAPTURED_WEIGHT if spec.add_captured else 1.0,
        "captured_test_fraction": CAPTURED_TEST_FRACTION if spec.add_captured else 0.0,
    }
    return Recipe(**{name: defaults[name] if wish is None else wish for name, wish in wishes.items()})


def _epochs(spec: TrainSpec, examples: int, batch_size: int) -> int:
    """Returns how many epochs the preset means: enough steps for a small dataset, enough passes for a large one."""
    if spec.preset is Preset.FAST:
        return 0
    steps, fewest, most = (500, 10, 40) if spec.preset is Preset.BALANCED else (1500, 25, 100)
    return min(most, max(fewest, ceil(steps * batch_size / examples)))


def learning_rate_factor(schedule: Schedule, step: int, steps: int, warmup_fraction: float, drops: int = 0) -> float:
    """Returns the learning rate of a step as a share of its peak.

    Args:
        schedule: how it falls after the warm-up.
        step: number of the step, from 0.
        steps: number of steps planned.
        warmup_fraction: share of the steps in which it rises linearly from zero.
        drops: how often the validation loss has stood still so far; used by `plateau` alone.
    """
    warmup_steps = warmup_fraction * steps
    if step + 1 < warmup_steps:
        return (step + 1) / warmup_steps
    if schedule is Schedule.PLATEAU:
        return 0.1**drops
    if schedule is Schedule.STEP:
        return 0.1 ** (3 * step // steps)
    done = (step - warmup_steps) / max(steps - warmup_steps, 1)
    return 0.5 * (1 + cos(pi * min(max(done, 0.0), 1.0)))
