"""Copies are found whatever was done to them on the way, and pictures that only resemble each other are not."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageEnhance

from builders import scene
from eyasd.training.data import duplicates
from eyasd.training.data.duplicates import Copies, find_copies, join
from eyasd.training.journal import Interrupted

PX = 64


def pixels(picture: Image.Image) -> NDArray[np.uint8]:
    return np.asarray(picture.resize((PX, PX), Image.Resampling.BICUBIC))


def found(pictures: list[Image.Image], labels: str | None = None) -> Copies:
    images = np.stack([pixels(picture) for picture in pictures])
    return find_copies(images, np.arange(len(images)), labels or "a" * len(images), lambda: None)


def jpeg(picture: Image.Image, quality: int) -> Image.Image:
    buffer = BytesIO()
    picture.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer)


def cut(picture: Image.Image, px: int) -> Image.Image:
    return picture.crop((px, px, picture.width - px, picture.height - px))


def test_equal_pixels_are_exact_copies() -> None:
    copies = found([scene(1), scene(2), scene(1), scene(3)])
    assert copies.exact[0] == copies.exact[2]
    assert len(set(copies.exact.tolist())) == 3
    assert np.array_equal(copies.exact, copies.near)


@pytest.mark.parametrize(
    "altered",
    [
        jpeg(scene(1, (320, 240)), 30),
        scene(1, (320, 240)).resize((96, 72)),
        ImageEnhance.Brightness(scene(1, (320, 240))).enhance(0.7),
        scene(1, (320, 240)).rotate(1, fillcolor="white"),
        cut(scene(1, (320, 240)), 2),
    ],
    ids=["compressed", "small", "darker", "turned", "cut"],
)
def test_an_altered_copy_is_a_near_copy(altered: Image.Image) -> None:
    copies = found([scene(1, (320, 240)), scene(2), altered, scene(3)])
    assert copies.exact[0] != copies.exact[2]
    assert copies.near[0] == copies.near[2]
    assert len(set(copies.near.tolist())) == 3


def test_another_colour_is_another_picture() -> None:
    shirt, other = Image.new("RGB", (PX, PX), "white"), Image.new("RGB", (PX, PX), "white")
    shirt.paste((200, 30, 30), (16, 16, 48, 48))
    other.paste((30, 30, 200), (16, 16, 48, 48))
    assert len(set(found([shirt, other]).near.tolist())) == 2


def test_pictures_without_contrast_are_only_exact_copies() -> None:
    grey = [Image.new("RGB", (PX, PX), (level, level, level)) for level in (10, 10, 11, 200)]
    copies = found(grey)
    assert len(set(copies.near.tolist())) == 3
    assert copies.near[0] == copies.near[1]


def test_the_order_changes_nothing() -> None:
    pictures = [scene(seed) for seed in range(8)] + [jpeg(scene(seed), 40) for seed in range(4)]
    order = np.random.default_rng(0).permutation(len(pictures))
    plain, mixed = found(pictures), found([pictures[i] for i in order])
    assert np.array_equal(plain.near[order], mixed.near)
    assert np.array_equal(plain.exact[order], mixed.exact)


def test_many_pictures_alike_are_a_scene() -> None:
    def part(number: int) -> Image.Image:
        picture = scene(1)
        picture.paste((number, 0, 0), (0, 0, 4, 4))
        return picture

    few, many = found([part(i) for i in range(10)]), found([*map(part, range(11)), scene(2), part(10)])
    assert (len(set(few.near.tolist())), few.scenes) == (1, 0)
    assert (len(set(many.near.tolist())), many.scenes) == (12, 12)
    assert many.near[10] == many.near[12]  # exact copies stay what they are


def test_it_can_be_stopped() -> None:
    def stop() -> None:
        raise Interrupted

    with pytest.raises(Interrupted):
        find_copies(np.zeros((1, PX, PX, 3), np.uint8), np.arange(1), "a", stop)


def test_the_matrix_is_made_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = [scene(seed) for seed in range(9)] + [jpeg(scene(seed), 40) for seed in range(9)]
    whole = found(pictures)
    monkeypatch.setattr(duplicates, "_BLOCK_VALUES", 40)
    monkeypatch.setattr(duplicates, "_CHUNK", 7)
    assert np.array_equal(found(pictures).near, whole.near)
    assert len(set(whole.near.tolist())) == 9


@given(st.integers(1, 30).flatmap(lambda n: st.tuples(st.just(n), st.lists(st.tuples(*[st.integers(0, n - 1)] * 2), max_size=40))))
def test_joined_is_connected(case: tuple[int, list[tuple[int, int]]]) -> None:
    count, pairs = case
    expected = list(range(count))
    for one, other in pairs:
        old, new = expected[one], expected[other]
        expected = [new if group == old else group for group in expected]
    left, right = np.array(pairs, np.int64).reshape(-1, 2).T
    roots = join(np.arange(count), left, right).tolist()
    assert [roots.index(root) for root in roots] == [expected.index(group) for group in expected]
    assert all(root == roots.index(root) for root in roots)  # the least member
