"""`eyas capture` and `eyas captured`: what is kept, and how people look through it and name labels."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import grpc
import pytest
from tests.integration.client.command.conftest import Eyas, one_sentence

from eyas._command.labelling import read
from eyas.v1 import capture_pb2, capture_service_pb2
from fake_server import FakeServer, Refusal
from replies import captured_message

FIRST, SECOND = (f"{number:024x}" for number in (1, 2))


def test_a_policy_is_shown_and_set(eyas: Eyas, server: FakeServer) -> None:
    status, out, _ = eyas("capture", "clothing")
    assert (status, out.splitlines()) == (
        0,
        [
            "Of the pictures of clothing are kept: wrong by feedback, led by less than 0.2, 2 % by chance",
            "  at most 1,000 pictures, the least instructive go first; each for 30 days",
        ],
    )
    assert eyas("capture", "clothing", "--on", "--percent", "0", "--reason", "wrong", "--keep-days", "7")[0] == 0
    asked = server.calls("SetCapturePolicy")[0].request.policy
    assert (asked.name, asked.enabled, asked.keep_days) == ("models/clothing/capture", True, 7)
    assert list(asked.reasons) == [capture_pb2.CAPTURE_REASON_WRONG]
    assert (asked.HasField("percent"), asked.percent, asked.HasField("max_images")) == (True, 0, False)
    assert eyas("capture", "clothing", "--off")[0] == 0
    assert server.calls("SetCapturePolicy")[1].request.policy.enabled is False
    off = capture_service_pb2.GetCapturePolicyResponse(policy=capture_pb2.CapturePolicy(name="models/clothing/capture"))
    server.answers("GetCapturePolicy", off)
    assert eyas("capture", "clothing")[1].startswith("No picture of clothing is kept: eyas capture clothing --on")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("capture", "clothing", "--percent", "5"), "Add --on: --percent says which pictures are kept"),
        (("capture", "clothing", "--off", "--reason", "wrong"), "--off keeps nothing, so --reason cannot be given beside it"),
        (("captured", "clothing", "--page", "a.html", "--delete", FIRST), "are four things to do: give one of them"),
        (("captured", "clothing", "--jsonl"), "add --export FOLDER"),
    ],
)
def test_what_contradicts_itself_is_told_before_anything_is_sent(
    eyas: Eyas, server: FakeServer, arguments: tuple[str, ...], says: str
) -> None:
    status, _, err = eyas(*arguments)
    assert status == 2
    assert says in one_sentence(err)
    assert server.received == []


def test_pictures_are_listed_newest_first_with_filters(eyas: Eyas, server: FakeServer) -> None:
    status, out, _ = eyas("captured", "clothing", "--reason", "wrong", "--unlabelled", "--predicted", "shirt")
    lines = out.splitlines()
    assert (status, len(lines)) == (0, 4)
    assert all(part in lines[2] for part in (FIRST, "wrong, low_margin", "shirt", "51 %"))
    assert lines[3].endswith("hat")
    request = server.calls("ListCapturedPictures")[0].request
    assert (request.parent, request.labels, request.predicted_label) == ("models/clothing", 2, "shirt")
    server.answers("ListCapturedPictures", capture_service_pb2.ListCapturedPicturesResponse())
    assert eyas("captured", "clothing")[1] == "No such picture of clothing is kept; eyas capture clothing says which are.\n"


@pytest.mark.parametrize("jsonl", [False, True])
def test_a_list_goes_out_and_comes_back(eyas: Eyas, server: FakeServer, tmp_path: Path, jsonl: bool) -> None:
    folder = tmp_path / "to-label"
    hostile = [captured_message(1, shown="=cmd|' /C calc'!A0"), captured_message(2, "-hat")]
    server.answers("ListCapturedPictures", capture_service_pb2.ListCapturedPicturesResponse(pictures=hostile))
    status, out, _ = eyas("captured", "clothing", "--export", folder, *(["--jsonl"] if jsonl else []))
    file = folder / ("labels.jsonl" if jsonl else "labels.csv")
    assert (status, str(file) in out.replace("\n", "")) == (0, True)
    assert sorted(path.name for path in folder.iterdir()) == sorted([f"{FIRST}.jpg", f"{SECOND}.jpg", file.name])
    text = file.read_text(encoding="utf-8")
    rows = [json.loads(line) for line in text.splitlines()] if jsonl else list(csv.DictReader(text.splitlines()))
    assert [row["id"] for row in rows] == [FIRST, SECOND]
    if not jsonl:
        assert not any(value.startswith(("=", "+", "-", "@")) for row in rows for value in row.values())
    assert read(file) == {SECOND: ["-hat"]}
    assert one_sentence(eyas("captured", "clothing", "--export", folder)[2]).endswith("so that nothing is written over.")

    status, out, _ = eyas("captured", "clothing", "--labels", file)
    sent = server.calls("LabelCapturedPictures")[0].request
    assert [(one.name, list(one.labels)) for one in sent.pictures] == [(f"models/clothing/captured/{SECOND}", ["-hat"])]
    assert out.splitlines() == [
        "2 pictures of clothing have their label now.",
        "New to the model: 'scarf'. It learns what you have named by enough pictures.",
        "Train with them: eyas train --from clothing@production --add captured",
    ]


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("a.csv", "id;label\r\n1;shirt\r\n2;\r\n", None),
        ("a.csv", "\ufeffid,label\n1,shirt|hat\n1,shirt|hat\n", None),
        ("a.csv", "picture,label\n1,shirt\n", "has no column 'id'"),
        ("a.csv", "id,label\n1,\n", "names no labels"),
        ("a.csv", "id,label\n1,shirt\n1,hat\n", "Line 3 of .* another label"),
        ("a.csv", "id,label\n,shirt\n", "Line 2 of .* no id"),
        ("a.jsonl", '{"id": "1", "label": "shirt"}\n[1]\n', "Line 2 of .* is no object"),
        ("a.jsonl", "{", "Line 1 of .* is no JSON"),
    ],
)
def test_lists_as_people_and_spreadsheets_write_them(
    eyas: Eyas, server: FakeServer, tmp_path: Path, name: str, text: str, says: str | None
) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    status, _, err = eyas("captured", "clothing", "--labels", tmp_path / name)
    if says is None:
        assert status == 0
        assert len(server.calls("LabelCapturedPictures")[0].request.pictures) == 1
    else:
        assert status == 2
        assert re.search(says, one_sentence(err))
        assert server.received == []


def test_a_page_shows_them_and_runs_nothing_that_their_names_say(eyas: Eyas, server: FakeServer, tmp_path: Path) -> None:
    evil = '"><script>alert(1)</script>'
    pictures = [captured_message(1, shown=evil), captured_message(2, evil)]
    server.answers("ListCapturedPictures", capture_service_pb2.ListCapturedPicturesResponse(pictures=pictures))
    status, out, _ = eyas("captured", "clothing", "--page", tmp_path / "page.html")
    assert (status, out.startswith("2 pictures in ")) == (0, True)
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert evil not in page
    assert page.count("<script>") == 1
    assert page.count("data:image/jpeg;base64,/9j/4A==") == 2
    assert "default-src 'none'" in page
    assert not re.search(r"(src|href)=\"(?!data:)", page)
    assert f'data-id="{FIRST}"' in page
    assert '<option value="' in page  # of the version's labels


def test_what_has_gone_meanwhile_is_left_out(eyas: Eyas, server: FakeServer, tmp_path: Path) -> None:
    server.answers("GetCapturedPicture", Refusal(grpc.StatusCode.NOT_FOUND, "It has gone."))
    assert json.loads(eyas("captured", "clothing", "--page", tmp_path / "page.html", "--json")[1])["pictures"] == 0


def test_deletion(eyas: Eyas, server: FakeServer) -> None:
    assert eyas("captured", "clothing", "--delete", FIRST, "--delete", SECOND)[:2] == (0, "1 picture is deleted.\n")
    assert list(server.calls("DeleteCapturedPictures")[0].request.names) == [
        f"models/clothing/captured/{one}" for one in (FIRST, SECOND)
    ]
    server.answers("DeleteCapturedPictures", capture_service_pb2.DeleteCapturedPicturesResponse())
    status, _, err = eyas("captured", "clothing", "--delete", FIRST)
    assert (status, one_sentence(err).startswith("None of these pictures is there")) == (1, True)
