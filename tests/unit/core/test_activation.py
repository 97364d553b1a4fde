"""core.activation: maps as computed by hand, and what is drawn of them."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from PIL import Image

from eyasd.core.activation import HeadWeights, activation, overlay
from eyasd.core.errors import BrokenBundle

# Two features, each on a map of 2 x 2.
FEATURES = np.array([[[1, 0], [2, 4]], [[0, 3], [1, 1]]], np.float32)
GREY = np.full((8, 12, 3), 100, np.uint8)


def test_a_map_is_the_weights_times_the_features_without_what_speaks_against() -> None:
    # 2 * 1 - 0, 0 - 3, 2 * 2 - 1, 2 * 4 - 1
    assert np.allclose(activation(np.array([2, -1], np.float32), FEATURES), [[2 / 7, 0], [3 / 7, 1]])


@pytest.mark.parametrize("weights", [[0, 0], [-1, -1]])
def test_where_nothing_speaks_for_a_class_its_map_is_empty_and_the_picture_stays(weights: list[int]) -> None:
    strength = activation(np.array(weights, np.float32), FEATURES)
    assert strength.tolist() == [[0, 0], [0, 0]]
    assert (overlay(GREY, strength) == GREY).all()


def test_the_stronger_the_lighter_and_the_more_of_the_picture_is_hidden() -> None:
    colourful = np.full((8, 16, 3), (10, 120, 200), np.uint8)
    steps = np.array([[0, 0.25, 0.5, 1]], np.float32).repeat(4, axis=1).repeat(8, axis=0)  # of the picture's own size
    drawn = overlay(colourful, steps)
    assert (drawn.dtype, drawn.shape) == (np.uint8, colourful.shape)
    nothing, blue, teal, yellow = drawn[4, [1, 5, 9, 14]].astype(int)
    assert nothing.tolist() == [96] * 3  # 0.299 * 10 + 0.587 * 120 + 0.114 * 200
    assert blue.argmax() == 2
    assert teal.argmin() == 0
    assert yellow.tolist() == [round(96 / 4 + 3 / 4 * channel) for channel in (253, 231, 37)]


def test_an_explanation_is_a_png_of_the_class_and_of_the_pictures_size() -> None:
    head = HeadWeights(np.array([[1, 0], [0, 1]], np.float32))
    first, second = (Image.open(BytesIO(head.explain(GREY, FEATURES, index))) for index in (0, 1))
    assert (first.format, first.size, first.mode) == ("PNG", (12, 8), "RGB")
    brightest = [np.unravel_index(np.asarray(drawn)[..., 0].argmax(), (8, 12)) for drawn in (first, second)]
    assert [(row >= 4, column >= 6) for row, column in brightest] == [(True, True), (False, True)]


def test_weights_come_back_as_they_were_and_damaged_ones_are_refused() -> None:
    weights = np.arange(6, dtype=np.float32).reshape(2, 3)
    content = HeadWeights(weights).to_bytes()
    found = HeadWeights.from_bytes(content).weights
    assert found.dtype == np.float32
    assert (found == weights).all()
    for damaged in (b"", content[:40], b"no archive"):
        with pytest.raises(BrokenBundle, match=r"explain\.npz is damaged"):
            HeadWeights.from_bytes(damaged)
