"""Which pictures the report shows: the worst mistakes, and where the network looked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from builders import write_bundle
from eyasd.core.bundle import MANIFEST, read_manifest
from eyasd.training.data.listing import File
from eyasd.training.outcome.evaluate import answers_of
from eyasd.training.outcome.report.material import Material, gather


class Overlays:
    """Draws a grey picture for every map, and remembers what it was asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, int]] = []

    def __call__(self, images: NDArray[np.uint8], class_indices: Sequence[int]) -> list[bytes]:
        buffer = BytesIO()
        Image.new("RGB", (32, 32), (90, 90, 90)).save(buffer, "PNG")
        self.asked = [(int(image[0, 0, 0]), label) for image, label in zip(images, class_indices, strict=True)]
        return [buffer.getvalue() for _ in images]


@pytest.fixture
def material(tmp_path: Path) -> Callable[..., Material]:
    """Gathers, of a dataset whose picture number i is of the colour i, and the answers are about those from 10 on."""
    manifest = replace(read_manifest((write_bundle(tmp_path) / MANIFEST).read_bytes()), labels=("hat", "shirt", "shoe"))

    def of(probabilities: list[list[float]], targets: np.ndarray, overlays: Any = lambda *_: [], **more: Any) -> Material:
        count = len(probabilities)
        images = np.arange(10 + count, dtype=np.uint8)[:, None, None, None] * np.ones((1, 32, 32, 3), np.uint8)
        files = [File(Path("/"), f"{i}.jpg", ("hat",), "test") for i in range(10 + count)]
        answers = answers_of(np.array(probabilities, np.float32), targets, more.get("thresholds"))
        return gather(replace(manifest, **more), files, images, np.arange(10, 10 + count), answers, "", overlays)

    return of


def test_the_surest_mistakes_come_first(material: Callable[..., Material]) -> None:
    found = material([[0.6, 0.3, 0.1], [0.9, 0.05, 0.05], [0.2, 0.2, 0.6], [0.1, 0.8, 0.1]], np.array([1, 2, 2, 0]))
    assert [(one.path, one.true, one.given) for one in found.mistakes] == [
        ("11.jpg", ("shoe",), ("hat",)),
        ("13.jpg", ("hat",), ("shirt",)),
        ("10.jpg", ("shirt",), ("hat",)),
    ]
    assert found.wrong == 3
    assert round(found.mistakes[0].confidence or 0, 6) == 0.9
    assert round(found.mistakes[0].log_loss, 3) == 2.996
    assert all(one.picture.startswith("data:image/jpeg;base64,") for one in found.mistakes)
    assert found.looks == ()


def test_at_most_twelve_mistakes_are_shown(material: Callable[..., Material]) -> None:
    found = material([[0.9, 0.1, 0.0]] * 40, np.ones(40, np.int64))
    assert (len(found.mistakes), found.wrong) == (12, 40)


def test_of_several_labels_the_largest_loss_comes_first(material: Callable[..., Material]) -> None:
    targets = np.array([[1, 0, 0], [1, 1, 0], [0, 0, 0]], np.float32)
    found = material([[0.9, 0.6, 0.1], [0.2, 0.1, 0.1], [0.1, 0.1, 0.1]], targets, thresholds=(0.5,) * 3)
    assert [(one.path, one.true, one.given) for one in found.mistakes] == [
        ("11.jpg", ("hat", "shirt"), ()),
        ("10.jpg", ("hat",), ("hat", "shirt")),
    ]
    assert found.mistakes[0].confidence is None


def test_maps_are_of_what_was_found_and_of_what_was_mistaken(material: Callable[..., Material]) -> None:
    overlays = Overlays()
    probabilities = [[0.9, 0.05, 0.05], [0.8, 0.1, 0.1], [0.1, 0.7, 0.2], [0.6, 0.3, 0.1]]
    found = material(probabilities, np.array([0, 0, 1, 1]), overlays)
    # The surest right answer of each label; of a wrong one, the label given and the true one.
    assert overlays.asked == [(10, 0), (12, 1), (13, 0), (13, 1)]
    assert [(look.path, look.right) for look in found.looks] == [("10.jpg", True), ("12.jpg", True), ("13.jpg", False)]
    assert [(one.label, one.true, round(one.probability, 2)) for one in found.looks[2].maps] == [
        ("hat", False, 0.6),
        ("shirt", True, 0.3),
    ]


def test_a_test_split_of_one_picture_is_enough(material: Callable[..., Material]) -> None:
    found = material([[0.9, 0.1, 0.0]], np.array([0]), Overlays())
    assert found.mistakes == ()
    assert [look.path for look in found.looks] == ["10.jpg"]
