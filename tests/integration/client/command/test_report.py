"""`eyas report`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.integration.client.command.conftest import Eyas, one_sentence

from fake_server import FakeServer


def test_a_report_is_written_where_it_is_asked_for(
    eyas: Eyas, server: FakeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert eyas("report", "clothing")[1] == f"The report of clothing/3 is in {tmp_path / 'clothing-3.html'}\n"
    assert (tmp_path / "clothing-3.html").read_text("utf-8") == "<!doctype html><p>größer"
    eyas("report", "clothing/3", "--out", "there.html")
    assert (tmp_path / "there.html").exists()
    assert [call.request.name for call in server.calls("GetReport")] == ["models/clothing", "models/clothing/versions/3"]
    status, _, err = eyas("report", "clothing", "--out", tmp_path / "nowhere/there.html")
    assert status == 1
    assert one_sentence(err) == f"The report cannot be written to {tmp_path}/nowhere/there.html: No such file or directory."


def test_a_report_is_opened_in_the_browser(eyas: Eyas, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("webbrowser.open", lambda url: not opened.append(url))
    path = json.loads(eyas("report", "clothing", "--open", "--json")[1])["path"]
    assert opened == [f"file://{path}"]
    assert Path(path).is_relative_to(tmp_path)
    assert Path(path).read_text("utf-8").endswith("größer")
    monkeypatch.setattr("webbrowser.open", lambda url: False)
    status, _, err = eyas("report", "clothing", "--open", "--out", tmp_path / "r.html")
    assert status == 1
    assert one_sentence(err) == f"No browser could be started here; the report is in {tmp_path / 'r.html'}."
