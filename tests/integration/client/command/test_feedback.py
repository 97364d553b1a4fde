"""`eyas feedback`: one report, or a file of them, and what became of each."""

from __future__ import annotations

import json
from io import BytesIO, TextIOWrapper
from pathlib import Path

import pytest
from tests.integration.client.command.conftest import Eyas, one_sentence

from fake_server import FakeServer


def test_one_answer(eyas: Eyas, server: FakeServer) -> None:
    assert eyas("feedback", "wrong", "hat") == (0, "wrong: clothing/3 said shirt.\n", "")
    (sent,) = server.calls("ReportFeedback")
    (one,) = sent.request.feedback
    assert (one.prediction_id, list(one.true_labels), list(one.true_class_indices)) == ("wrong", ["hat"], [])
    assert eyas("feedback", "forged", "hat") == (1, "forged: It is not counted.\n", "")


FILES = {
    "csv": 'prediction_id,label\nright,shirt\nunknown_label,"a, b"\n',
    "multi-label csv": "\ufeffwhen,labels,prediction_id\n1,a|b,wrong\n2,,repeated\n",
    "json lines": '\n{"prediction_id": "right", "label": "shirt"}\n\n{"prediction_id": "corrected", "labels": ["hat", 3]}\n',
}
SENT = {
    "csv": [("right", ["shirt"], []), ("unknown_label", ["a, b"], [])],
    "multi-label csv": [("wrong", ["a", "b"], []), ("repeated", [], [])],
    "json lines": [("right", ["shirt"], []), ("corrected", ["hat"], [3])],
}


@pytest.mark.parametrize("kind", FILES)
def test_many_from_a_file(eyas: Eyas, server: FakeServer, tmp_path: Path, kind: str) -> None:
    (tmp_path / "truth").write_text(FILES[kind], encoding="utf-8")
    status, out, _ = eyas("feedback", "--file", tmp_path / "truth")
    (sent,) = server.calls("ReportFeedback")
    found = [(one.prediction_id, list(one.true_labels), list(one.true_class_indices)) for one in sent.request.feedback]
    assert found == SENT[kind]
    first, second = (outcome for outcome, _, _ in found)
    lines = out.splitlines()
    assert lines[0] == f"1: {first}: clothing/3 said shirt."
    assert lines[1] == f"2: {second.replace('_', ' ')}: It is not counted."
    assert sorted(lines[2].removeprefix("2 reports: ").split(", ")) == sorted(
        f"1 {one.replace('_', ' ')}" for one in (first, second)
    )
    assert status == (second == "unknown_label")


def test_of_standard_input_as_many_at_a_time_as_a_call_takes(
    eyas: Eyas, server: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = BytesIO(b"prediction_id,label\n" + b"right,shirt\n" * 300)
    content.name = "<stdin>"  # as of that which it stands for
    monkeypatch.setattr("sys.stdin", TextIOWrapper(content))
    status, out, _ = eyas("feedback", "--file", "-", "--json")
    document = json.loads(out)
    assert (status, len(document["results"]), document["outcomes"]) == (0, 300, {"right": 300})
    assert document["results"][0]["answered"] == ["shirt"]
    assert [len(call.request.feedback) for call in server.calls("ReportFeedback")] == [256, 44]


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "There is no report in the file"),
        (b"prediction_id,label\n", "There is no report in the file"),
        (b"id,label\na,b\n", "has no column 'prediction_id'"),
        (b"prediction_id,label,labels\na,b,c\n", "Line 2 of"),
        (b"prediction_id,label\nright,shirt\nright\n", "is no report: it has a prediction_id and a label"),
        (b'prediction_id,label\nright,"shirt\n', "is no CSV"),
        (b'\n{"prediction_id": "right"}', "Line 2 of"),
        (b'{"prediction_id": "right", "label": "a"}\n{"prediction_id": 1, "label": "a"}', "Line 2 of"),
        (b'{"prediction_id": "right", "label": true}', "Line 1 of"),
        (b"{", "is no JSON"),
        (b"prediction_id,label\nright,\xff\n", "is not text in UTF-8"),
    ],
)
def test_a_file_that_is_none_reports_nothing(eyas: Eyas, server: FakeServer, tmp_path: Path, content: bytes, says: str) -> None:
    (tmp_path / "truth").write_bytes(content)
    status, _, err = eyas("feedback", "--file", tmp_path / "truth")
    assert status == 2
    assert says in one_sentence(err)
    assert server.calls("ReportFeedback") == []


def test_what_contradicts_itself_is_refused(eyas: Eyas, tmp_path: Path) -> None:
    (tmp_path / "truth").write_text("prediction_id,label\n")
    for arguments in ((), ("right", "shirt", "--file", tmp_path / "truth")):
        status, _, err = eyas("feedback", *arguments)
        assert (status, one_sentence(err)) == (2, "Give a PREDICTION_ID and its LABEL, or --file. See eyas feedback --help.")


def test_ids_are_shown_to_those_who_ask(eyas: Eyas, photos: Path) -> None:
    assert "id-of-shirt" in eyas("classify", "clothing", photos / "a.jpg", "--ids")[1]
    assert "id-of-shirt" not in eyas("classify", "clothing", photos / "a.jpg")[1]
    assert json.loads(eyas("classify", "clothing", photos / "a.jpg", "--json")[1])["results"][0]["prediction_id"] == "id-of-shirt"
