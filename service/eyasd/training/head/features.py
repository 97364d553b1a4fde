"""What the frozen backbone sees in every picture, computed once."""

from __future__ import annotations

import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Final
from zipfile import BadZipFile

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from eyasd.core.bundle import INPUT
from eyasd.training import durable
from eyasd.training.feed import Feed
from eyasd.training.journal import Journal
from eyasd.training.network import to_pixels
from eyasd.training.outcome.export import to_onnx
from eyasd.training.outcome.session import open_session

_FEATURES: Final = "features.npz"
_EXPORTED: Final = "backbone.onnx"
_OUTPUT: Final = "features"
_BATCH: Final = 32
# The export takes 5 s; from then on ONNX Runtime computes 187 pictures/s where torch computes 81 (tf_efficientnet_lite0, 224 px,
# 2 cores of an EPYC). It pays from about 700 pictures on.
_WORTH_EXPORTING: Final = 700


class _Body(nn.Module):
    """uint8 images -> features, in the form that is exported."""

    def __init__(self, body: nn.Module) -> None:
        super().__init__()
        self.body = body

    def forward(self, images: Tensor) -> Tensor:
        features: Tensor = self.body(to_pixels(images))
        return features


def extract(
    body: nn.Module, images: NDArray[np.uint8], rows: NDArray[np.int64], folder: Path, key: str, journal: Journal
) -> NDArray[np.float32]:
    """Computes the features of the pictures, or finds them from an earlier attempt.

    Args:
        body: normalisation and backbone, on the device that shall do the work; left in evaluation mode.
        images: uint8 [N, H, W, 3].
        rows: which of the images.
        folder: where the features are kept.
        key: names everything that decides the features; kept features of another key are not used.
        journal: hears of the progress.

    Returns:
        float32 [n, F], a row for each of `rows`.
    """
    kept = folder / _FEATURES
    try:
        with np.load(kept, allow_pickle=False) as arrays:
            if str(arrays["key"]) == key:
                features: NDArray[np.float32] = arrays["features"]
                return features
    except (OSError, ValueError, KeyError, BadZipFile):
        pass  # none, or damaged: they are computed
    device = next(body.parameters()).device
    forward = _forward(body.eval(), device, images.shape[1], len(rows), folder)
    batches = []
    start = time.monotonic()
    feed = Feed(images, device)
    done = 0
    for batch in feed.batches([rows[i : i + _BATCH] for i in range(0, len(rows), _BATCH)]):
        batches.append(forward(batch))
        done += len(batch)
        journal.advance(done / len(rows), images_per_second=done / (time.monotonic() - start))
    features = np.concatenate(batches)
    buffer = BytesIO()
    np.savez(buffer, features=features, key=np.array(key))
    durable.write(kept, buffer.getvalue())
    return features


def _forward(
    body: nn.Module, device: torch.device, px: int, pictures: int, folder: Path
) -> Callable[[Tensor], NDArray[np.float32]]:
    """Returns the quickest way from images on the device to features on this machine."""

    def with_torch(batch: Tensor) -> NDArray[np.float32]:
        with torch.inference_mode():
            features: NDArray[np.float32] = body(to_pixels(batch)).cpu().numpy()
        return features

    if device.type != "cpu" or pictures < _WORTH_EXPORTING:
        return with_torch
    path = folder / _EXPORTED
    to_onnx(_Body(body).eval(), torch.zeros(1, px, px, 3, dtype=torch.uint8), path, [_OUTPUT], {})
    session = open_session(path)
    path.unlink()

    def with_onnx(batch: Tensor) -> NDArray[np.float32]:
        features: NDArray[np.float32] = session.run([_OUTPUT], {INPUT: batch.numpy()})[0]
        return features

    return with_onnx
