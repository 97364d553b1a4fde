"""`eyas evaluate` and `eyas compare`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.integration.client.command.conftest import Eyas, one_sentence

from eyas.v1 import job_service_pb2
from fake_server import FakeServer
from replies import compared_message, evaluated_message


def test_an_evaluation_is_shown_in_full(eyas: Eyas, server: FakeServer, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    server.answers("GetJob", job_service_pb2.GetJobResponse(job=evaluated_message(10)))
    status, out, _ = eyas("evaluate", "clothing@production", photos)
    assert status == 0
    assert server.calls("Evaluate")[0].request.model == "models/clothing/aliases/production"
    for words in ("clothing/3", "label 9", "confusion matrix", "macro F1 0.9300", "0.744 to 0.965"):
        assert words in out
    assert max(map(len, out.splitlines())) <= 80


def test_versions_are_measured_beside_each_other(eyas: Eyas, server: FakeServer, photos: Path, monkeypatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    server.answers("GetJob", job_service_pb2.GetJobResponse(job=compared_message()))
    first, canary, third = "models/clothing/versions/3", "models/clothing/aliases/canary", "models/clothing/versions/1"
    for arguments, others in (
        (("evaluate", "clothing/3", "clothing@canary", "clothing/1", photos), [canary, third]),
        (("evaluate", "clothing/3", "clothing@canary", "--data", photos), [canary]),
        (("evaluate", "clothing/3", "clothing/1", "--split", "train"), [third]),
        (("compare", "clothing/3", "clothing/1", "--data", photos), [third]),
        (("compare", "clothing/3", "clothing/1"), [third]),
    ):
        status, out, err = eyas(*arguments)
        assert status == 0, err
        request = server.calls("Evaluate")[-1].request
        assert (request.model, list(request.other_models)) == (first, others)
        assert request.dataset == (str(photos) if photos in arguments else "")
        assert request.split == (0 if photos in arguments else 1 if "train" in arguments else 3)
        assert "clothing/2 is less accurate (McNemar's exact test, p = 0.021)" in " ".join(out.split())
        assert max(map(len, out.splitlines())) <= 80
    _, out, _ = eyas("jobs", "watch", "eva", "--json")
    assert json.loads(out)["comparisons"][0]["changed"][0]["second"] == "shoes"


def test_an_evaluation_needs_a_dataset(eyas: Eyas) -> None:
    status, _, err = eyas("evaluate", "clothing")
    assert (status, one_sentence(err)) == (
        2,
        "What shall it be measured on? Name a dataset, or a --split of its training. See eyas evaluate --help.",
    )
