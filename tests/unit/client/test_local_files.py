"""Which files of a folder are uploaded, under which paths, and what is refused before anything is sent."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from eyas._errors import InvalidArgument
from eyas._local_files import local_files, name_of


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "Photos"
    for path in ("shirt/1.jpg", "shirt/more/2.jpg", "shirt-a/1.jpg", "hat/1.jpg", "notes.txt"):
        (made / path).parent.mkdir(parents=True, exist_ok=True)
        (made / path).write_text(path)
    return made


def paths(folder: Path, *, follow_links: bool = False) -> list[str]:
    return [file.path for file in local_files(folder, follow_links=follow_links)]


def test_all_files_in_the_order_of_the_contract(folder: Path) -> None:
    for hidden in (".DS_Store", "Thumbs.db", ".git/config", "__MACOSX/1.jpg"):
        (folder / hidden).parent.mkdir(exist_ok=True)
        (folder / hidden).touch()
    os.mkfifo(folder / "pipe")
    assert paths(folder) == ["hat/1.jpg", "notes.txt", "shirt/1.jpg", "shirt/more/2.jpg", "shirt-a/1.jpg"]


def test_links_within_the_folder_are_what_they_lead_to(folder: Path) -> None:
    (folder / "hat" / "link.jpg").symlink_to("../shirt/1.jpg")
    (folder / "cap").symlink_to(folder / "hat")
    (folder / "hat" / "nowhere.jpg").symlink_to("gone")
    found = {file.path: Path(file.place).read_text() for file in local_files(folder, follow_links=False)}
    assert found["hat/link.jpg"] == found["cap/link.jpg"] == "shirt/1.jpg"
    assert "hat/nowhere.jpg" not in found


def test_links_out_of_the_folder_are_refused_unless_they_are_wanted(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "Photos-private").mkdir()
    (tmp_path / "Photos-private" / "key").write_text("secret")
    (folder / "hat" / "a.jpg").symlink_to(tmp_path / "Photos-private" / "key")
    (folder / "scarf").symlink_to(tmp_path / "Photos-private")
    with pytest.raises(InvalidArgument, match=r"is a link that leads out of .* \(and 1 others do\): .* --follow-links"):
        paths(folder)
    assert {"hat/a.jpg", "scarf/key"} <= set(paths(folder, follow_links=True))


def test_a_link_into_itself_is_refused(folder: Path) -> None:
    (folder / "hat" / "again").symlink_to(folder)
    with pytest.raises(InvalidArgument, match="'hat/again' leads to a folder that it lies in"):
        paths(folder)


@pytest.mark.parametrize(
    ("name", "says"),
    [(b"a\nb.jpg", "control character"), (b"a\\b.jpg", "backslash"), (b"\xff.jpg", "not UTF-8"), ("é".encode() * 127, "")],
)
def test_a_name_that_no_dataset_may_have(folder: Path, name: bytes, says: str) -> None:
    Path(os.fsdecode(os.fsencode(folder) + b"/hat/" + name)).touch()
    if not says:
        assert len(paths(folder)) == 6
        return
    with pytest.raises(InvalidArgument, match=says):
        paths(folder)


def test_too_deep(folder: Path) -> None:
    deep = folder.joinpath(*"a" * 33)
    deep.mkdir(parents=True)
    (deep / "1.jpg").touch()
    with pytest.raises(InvalidArgument, match="32 folders"):
        paths(folder)


def test_an_archive_is_one_file(tmp_path: Path) -> None:
    (tmp_path / "photos.tar.gz").write_bytes(b"packed")
    assert paths(tmp_path / "photos.tar.gz") == ["photos.tar.gz"]


@pytest.mark.parametrize(
    ("name", "says"),
    [("gone", "There is nothing at"), ("empty", "holds no files"), ("a.csv", "names pictures"), ("a.jpg", "neither a folder")],
)
def test_what_is_no_dataset(tmp_path: Path, name: str, says: str) -> None:
    (tmp_path / "empty").mkdir()
    for file in ("a.csv", "a.jpg"):
        (tmp_path / file).touch()
    with pytest.raises(InvalidArgument, match=says):
        paths(tmp_path / name)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("Photos", "photos"),
        ("My Photos (2026)", "my-photos-2026"),
        ("a..b", "a.b"),
        ("photos.tar.gz", "photos"),
        ("x" * 80, "x" * 64),
    ],
)
def test_a_name_is_made_of_the_folder(tmp_path: Path, path: str, name: str) -> None:
    assert name_of(tmp_path / path) == name


def test_no_name_can_be_made(tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match="--name"):
        name_of(tmp_path / "写真")
