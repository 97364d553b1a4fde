"""core.form: what the path of a dataset leads to."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from eyasd.core.errors import DatasetNotFound, InvalidArgument
from eyasd.core.form import Form, expanded, form_at, form_of
from eyasd.core.places import place_of


@pytest.mark.parametrize("name", ["photos", "photos.zip", "train"])
def test_a_folder_is_one_whatever_its_name(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    assert form_of(tmp_path / name) is Form.FOLDER


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("a.csv", Form.MANIFEST), ("A.CSV", Form.MANIFEST), ("a.jsonl", Form.MANIFEST),
        ("a.zip", Form.ARCHIVE), ("a.tar", Form.ARCHIVE), ("a.tar.gz", Form.ARCHIVE), ("a.b.TGZ", Form.ARCHIVE),
        ("a.tar.bz2", Form.ARCHIVE), ("a.tar.xz", Form.ARCHIVE),
    ],
)  # fmt: skip
def test_a_file_is_told_by_its_suffix(tmp_path: Path, name: str, form: Form) -> None:
    (tmp_path / name).touch()
    assert form_of(tmp_path / name) is form


@pytest.mark.parametrize("name", ["a.rar", "a.gz", "csv", "a.json", "a.zip.part"])
def test_other_files_are_refused_and_what_is_accepted_is_said(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    with pytest.raises(InvalidArgument, match=rf"'{tmp_path / name}' is neither a folder, nor a manifest \(.csv, .jsonl\), nor an"):
        form_of(tmp_path / name)


def test_a_pipe_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.csv")
    with pytest.raises(InvalidArgument, match="neither a folder"):
        form_of(tmp_path / "a.csv")


@pytest.mark.parametrize("path", ["/nowhere/at/all", "/nowhere/" + "x" * 300, "/nowhere\0.csv"])
def test_nothing_there(path: str) -> None:
    with pytest.raises(DatasetNotFound, match="There is no folder '/nowhere.* on the trainer's machine, nor a file"):
        form_of(Path(path))


def test_what_may_not_be_read_is_refused_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The superuser, as whom tests may run, may read everything.
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(InvalidArgument, match="may not be read by the trainer's user"):
        form_of(tmp_path)


def test_what_lies_in_a_closed_folder_is_refused_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def closed(path: Path) -> os.stat_result:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "stat", closed)
    with pytest.raises(InvalidArgument, match="may not be read by the trainer's user"):
        form_of(tmp_path)


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("s3://photos", Form.FOLDER), ("s3://photos/x", Form.FOLDER), ("s3://photos/a.CSV", Form.MANIFEST),
        ("gs://photos/a.jsonl", Form.MANIFEST),
        ("az://photos/a.tar.gz", Form.ARCHIVE), ("s3://photos/a.tar", Form.ARCHIVE), ("s3://photos/a-{000..123}.tar", Form.SHARDS),
        ("s3://photos/{0..1}", Form.FOLDER), ("s3://photos.zip", Form.FOLDER),
    ],
)  # fmt: skip
def test_what_lies_in_a_bucket_is_told_by_its_name(name: str, form: Form) -> None:
    assert form_at(place_of(name), ()) is form


def test_of_shards_the_first_must_be_there(tmp_path: Path) -> None:
    place = place_of(f"{tmp_path}/train-{{007..008}}.tar")
    with pytest.raises(DatasetNotFound, match="train-007.tar"):
        form_at(place, ())
    (tmp_path / "train-007.tar").touch()
    assert form_at(place, ()) is Form.SHARDS


def test_a_range_is_expanded_as_in_a_shell() -> None:
    assert expanded("a-{08..11}.tar") == ["a-08.tar", "a-09.tar", "a-10.tar", "a-11.tar"]
    assert expanded("{0..1}/{1..2}.tar") == ["0/1.tar", "0/2.tar", "1/1.tar", "1/2.tar"]
    assert expanded("plain.tar") == ["plain.tar"]


def test_very_many_ranges_are_expanded() -> None:
    assert expanded("{0..0}" * 5_000) == ["0" * 5_000]


@pytest.mark.parametrize(
    "name", ["a-{5..1}.tar", "a-{0..1000000}.tar", "{0..999999999}{0..999999999}.tar", "a" * 1_000 + "{000000..999999}.tar"]
)
def test_a_range_that_runs_backwards_or_too_far(name: str) -> None:
    with pytest.raises(InvalidArgument, match=r"must run from the lower number to the higher, over at most 1,000,000 shards"):
        expanded(name)
