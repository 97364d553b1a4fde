"""Labelled pictures: some to train on, others to ask for."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageEnhance, ImageFilter
from sklearn.datasets import load_digits

_TRAINED_ON = 40  # digits of each label; there are some 180


class Pictures:
    """Files with their labels.

    Attributes:
        training: a folder of class folders.
        asked: labels and files that no version was trained on.
        settings: of a training on them.
    """

    def __init__(self, photos: Path | None, folder: Path) -> None:
        """Finds photographs, or writes digits to `folder`."""
        self.settings: dict[str, Any] = {}
        if photos:
            self.training = photos.absolute() / "train"
            self.asked = [(file.parent.name, file.read_bytes()) for file in sorted((photos / "test").glob("*/*"))]
            return
        self.settings = {"image_size_px": 64}
        self.training = folder
        self.asked = []
        data = load_digits()
        random = np.random.default_rng(0)
        for digit in range(10):
            (folder / str(digit)).mkdir(parents=True)
            # Shuffled, as neighbours are of one hand.
            for number, pixels in enumerate(random.permutation(data.images[data.target == digit])):
                grey = Image.fromarray((pixels * 255 / 16).astype(np.uint8)).resize((64, 64), Image.Resampling.BICUBIC)
                if number < _TRAINED_ON:
                    grey.save(folder / str(digit) / f"{number:03d}.png")
                else:
                    self.asked.append((str(digit), _written(grey)))


def blurred(content: bytes) -> bytes:
    """Returns a picture as a camera with a dirty lens, in the evening, would have taken it."""
    with Image.open(BytesIO(content)) as opened:
        picture = opened.convert("RGB")
    soft = picture.filter(ImageFilter.GaussianBlur(max(picture.size) / 40))
    return _written(ImageEnhance.Brightness(soft).enhance(0.45))


def _written(picture: Image.Image) -> bytes:
    buffer = BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()
