"""Pictures are decoded once, by the one definition of preprocessing."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from eyasd.core.preprocess import MAX_ENCODED_BYTES, Preprocess, load_image
from eyasd.training import cache
from eyasd.training.cache import decode
from eyasd.training.journal import Interrupted, Journal
from eyasd.training.listing import File, list_files

SPEC = Preprocess(crop_px=16, crop_fraction=0.875)


def test_rows_are_what_the_server_would_see(squares: Callable[..., Path], journal: Journal, tmp_path: Path) -> None:
    files = list_files(squares()).files
    pictures = decode(files, SPEC, tmp_path, journal)
    assert pictures.images.shape == (36, 16, 16, 3)
    assert all(
        np.array_equal(row, load_image(file.path.read_bytes(), SPEC)) for row, file in zip(pictures.images, files, strict=True)
    )


def test_a_later_attempt_decodes_nothing(
    squares: Callable[..., Path], journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = list_files(squares()).files
    first = decode(files, SPEC, tmp_path, journal)
    monkeypatch.setattr(cache, "read_picture", None)
    again = decode(files, SPEC, tmp_path, journal)
    assert again.entries == first.entries
    assert np.array_equal(again.images, first.images)


def test_a_changed_file_or_other_preprocessing_is_decoded_anew(
    squares: Callable[..., Path], journal: Journal, tmp_path: Path
) -> None:
    files = list_files(squares()).files
    before = decode(files, SPEC, tmp_path, journal)
    files[0].path.write_bytes(files[-1].path.read_bytes())
    os.utime(files[0].path, ns=(1, 1))
    after = decode(files, SPEC, tmp_path, journal)
    assert after.entries[0].sha256 == before.entries[-1].sha256
    assert decode(files, Preprocess(crop_px=8), tmp_path, journal).images.shape[1] == 8


def test_a_damaged_index_is_ignored(squares: Callable[..., Path], journal: Journal, tmp_path: Path) -> None:
    files = list_files(squares()).files
    decode(files, SPEC, tmp_path, journal)
    (tmp_path / "pictures.json").write_text("{")
    assert len(decode(files, SPEC, tmp_path, journal).entries) == 36


def test_a_huge_file_is_refused_unread(squares: Callable[..., Path], journal: Journal, tmp_path: Path) -> None:
    root = squares()
    with (root / "red" / "film.mp4").open("wb") as film:
        film.truncate(MAX_ENCODED_BYTES + 1)
    entry = next(e for e in decode(list_files(root).files, SPEC, tmp_path, journal).entries if e.name == "red/film.mp4")
    assert entry.sha256 == ""
    assert "20,000,001 bytes" in entry.problem


def test_a_file_that_may_not_be_read_is_named(squares: Callable[..., Path], journal: Journal, tmp_path: Path) -> None:
    root = squares()
    (root / "red" / "gone.png").symlink_to(root / "red" / "001.png")
    files = list_files(root).files
    (root / "red" / "001.png").unlink()
    problems = [entry for entry in decode(files, SPEC, tmp_path, journal).entries if entry.problem]
    assert [entry.name for entry in problems] == ["red/001.png", "red/gone.png"]
    assert problems[0].problem == "The file cannot be read: No such file or directory."


def test_what_is_no_file_is_never_read(journal: Journal, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    files = [File(path, path.name, ("red",), None) for path in (tmp_path / "pipe", tmp_path, Path("/dev/zero"))]
    assert {entry.problem for entry in decode(files, SPEC, tmp_path, journal).entries} == {"It is not a file."}


def test_missing_files_do_not_keep_the_others_from_being_used_again(
    squares: Callable[..., Path], journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = [*list_files(squares()).files, File(tmp_path / "gone.png", "gone.png", ("red",), None)]
    first = decode(files, SPEC, tmp_path, journal)
    monkeypatch.setattr(cache, "read_picture", None)
    assert decode(files, SPEC, tmp_path, journal).entries == first.entries


def test_decoding_stops_when_asked(squares: Callable[..., Path], journal: Journal, tmp_path: Path) -> None:
    journal.stop()
    with pytest.raises(Interrupted):
        decode(list_files(squares()).files, SPEC, tmp_path, journal)
    assert not (tmp_path / "pictures.json").exists()
