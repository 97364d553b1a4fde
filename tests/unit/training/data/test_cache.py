"""Pictures are decoded once, by the one definition of preprocessing."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from eyasd.core.jobdir import PROGRESS
from eyasd.core.preprocess import MAX_ENCODED_BYTES, Preprocess
from eyasd.training.data import cache
from eyasd.training.data.cache import decode
from eyasd.training.data.listing import File, list_files
from eyasd.training.journal import Interrupted, Journal

from .conftest import SPEC, Jobs, Squares, is_right


def test_rows_are_what_the_server_would_see(squares: Squares, jobs: Jobs) -> None:
    files = list_files(squares()).files
    pictures = jobs.decode(files)
    assert pictures.images.shape == (36, 16, 16, 3)
    assert is_right(pictures, files)
    assert jobs.decoded == 36


def test_a_later_attempt_decodes_nothing(squares: Squares, journal: Journal, tmp_path: Path, jobs: Jobs) -> None:
    files = list_files(squares()).files
    first = decode(files, SPEC, tmp_path, None, journal)
    jobs.read = 0
    again = decode(files, SPEC, tmp_path, None, journal)
    assert jobs.read == 0
    assert again.entries == first.entries
    assert np.array_equal(again.images, first.images)
    assert "Took 36 of 36 decoded pictures" in (tmp_path / PROGRESS).read_text()


def test_another_job_reads_and_decodes_nothing(squares: Squares, jobs: Jobs) -> None:
    files = list_files(squares()).files
    first = jobs.decode(files)
    again = jobs.decode(files)
    assert (jobs.read, jobs.decoded) == (0, 0)
    assert again.entries == first.entries
    assert is_right(again, files)
    assert [path.name for path in jobs.made[-1].iterdir()] == [PROGRESS]


def test_a_touched_file_is_read_but_not_decoded(squares: Squares, jobs: Jobs) -> None:
    files = list_files(squares()).files
    jobs.decode(files)
    os.utime(files[3].path, ns=(1, 1))
    assert is_right(jobs.decode(files), files)
    assert (jobs.read, jobs.decoded) == (1, 0)
    jobs.decode(files)
    assert jobs.read == 0


def test_a_copy_of_the_dataset_is_not_decoded(squares: Squares, jobs: Jobs, tmp_path: Path) -> None:
    root = squares()
    jobs.decode(list_files(root).files)
    shutil.copytree(root, tmp_path / "copy")
    (tmp_path / "copy" / "red").rename(tmp_path / "copy" / "violet")
    files = list_files(tmp_path / "copy").files
    assert is_right(jobs.decode(files), files)
    assert (jobs.read, jobs.decoded) == (36, 0)


def test_only_what_is_new_is_decoded(squares: Squares, jobs: Jobs) -> None:
    root = squares()
    before = list_files(root).files
    jobs.decode(before)
    (root / "blue" / "new.png").write_bytes(before[-1].path.read_bytes() + b"\0")  # another file, the same picture
    before[5].path.unlink()
    after = list_files(root).files
    assert is_right(jobs.decode(after), after)
    assert (jobs.read, jobs.decoded) == (1, 1)
    assert "Took 35 of 36 decoded pictures" in jobs.said()


def test_a_changed_file_is_decoded_anew(squares: Squares, jobs: Jobs) -> None:
    files = list_files(squares()).files
    jobs.decode(files)
    status = files[0].path.stat()
    files[0].path.write_bytes(files[0].path.read_bytes()[:-1] + b"\1")  # of the same size
    os.utime(files[0].path, ns=(status.st_atime_ns, status.st_mtime_ns))  # and the same age
    assert is_right(jobs.decode(files), files)
    assert (jobs.read, jobs.decoded) == (1, 1)


def test_other_preprocessing_shares_digests_but_no_pixels(squares: Squares, jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    files = list_files(squares()).files
    jobs.decode(files)
    other = Preprocess(crop_px=8)
    assert is_right(jobs.decode(files, other), files, other)
    assert jobs.decoded == 36
    monkeypatch.setattr(cache, "_CODE", "another version")
    jobs.decode(files)
    assert jobs.decoded == 36
    assert len(jobs.shards()) == 3


def test_what_is_no_picture_is_remembered_and_what_cannot_be_read_is_tried_again(squares: Squares, jobs: Jobs) -> None:
    root = squares()
    (root / "red" / "broken.png").write_text("no picture")
    (root / "red" / "link.png").symlink_to(root / "later.png")
    files = (*list_files(root).files, File(root / "red" / "link.png", "red/link.png", ("red",), None))
    first = jobs.decode(files)
    problems = {entry.name: entry.problem for entry in first.entries if entry.problem}
    assert problems.keys() == {"red/broken.png", "red/link.png"}
    assert problems["red/link.png"] == "The file cannot be read: No such file or directory."
    again = jobs.decode(files)
    assert (jobs.read, jobs.decoded) == (1, 0)
    assert again.entries == first.entries
    shutil.copy(root / "blue" / "025.png", root / "later.png")
    entry = jobs.decode(files).entries[-1]
    assert (entry.problem, jobs.decoded) == ("", 0)  # its content is known from another file


def test_want_of_memory_is_not_remembered(squares: Squares, jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    files = list_files(squares()).files

    def fail(*_: object) -> None:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr("eyasd.core.preprocess._decode", fail)
        assert all(entry.problem for entry in jobs.decode(files).entries)
    assert is_right(jobs.decode(files), files)


@pytest.mark.parametrize("damage", ["cut", "emptied", "overwritten", "removed"])
def test_what_is_damaged_is_decoded_again(squares: Squares, jobs: Jobs, damage: str) -> None:
    files = list_files(squares()).files
    jobs.decode(files)
    for path in jobs.shared.iterdir():
        content = path.read_bytes()
        path.unlink()
        if damage != "removed":
            path.write_bytes({"cut": content[:-1], "emptied": b"", "overwritten": content[:-99] + 99 * b"{"}[damage])
    assert is_right(jobs.decode(files), files)
    assert jobs.decoded == 36
    assert is_right(jobs.decode(files), files)
    assert (jobs.read, jobs.decoded) == (0, 0)


def test_a_cache_that_cannot_be_written_is_done_without(squares: Squares, jobs: Jobs) -> None:
    jobs.shared.write_text("a file, not a folder")
    files = list_files(squares()).files
    assert is_right(jobs.decode(files), files)
    assert "for this job alone, as the shared cache could not take them: File exists." in jobs.said()


def test_the_cache_is_its_owners_alone(squares: Squares, jobs: Jobs) -> None:
    jobs.decode(list_files(squares()).files)
    assert jobs.shared.stat().st_mode & 0o077 == 0


def test_a_huge_file_is_refused_unread(squares: Squares, jobs: Jobs) -> None:
    root = squares()
    with (root / "red" / "film.mp4").open("wb") as film:
        film.truncate(MAX_ENCODED_BYTES + 1)
    entry = next(e for e in jobs.decode(list_files(root).files).entries if e.name == "red/film.mp4")
    assert entry.sha256 == ""
    assert "20,000,001 bytes" in entry.problem


def test_a_file_that_may_not_be_read_is_named(squares: Squares, jobs: Jobs) -> None:
    root = squares()
    (root / "red" / "gone.png").symlink_to(root / "red" / "001.png")
    files = list_files(root).files
    (root / "red" / "001.png").unlink()
    problems = [entry for entry in jobs.decode(files).entries if entry.problem]
    assert [entry.name for entry in problems] == ["red/001.png", "red/gone.png"]
    assert problems[0].problem == "The file cannot be read: No such file or directory."


def test_what_is_no_file_is_never_read(jobs: Jobs, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    files = tuple(File(path, path.name, ("red",), None) for path in (tmp_path / "pipe", tmp_path, Path("/dev/zero")))
    assert {entry.problem for entry in jobs.decode(files).entries} == {"The file cannot be read: it is not a file."}


def test_decoding_stops_when_asked(squares: Squares, journal: Journal, tmp_path: Path) -> None:
    journal.stop()
    with pytest.raises(Interrupted):
        decode(list_files(squares()).files, SPEC, tmp_path, None, journal)
    assert list((tmp_path / "pictures").iterdir()) == [tmp_path / "pictures" / "lock"]
