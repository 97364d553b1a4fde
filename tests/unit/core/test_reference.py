"""Signals, bins, and what is unusual."""

from __future__ import annotations

from math import log

import numpy as np
import pytest

from builders import noise, picture
from eyasd.core import document
from eyasd.core.preprocess import Preprocess, load_image
from eyasd.core.reference import (
    OTHER,
    Histogram,
    Reference,
    Signal,
    answer_values,
    pixel_values,
    shares,
    shorter_side,
    summarise,
)

RANDOM = np.random.default_rng(0)


def reference(**more: Histogram) -> Reference:
    return Reference(100, "test", 1, {"blue": 60, OTHER: 40}, more)


def test_each_bin_has_a_tenth_of_the_pictures() -> None:
    histogram = Histogram.of(RANDOM.normal(100, 20, 5000), 1.0)
    assert len(histogram.counts) == 10
    assert all(edge == round(edge) for edge in histogram.edges)
    assert sum(histogram.counts) == 5000
    assert min(histogram.counts) > 350
    assert max(histogram.counts) < 650


def test_bins_are_no_narrower_than_what_another_decoder_or_precision_changes() -> None:
    nearly_sure = 1 - RANDOM.exponential(0.002, 1000)
    histogram = Histogram.of(nearly_sure, 0.005)
    assert np.diff(histogram.edges).min(initial=1.0) >= 0.00499
    assert len(histogram.counts) < 10
    assert min(histogram.counts) > 0  # nor is there one for more than the surest
    assert Histogram.of(RANDOM.uniform(0.501, 0.504, 50), 0.005).counts == (0, 50, 0)


def test_what_all_pictures_have_alike_has_a_bin_of_its_own_between_less_and_more() -> None:
    histogram = Histogram.of(np.full(50, 400.0), 1.0)
    assert histogram.names == ("0: to 399.5", "1: 399.5 to 400.5", "2: over 400.5")
    assert histogram.counts == (0, 50, 0)
    assert histogram.places(np.array([300.0, 400.0, 4000.0])).tolist() == [0, 1, 2]


def test_names_of_bins_sort_as_their_values_do() -> None:
    names = Histogram.of(RANDOM.normal(0, 3, 1000), 0.05).names
    assert list(names) == sorted(names)
    assert len(set(names)) == 10


def test_a_value_on_an_edge_is_below_it_and_what_is_no_number_is_above_all() -> None:
    histogram = Histogram((1.0, 2.0), (1, 1, 1), 0, 3)
    assert histogram.places(np.array([1.0, 1.5, 2.0, 2.5, np.nan, -np.inf])).tolist() == [0, 1, 1, 2, 2, 0]


@pytest.mark.parametrize(
    ("value", "beyond"), [(1.0, 0.0), (3.0, 0.0), (5.0, 0.5), (-1.0, 0.5), (np.inf, 1.0), (np.nan, 1.0), (3.02, 0.01 / 1.01)]
)
def test_how_far_a_value_is_beyond_what_is_usual(value: float, beyond: float) -> None:
    assert Histogram((2.0,), (1, 1), 1.0, 3.0).beyond(value) == pytest.approx(beyond)


def test_ninety_nine_in_a_hundred_are_usual() -> None:
    values = RANDOM.normal(size=20_000)
    histogram = Histogram.of(values, 0.05)
    assert np.mean([histogram.beyond(value) > 0 for value in values]) == pytest.approx(0.01, abs=0.001)
    few = Histogram.of(values[:50], 0.05)
    assert (few.low, few.high) == (values[:50].min(), values[:50].max())


def test_a_picture_is_as_unusual_as_its_most_unusual_value_and_a_typical_one_is_not() -> None:
    known = reference(brightness=Histogram((2.0,), (1, 1), 1.0, 3.0), ood_score=Histogram((2.0,), (1, 1), 1.0, 3.0))
    assert known.unusual({Signal.BRIGHTNESS: 2.0, Signal.OOD_SCORE: 5.0}) == 0.5
    assert known.unusual({Signal.BRIGHTNESS: -1.0}) == 0.5
    assert known.unusual({Signal.OOD_SCORE: -100.0}) == 0.0  # more like the training pictures than all others
    assert known.unusual({Signal.OOD_SCORE: np.nan}) == 1.0
    assert known.unusual({Signal.SHARPNESS: 9.0}) == 0.0  # which this version was not measured by


def test_rare_labels_are_counted_together_and_so_are_those_beyond_a_hundred() -> None:
    values = {Signal.CONFIDENCE: np.array([0.5, 0.9])}
    found = summarise(("a", "b", "c", OTHER), np.array([0] * 5 + [1] * 4 + [3] * 6), values, split="test", unknown=0)
    assert found.labels == {"a": 5, OTHER: 10}
    many = [f"l{number}" for number in range(150)]
    found = summarise(many, np.repeat(np.arange(150), 7), values, split="test", unknown=0)
    assert len(found.labels) == 101
    assert found.labels[OTHER] == 50 * 7
    assert found.pictures == 150 * 7
    assert OTHER not in summarise(("a",), np.zeros(9, np.int64), values, split="test", unknown=0).labels


def test_a_reference_survives_its_document() -> None:
    known = summarise(
        ("a", "b"), np.array([0] * 9 + [1] * 9), {Signal.SIZE: RANDOM.integers(300, 900, 18) * 1.0}, split="test", unknown=2
    )
    assert document.load(Reference, document.dump(known)) == known


def test_no_share_is_nothing_and_they_add_up() -> None:
    assert shares([0, 9, 90]) == [0.5 / 100.5, 9.5 / 100.5, 90.5 / 100.5]


def test_signals_of_answers() -> None:
    probabilities = np.array([[1, 0, 0, 0], [0.25] * 4, [0.5, 0.5, 0, 0]], np.float32)
    values = answer_values(probabilities, np.array([1.0, 2.0, 3.0]), multi_label=False)
    assert values[Signal.CONFIDENCE].tolist() == [1, 0.25, 0.5]
    assert values[Signal.ENTROPY] == pytest.approx([0, log(4), log(2)], abs=1e-9)
    assert values[Signal.OOD_SCORE].tolist() == [1, 2, 3]
    several = answer_values(np.array([[0.5, 0.5], [1, 0]], np.float32), None, multi_label=True)
    assert several[Signal.ENTROPY] == pytest.approx([log(2), 0], abs=1e-9)
    assert Signal.OOD_SCORE not in several


def test_signals_of_pixels_tell_what_was_done_to_a_picture() -> None:
    image = RANDOM.integers(0, 200, (224, 224, 3), np.uint8)
    plain, dark = pixel_values(image), pixel_values(image // 2)
    assert plain[Signal.BRIGHTNESS] == pytest.approx(99.5, abs=1)
    assert dark[Signal.BRIGHTNESS] == pytest.approx(plain[Signal.BRIGHTNESS] / 2, abs=1)
    assert dark[Signal.CONTRAST] == pytest.approx(plain[Signal.CONTRAST] / 2, rel=0.02)
    smooth = np.stack([(image[:-1, :-1] // 2 + image[1:, 1:] // 2)] * 2)[0]
    assert pixel_values(smooth)[Signal.SHARPNESS] < 0.8 * plain[Signal.SHARPNESS]
    grey = pixel_values(np.full((224, 224, 3), 128, np.uint8))
    assert grey[Signal.BRIGHTNESS] == pytest.approx(128)
    assert grey[Signal.CONTRAST] == pytest.approx(0, abs=1e-3)
    assert grey[Signal.SHARPNESS] == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize("size", [(1, 1), (2, 9), (9, 2), (3, 3), (8, 224), (31, 17)])
def test_pixels_of_any_size_have_signals(size: tuple[int, int]) -> None:
    image = RANDOM.integers(0, 256, (*size, 3), np.uint8)
    values = pixel_values(image)
    assert all(np.isfinite(value) for value in values.values())
    assert (values[Signal.SHARPNESS] > 0) == (min(size) > 3)


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "BMP"])
def test_the_shorter_side_of_a_file(form: str) -> None:
    assert shorter_side(picture(size=(40, 30), form=form)) == 30
    assert load_image(noise(1, form=form), Preprocess(crop_px=8)).shape == (8, 8, 3)


def test_what_is_no_picture_has_no_side() -> None:
    assert shorter_side(b"") is None
    assert shorter_side(b"\xff\xd8\xff damaged") is None
