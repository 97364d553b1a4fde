"""The network: normalisation, a backbone of timm, a head; and the form in which it is served, from uint8 to probabilities.

Knows architecture, not where weights come from.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from typing import Any, Final, cast

import timm
import torch
from timm.models import PretrainedCfg
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from eyasd.core.bundle import FEATURE_MAP, LOGITS, OOD_SCORE, PROBABILITIES
from eyasd.core.errors import InvalidArgument
from eyasd.core.preprocess import Interpolation, Preprocess, Resize
from eyasd.core.processors import cpu_count
from eyasd.core.spec import Loss
from eyasd.training.recipe import Recipe

# Of 713 pictures as many were right as from whole ones, at 1.22 and at 1.37 (docs/benchmarks.md, Decoding).
OVERSAMPLING: Final = 1.25
_NAME: Final = re.compile(r"[A-Za-z0-9_]+(\.[A-Za-z0-9_]+)?")


@dataclass(frozen=True, slots=True)
class InputFormat:
    """What a backbone's own weights were trained on, from timm's `pretrained_cfg`.

    Attributes:
        native_px: side of the square picture.
        crop_fraction: timm's `crop_pct`.
        interpolation: kernel of the resize.
        mean: of each channel, of values in 0..1.
        std: of each channel, of values in 0..1.
        fixed_px: whether the network is built for one size, as vision transformers are.
    """

    native_px: int
    crop_fraction: float
    interpolation: Interpolation
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    fixed_px: bool

    def preprocess(self, image_size_px: int) -> Preprocess:
        """Returns how a picture becomes the input of a network that sees `image_size_px`."""
        return Preprocess(
            crop_px=image_size_px,
            crop_fraction=self.crop_fraction,
            interpolation=self.interpolation,
            oversampling=OVERSAMPLING,
            resize=Resize.MATRIX,
        )


def input_format(backbone: str) -> InputFormat:
    """Returns what the backbone expects.

    Raises:
        InvalidArgument: timm has no such network.
    """
    # timm looks at what is before the first dot alone; what follows would be part of the name of a file of weights.
    if not _NAME.fullmatch(backbone) or not timm.is_model(backbone):
        close = difflib.get_close_matches(backbone, timm.list_models(), n=3)
        hint = f"did you mean {' or '.join(close)}?" if close else "any classification network of timm is one, such as resnet50."
        raise InvalidArgument("spec.backbone", f"{backbone[:80]!r} is not the name of a backbone: {hint}")
    config: Any = timm.get_pretrained_cfg(backbone)  # None of a network without weights, which then has the usual format
    if config is None:
        config = PretrainedCfg()
    kernel = config.interpolation
    return InputFormat(
        native_px=config.input_size[-1],
        crop_fraction=min(config.crop_pct, 1.0),
        interpolation=Interpolation(kernel) if kernel in list(Interpolation) else Interpolation.BICUBIC,
        mean=config.mean,
        std=config.std,
        fixed_px=config.fixed_input_size,
    )


def size_options(form: InputFormat, px: int) -> dict[str, Any]:
    """Returns what timm has to be told of the size of the pictures, in pixels."""
    return {"img_size": px} if form.fixed_px else {}


def multiply_adds(name: str, form: InputFormat, px: int) -> float:
    """Returns the multiply-adds of a backbone for one picture, in billions; computes none of them."""
    with torch.device("meta"), FlopCounterMode(display=False) as counter, torch.no_grad():
        timm.create_model(name, num_classes=0, **size_options(form, px)).eval()(torch.zeros(1, 3, px, px))
    return float(counter.get_total_flops()) / 2e9  # it counts a multiplication and an addition as two


class Normalise(nn.Module):
    """float32 [N, 3, H, W] of 0..255 -> the same, with the mean and standard deviation that the weights know."""

    mean: Tensor
    scale: Tensor

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        self.register_buffer("mean", 255 * torch.tensor(mean).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("scale", 1 / (255 * torch.tensor(std).view(1, -1, 1, 1)), persistent=False)

    def forward(self, pixels: Tensor) -> Tensor:
        """Returns the normalised pixels."""
        return (pixels - self.mean) * self.scale


class Network(nn.Module):
    """Pixels -> one logit a label.

    Attributes:
        body: normalisation and backbone; float32 [N, 3, H, W] of 0..255 -> features [N, F].
        head: features -> logits [N, C].
    """

    def __init__(self, recipe: Recipe, form: InputFormat, labels: int) -> None:
        super().__init__()
        backbone = build_backbone(recipe.backbone, recipe.drop_path_rate, **size_options(form, recipe.image_size_px))
        self.body = nn.Sequential(Normalise(form.mean, form.std), backbone)
        self.head = build_head(_feature_count(self.body, recipe.image_size_px), recipe.hidden_units, recipe.dropout, labels)
        self.to(memory_format=torch.channels_last)

    @property
    def backbone(self) -> nn.Module:
        """The network of timm, without its classifier."""
        return self.body[1]

    @property
    def last_layer(self) -> nn.Linear:
        """The layer whose output is the logits."""
        return cast("nn.Linear", self.head[-1])

    def forward(self, pixels: Tensor) -> Tensor:
        """Returns float32 [N, C] logits of float32 [N, 3, H, W] pixels of 0..255."""
        logits: Tensor = self.head(self.body(pixels))
        return logits

    def feature_map(self, pixels: Tensor) -> Tensor:
        """Returns what the backbone makes of the pixels before it pools them; of most families float32 [N, F, h, w]."""
        features: Tensor = self.backbone.forward_features(self.body[0](pixels))  # type: ignore[operator] # every network of timm has it
        return features


class Servable(nn.Module):
    """The network as it is exported: uint8 in, probabilities out, so that nobody can normalise or calibrate otherwise.

    Attributes:
        outputs: names of what it returns, in order, with the sizes of each without N.
    """

    temperature: Tensor

    def __init__(
        self,
        network: Network,
        loss: Loss,
        temperature: float,
        feature_map: tuple[int, int, int] | None = None,
        ood_score: nn.Module | None = None,
    ) -> None:
        """Takes the network as it is.

        Args:
            network: trained.
            loss: whether probabilities are of a softmax or of sigmoids.
            temperature: divides the logits.
            feature_map: sizes of the map that it returns, too, see `outcome.activation.map_sizes`; None is none.
            ood_score: features [N, F] and calibrated logits [N, C] -> the score [N] that it returns, too; None is none.
        """
        super().__init__()
        self.network = network
        labels = network.last_layer.out_features
        self.outputs: dict[str, tuple[int, ...]] = {PROBABILITIES: (labels,), LOGITS: (labels,)}
        if feature_map:
            self.outputs[FEATURE_MAP] = feature_map
        self.ood_score = ood_score
        if ood_score:
            self.outputs[OOD_SCORE] = ()
        self.independent = loss is Loss.BINARY_CROSS_ENTROPY
        self.register_buffer("temperature", torch.tensor(temperature))

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Returns float32 [N, C] probabilities and logits of uint8 [N, H, W, 3] images, RGB; then what else `outputs` names."""
        pixels = to_pixels(images)
        maps = [self.network.feature_map(pixels)] if FEATURE_MAP in self.outputs else []
        # The backbone's own pooling of the map, which an exporter knows as such.
        features = self.network.backbone.forward_head(*maps) if maps else self.network.body(pixels)  # type: ignore[operator]
        logits: Tensor = self.network.head(features) / self.temperature
        scores = [self.ood_score(features, logits)] if self.ood_score else []
        return (logits.sigmoid() if self.independent else logits.softmax(-1)), logits, *maps, *scores


def to_pixels(images: Tensor) -> Tensor:
    """Returns uint8 [N, H, W, 3] as float32 [N, 3, H, W], still 0..255; in memory the channels stay last."""
    return images.permute(0, 3, 1, 2).float()


def build_backbone(name: str, drop_path_rate: float, **size: Any) -> nn.Module:
    """Returns the network of timm, with random weights and no classifier.

    Raises:
        InvalidArgument: a drop path rate is asked for, and the network has no stochastic depth.
    """
    try:
        backbone: nn.Module = timm.create_model(name, pretrained=False, num_classes=0, drop_path_rate=drop_path_rate, **size)
    except TypeError as error:  # all that such a family says
        if "drop_path_rate" not in str(error):
            raise
        if drop_path_rate:
            raise InvalidArgument(
                "spec.drop_path_rate",
                f"drop_path_rate is {drop_path_rate}, but {name} has no stochastic depth: leave it out, or choose a backbone "
                "such as resnet50 or convnext_tiny.",
            ) from error
        backbone = timm.create_model(name, pretrained=False, num_classes=0, **size)
    return backbone


def build_head(features: int, hidden_units: int, dropout: float, labels: int) -> nn.Sequential:
    """Returns the head: an optional hidden layer, dropout, a linear layer."""
    hidden = [nn.Linear(features, hidden_units), nn.ReLU()] if hidden_units else []
    return nn.Sequential(*hidden, nn.Dropout(dropout), nn.Linear(hidden_units or features, labels))


def pick_device() -> torch.device:
    """Returns the GPU where there is one."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def device_name() -> str:
    """Returns what `pick_device` picks, for people."""
    device = pick_device()
    return torch.cuda.get_device_name(device) if device.type == "cuda" else f"the CPU ({cpu_count()} threads)"


_PROBE_BATCH: Final = 2


def _feature_count(body: nn.Module, px: int) -> int:
    """Returns the number of features; timm's own attribute does not tell it for every family."""
    body.eval()
    with torch.inference_mode():
        features: Tensor = body(torch.zeros(_PROBE_BATCH, 3, px, px))
    return features.shape[1]
