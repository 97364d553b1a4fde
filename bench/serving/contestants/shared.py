"""What the services written by hand share, as good as an engineer writes them in an hour: decoding, and the network.

A JPEG is decoded at the smallest scale of libjpeg-turbo that is still large enough, by simplejpeg, and Pillow resizes no more than
the square that the network sees. Every contestant of another house decodes like this, runs the very file that Eyas serves, on one
thread, and has the same task, a JSON file: `model`, `labels`, `crop_px`, `crop_fraction`, `interpolation`, `port`.
"""

from __future__ import annotations

import json
import os
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import simplejpeg
from PIL import Image

SERVICE = "bench.Classifier"
METHOD = "Classify"


class Task:
    """A network, and how pictures are made for it."""

    def __init__(self, given: dict[str, Any]) -> None:
        """Takes what the JSON file says."""
        self._given = given
        self.labels: list[str] = given["labels"]
        self.port: int = given["port"]
        self._px: int = given["crop_px"]
        self._fraction: float = given["crop_fraction"]
        self._kernel = Image.Resampling[given["interpolation"].upper()]
        self._least_px = round(self._px / self._fraction)

    @cached_property
    def session(self) -> ort.InferenceSession:
        """The network."""
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        return ort.InferenceSession(self._given["model"], options, providers=["CPUExecutionProvider"])

    def decode(self, encoded: bytes) -> np.ndarray:
        """Returns a picture as uint8 [H, W, 3]."""
        pixels = simplejpeg.decode_jpeg(encoded, "RGB", min_height=self._least_px, min_width=self._least_px, min_factor=1)
        height, width = pixels.shape[:2]
        side = self._fraction * min(width, height)
        left, top = (width - side) / 2, (height - side) / 2
        box = (left, top, left + side, top + side)
        return np.asarray(Image.fromarray(pixels).resize((self._px, self._px), self._kernel, box=box))

    def run(self, images: np.ndarray) -> np.ndarray:
        """Returns the probabilities, float32 [N, C], of pictures, uint8 [N, H, W, 3]."""
        return self.session.run(["probabilities"], {"images": images})[0]

    def say(self, probabilities: np.ndarray) -> str:
        """Returns the answer: the most probable label and its probability."""
        best = int(probabilities.argmax())
        return f"{self.labels[best]} {probabilities[best]:.4f}"

    def label(self, encoded: bytes) -> str:
        """Returns the answer for one picture."""
        return self.say(self.run(self.decode(encoded)[None])[0])


def read_task(path: str | None = None) -> Task:
    """Returns the task that the command line, or where there is none the environment, names."""
    return Task(json.loads(Path(path or os.environ["BENCH_TASK"]).read_text()))
