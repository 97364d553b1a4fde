"""core.form: what the path of a dataset leads to."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from eyasd.core.errors import DatasetNotFound, InvalidArgument
from eyasd.core.form import Form, form_of


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
