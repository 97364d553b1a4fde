"""eyas._images: every picture goes into one request, read when that is due."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

import eyas
from eyas import _images


# Sizes in bytes up to the limit of a message: few bytes of memory stand for them, as only their length is looked at.
class Picture(bytes):
    """Bytes that claim to be more than they are."""

    claimed: int

    def __len__(self) -> int:
        return self.claimed


def picture(size: int) -> Picture:
    made = Picture()
    made.claimed = size
    return made


LIMIT = 30 * 2**20


@given(st.lists(st.sampled_from([0, 1, 100_000, 5_000_000, LIMIT // 2, LIMIT - 1, LIMIT, LIMIT + 1, 2**31]), max_size=300))
def test_every_picture_travels_once_in_order_and_within_the_limits(sizes: list[int]) -> None:
    images = [picture(size) for size in sizes]
    results: list[Any] = [None] * len(images)
    sent: list[int] = []
    for places, contents in _images.batches(images, results):
        assert 1 <= len(places) == len(contents) <= 64
        assert sum(map(len, contents)) <= LIMIT
        assert all(images[place] is content for place, content in zip(places, contents, strict=True))
        sent += places
    refused = [place for place, result in enumerate(results) if result is not None]
    assert sent == sorted(sent)
    assert sorted(sent + refused) == list(range(len(images)))
    assert refused == [place for place, size in enumerate(sizes) if size > LIMIT]
    assert all(
        isinstance(results[place], eyas.UndecodableImage) and results[place].reason == "IMAGE_TOO_LARGE" for place in refused
    )


def test_a_file_is_read_when_its_request_is_due(tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.jpg" for number in range(65)]
    for path in paths[:64]:
        path.write_bytes(b"x")
    results: list[Any] = [None] * 65
    batches = _images.batches(paths, results)
    paths[64].write_bytes(b"late")
    assert len(next(batches)[0]) == 64
    assert next(batches) == ([64], [b"late"])


def test_a_file_that_is_not_there_fails_alone(tmp_path: Path) -> None:
    (tmp_path / "b.jpg").write_bytes(b"x")
    results: list[Any] = [None] * 3
    sent = list(_images.batches([tmp_path / "a.jpg", str(tmp_path / "b.jpg"), tmp_path], results))
    assert sent == [([1], [b"x"])]
    assert "a.jpg cannot be read: No such file or directory." in results[0].message
    assert results[2].reason == "UNREADABLE_FILE"
