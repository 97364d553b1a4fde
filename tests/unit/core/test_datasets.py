"""core.datasets: which paths a dataset may have, and that its list of files is read as it was written, or refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eyasd.core import datasets
from eyasd.core.datasets import HEADER, Blob, DatasetFile, path_problem, read_manifest
from eyasd.core.errors import InvalidArgument
from uploads import manifest_lines

DIGEST = "0" * 64
ROW = b"0" * 64 + b" 1 "


@pytest.mark.parametrize("path", ["a", "shirt/1.jpg", "été/Ω 1.jpg", "a" * 255, "/".join("a" * 33), "..a/b..", "a b"])
def test_a_path_that_may_be(path: str) -> None:
    assert path_problem(path) == ""


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/a",
        "a/",
        "a//b",
        ".",
        "..",
        "a/../b",
        "./a",
        "a\\b",
        "a\nb",
        "a\0b",
        "a\x7f",
        "é" * 128,
        "/".join("a" * 34),
        "/".join(["a" * 200] * 6),
    ],
)
def test_a_path_that_may_not_be(path: str) -> None:
    assert path_problem(path)


@given(st.lists(st.text(max_size=12).filter(lambda path: not path_problem(path)), min_size=1, unique=True))
def test_what_is_written_is_read_unless_a_file_is_a_folder(paths: list[str]) -> None:
    files = [DatasetFile(path, Blob(DIGEST, place)) for place, path in enumerate(paths)]
    lines = list(manifest_lines(files))
    if any(one.startswith(f"{other}/") for one in paths for other in paths):
        with pytest.raises(InvalidArgument, match="is a file"):
            list(read_manifest(lines))
    else:
        read = list(read_manifest(lines))
        assert sorted(read, key=lambda file: file.path) == sorted(files, key=lambda file: file.path)
        assert list(manifest_lines(read)) == lines


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"", "begins with"),
        (b"eyas dataset 2\n", "begins with"),
        (HEADER, "has no files"),
        (HEADER + ROW + b"a", "Line 2 .* is not SHA256"),
        (HEADER + b"x" + ROW[1:] + b"a\n", "is not SHA256"),
        (HEADER + ROW.replace(b" 1 ", b" 01 ") + b"a\n", "is not SHA256"),
        (HEADER + ROW.replace(b" 1 ", b" -1 ") + b"a\n", "is not SHA256"),
        (HEADER + ROW + b"\xff\n", "not UTF-8"),
        (HEADER + ROW + b"../a\n", r"names '\.\./a', which is not relative"),
        (HEADER + ROW + b"/etc/passwd\n", "is not relative"),
        (HEADER + ROW + b"b\n" + ROW + b"a\n", "Line 3 .* names 'a' after 'b'"),
        (HEADER + ROW + b"a\n" + ROW + b"a\n", "each path once"),
        (HEADER + ROW + b"a\n" + ROW + b"a/b\n", "whose folder 'a' is a file"),
        (HEADER + ROW + b"a-b\n" + ROW + b"a/b\n", "in the order"),
    ],
)
def test_a_list_that_is_wrong(text: bytes, says: str) -> None:
    with pytest.raises(InvalidArgument, match=says):
        list(read_manifest(text.splitlines(keepends=True)))


def test_too_many_files() -> None:
    lines = list(manifest_lines(DatasetFile(name, Blob(DIGEST, 0)) for name in "abc"))
    assert len(list(read_manifest(lines, 3))) == 3
    with pytest.raises(InvalidArgument, match="more than 2 files"):
        list(read_manifest(lines, 2))


def test_too_many_folders(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 200 bytes of the list each they made thirty folders of a job's disk a file."""
    paths = ["a/b/c/1", "a/b/c/2", "a/b/d/1", "a/b/3", "a/e", "a!/b/1", "b/c/1", "own"]
    lines = list(manifest_lines(DatasetFile(path, Blob(DIGEST, 0)) for path in paths))
    monkeypatch.setattr(datasets, "MAX_FOLDERS", 8)  # a, a/b, a/b/c, a/b/d, a!, a!/b, b, b/c
    assert {file.path for file in read_manifest(lines, 10)} == set(paths)
    monkeypatch.setattr(datasets, "MAX_FOLDERS", 7)
    with pytest.raises(InvalidArgument, match="more than 7 folders: put more files into each"):
        list(read_manifest(lines, 10))
    assert len(list(read_manifest(lines))) == len(paths)  # of one that was made before
