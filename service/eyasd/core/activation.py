"""Class-activation maps: where in a picture a network saw a label, drawn over what it saw.

Where a network averages its last feature map over all places and one linear layer follows, a logit is a mean over the places as
well: of the class's weights times the features there, plus its bias. These terms are the map (Zhou et al., 2016, "Learning Deep
Features for Discriminative Localization", section 2); nothing is estimated, and no gradient is needed. Knows arrays and colours,
not networks.
"""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from eyasd.core.arrays import arrays_of

# Violet, blue, green, yellow: lighter the stronger, and told apart with every kind of colour blindness, as in matplotlib's viridis
# (van der Walt and Smith, 2015). On photographs of clothes cividis' middle, a grey, was hardly seen, nor was any colour over a
# picture that kept its own: so the picture is shown in grey.
_COLOURS: Final = ((68, 1, 84), (59, 82, 139), (33, 145, 140), (94, 201, 98), (253, 231, 37))
_STRENGTHS: Final = tuple(np.linspace(0, 1, len(_COLOURS)))
_MAX_OPACITY: Final = 0.75  # the picture stays to be seen where the map is strongest


@dataclass(frozen=True, slots=True)
class HeadWeights:
    """explain.npz: the weights of the linear layer that follows the averaged feature map.

    Attributes:
        weights: float32 [C, F], as they were trained. The temperature is not in them: it scales all logits alike, so no map's form
            depends on it; nor is the bias, which belongs to no place.
    """

    weights: NDArray[np.float32]

    def to_bytes(self) -> bytes:
        """Returns the content of explain.npz."""
        buffer = BytesIO()
        np.savez(buffer, weights=self.weights)
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> HeadWeights:
        """Reads explain.npz.

        Raises:
            BrokenBundle: it is damaged.
        """
        with arrays_of(content, "explain.npz") as arrays:
            return cls(arrays["weights"])

    def explain(self, image: NDArray[np.uint8], feature_map: NDArray[np.float32], class_index: int) -> bytes:
        """Returns the picture in grey with the class's activation map over it, as a PNG file of the same size.

        Args:
            image: uint8 [H, W, 3], what the network saw.
            feature_map: float32 [F, h, w], what it made of it.
            class_index: whose map is drawn.
        """
        drawn = overlay(image, activation(self.weights[class_index], feature_map))
        buffer = BytesIO()
        # Of a photograph of 224 pixels a side level 3 makes 52 KB in 5.5 ms of an EPYC, the usual 6 makes 60 KB in 13.2 ms.
        Image.fromarray(drawn).save(buffer, "PNG", compress_level=3)
        return buffer.getvalue()


def activation(weights: NDArray[np.float32], feature_map: NDArray[np.float32]) -> NDArray[np.float32]:
    """Returns how much each place speaks for a class, float32 [h, w], 0..1; what speaks against it is 0.

    The strongest place has 1, so that maps compare places, not pictures; where nothing speaks for the class all are 0.

    Args:
        weights: float32 [F], of the class.
        feature_map: float32 [F, h, w].
    """
    positive: NDArray[np.float32] = np.maximum(np.einsum("f,fhw->hw", weights, feature_map), 0)
    strongest = positive.max()
    return positive / strongest if strongest > 0 else positive


def overlay(image: NDArray[np.uint8], strength: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Returns the picture in grey, uint8 [H, W, 3], under colours that hide the more of it the stronger they are.

    Args:
        image: uint8 [H, W, 3].
        strength: float32 [h, w], 0..1; resized to the picture, of which it sees the same cut.
    """
    height, width = image.shape[:2]
    resized = Image.fromarray(strength).resize((width, height), Image.Resampling.BICUBIC)
    strengths = np.clip(np.asarray(resized), 0, 1)[..., None]  # the cubic kernel overshoots
    colours = np.concatenate([np.interp(strengths, _STRENGTHS, channel) for channel in zip(*_COLOURS, strict=True)], axis=2)
    grey = np.asarray(Image.fromarray(image).convert("L"), np.float64)[..., None]
    # The root lets what is weak be seen: a place of half the strength has 0.6 of the opacity.
    drawn: NDArray[np.uint8] = np.rint(grey + _MAX_OPACITY * strengths**0.7 * (colours - grey)).astype(np.uint8)
    return drawn
