"""`eyas classify`, and the explanations that it draws."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.integration.client.command.conftest import Eyas, one_sentence

from eyas.v1 import classification_service_pb2
from fake_server import FakeServer


def test_pictures_and_folders_of_pictures_are_labelled(eyas: Eyas, server: FakeServer, photos: Path) -> None:
    (photos / "more").mkdir()
    for name in ("b.PNG", "c.jpeg", "notes.txt"):
        (photos / "more" / name).write_bytes(name.encode())
    status, out, _ = eyas(
        "classify",
        "clothing/2",
        photos / "a.jpg",
        photos / "more",
        "--top-k",
        "3",
        "--allow-unknown",
        "--json",
        "--priority",
        "low",
    )
    assert status == 0
    assert [Path(result["path"]).name for result in json.loads(out)["results"]] == ["a.jpg", "b.PNG", "c.jpeg"]
    request = server.received[0].request
    assert (request.model, request.top_k, request.allow_unknown) == ("models/clothing/versions/2", 3, True)
    assert request.priority == classification_service_pb2.PRIORITY_LOW


def test_a_picture_that_fails_does_not_hide_the_others(eyas: Eyas, photos: Path) -> None:
    (photos / "bad.jpg").write_bytes(b"bad")
    status, out, err = eyas("classify", "clothing", photos / "a.jpg", photos / "bad.jpg", photos / "missing.jpg")
    assert status == 1
    _, _, good, bad, missing = out.splitlines()  # a row is one line where nobody's terminal is narrower
    assert good.startswith(f"{photos / 'a.jpg'} ")
    assert "shirt" in good
    assert "The picture is cut short." in bad
    assert "No such file or directory" in missing
    assert "2 of 3 pictures failed" in one_sentence(err)
    status, out, _ = eyas("classify", "clothing", photos / "a.jpg", photos / "bad.jpg", "--json")
    good, bad = json.loads(out)["results"]
    assert (status, good["predictions"][0]["label"], bad["error"]["reason"]) == (1, "shirt", "UNDECODABLE_IMAGE")


def test_explanations_are_files_beside_what_is_printed(eyas: Eyas, photos: Path, tmp_path: Path) -> None:
    (photos / "b.jpg").write_bytes(b"hat")
    (photos / "bad.jpg").write_bytes(b"bad")
    out = tmp_path / "new" / "maps"
    status, printed, _ = eyas("classify", "clothing", photos / "a.jpg", "--explain", out / "one.PNG")
    assert (status, (out / "one.PNG").read_bytes()) == (0, b"PNG of shirt")
    assert f"Where each first label was seen is drawn in {out / 'one.PNG'}." in printed
    status, printed, _ = eyas(
        "classify", "clothing", photos / "a.jpg", photos / "b.jpg", photos / "bad.jpg", "--explain", out, "--json"
    )
    rows = json.loads(printed)["results"]
    assert (status, [row.get("explanation") for row in rows]) == (1, [str(out / "a.png"), str(out / "b.png"), None])
    assert [(out / name).read_bytes() for name in ("a.png", "b.png")] == [b"PNG of shirt", b"PNG of hat"]
    assert not (out / "bad.png").exists()
    _, _, err = eyas("classify", "clothing", photos / "a.jpg", "--explain", photos / "b.jpg")
    assert one_sentence(err) == f"The explanation cannot be written to {photos / 'b.jpg' / 'a.png'}: File exists."


def test_explanations_that_would_harm_files_are_refused_before_anything_is_sent(eyas: Eyas, server: FakeServer) -> None:
    for arguments, says in (
        (("a.jpg", "b.jpg", "--explain", "c.png"), "--explain c.png is a file for one picture, but there are 2: name a folder."),
        (("x/a.jpg", "y/a.jpg", "--explain", "z"), "would write z/a.png for x/a.jpg and for y/a.jpg: explain them one at a time."),
        (("x/a.png", "--explain", "x"), "--explain x would write over the picture x/a.png: name another folder or file."),
        (("a.png", "--explain", "./a.png"), "would write over the picture a.png"),
    ):
        status, _, err = eyas("classify", "clothing", *arguments)
        assert status == 2
        assert says in one_sentence(err)
    assert server.received == []


def test_an_empty_folder_is_a_mistake(eyas: Eyas, tmp_path: Path) -> None:
    status, _, err = eyas("classify", "clothing", tmp_path)
    assert status == 2
    assert "There is no picture in the folder" in one_sentence(err)


def test_of_many_pictures_a_terminal_shows_how_many_are_done(
    eyas: Eyas, server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(600):
        (tmp_path / f"{number:03d}.jpg").write_bytes(str(number).encode())
    status, out, err = eyas("classify", "clothing", tmp_path, "--json")
    assert (status, err) == (0, "")
    assert [result["predictions"][0]["label"] for result in json.loads(out)["results"]] == [str(number) for number in range(600)]
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    status, out, err = eyas("classify", "clothing", tmp_path)
    assert (status, "600/600" in err) == (0, True)
    assert sum(".jpg" in line for line in out.splitlines()) == 600
