"""What `eyas train` asks for, and what it says of the outcome."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
from tests.integration.client.command.conftest import Eyas

from eyas.v1 import job_pb2, job_service_pb2, model_service_pb2
from fake_server import FakeServer
from replies import job_message, version_message


def test_a_training_says_what_was_asked_and_what_came_of_it(
    eyas: Eyas, server: FakeServer, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(photos.parent)
    options = shlex.split(
        "--preset fast --backbone resnet50 --budget 1h30m --seed 7 --alias canary --from garments/2 --set optimizer=sgd "
        "--set dropout=0.5 --priority low"
    )
    status, out, err = eyas("train", f"./{photos.name}", "--model", "clothing", *options)
    assert status == 0
    (request,) = [received.request for received in server.calls("Train")]
    assert (request.dataset, request.model, request.alias) == (str(photos), "models/clothing", "canary")
    assert request.base_version == "models/garments/versions/2"
    assert request.priority == job_pb2.JOB_PRIORITY_LOW
    spec = request.spec
    assert (spec.preset, spec.backbone, spec.budget.seconds, spec.seed) == (1, "resnet50", 5400, 7)
    assert (spec.optimizer, spec.dropout) == (3, 0.5)
    assert "0.9000 (95 % interval 0.744 to 0.965)" in out
    assert "Published clothing/3, which started from garments/2, served as clothing@production." in out
    assert "eyas classify clothing" in out
    # One line for a warning and one for each epoch, though the epoch reported twice.
    assert err.splitlines() == [
        "The label 'shoes' has 3 pictures only.",
        " 40%, fine-tune, epoch 2/5, loss 0.500, validation accuracy 0.875, 120 pictures/s, 1:15 left",
    ]


def test_a_preset_may_be_set_like_any_other_setting(eyas: Eyas, server: FakeServer, photos: Path) -> None:
    status, _, _ = eyas("train", photos, "--model", "clothing", "--no-wait", "--set", "preset=best", "--set", "budget=10m")
    assert status == 0
    assert (server.received[0].request.spec.preset, server.received[0].request.spec.budget.seconds) == (3, 600)
    assert len(server.received) == 1


def test_what_to_run_next_names_the_server(eyas: Eyas, server: FakeServer, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EYAS_ADDRESS")
    _, out, _ = eyas("train", photos, "--model", "clothing", "--no-wait", "--address", server.address)
    assert f"eyas jobs watch abc --address {server.address}" in out


def test_where_a_trainer_is_apart_its_address_is_not_named_to_classify(eyas: Eyas, server: FakeServer, photos: Path) -> None:
    apart = model_service_pb2.GetModelVersionResponse(version=version_message(state="UNSPECIFIED"))
    server.answers("GetModelVersion", apart)
    _, out, _ = eyas("train", photos, "--model", "clothing")
    assert "  eyas classify clothing PICTURE.jpg --address SERVER\n  eyas models show clothing\n" in out
    assert out.endswith("This daemon trains and does not classify: SERVER is one that serves the same models.\n")


def test_a_folder_is_sent_as_an_absolute_path_for_the_trainer_to_find(eyas: Eyas, server: FakeServer) -> None:
    status, _, _ = eyas("train", "photos", "--model", "clothing", "--no-wait")
    assert status == 0
    assert server.calls("Train")[0].request.dataset == str(Path("photos").resolve())


def test_a_training_on_leaky_splits_says_so(eyas: Eyas, server: FakeServer, photos: Path) -> None:
    job = job_message()
    job.training.evaluation.leaked_examples, job.training.evaluation.accuracy_without_leaked = 4, 0.5
    server.answers("GetJob", job_service_pb2.GetJobResponse(job=job))
    _, out, _ = eyas("train", photos, "--model", "clothing")
    assert "4 of them were seen in training, themselves or as near copies; accuracy on the others 0.5000." in out


def test_what_was_captured_is_added_to_what_the_base_was_trained_on(eyas: Eyas, server: FakeServer) -> None:
    job = job_message()
    gate = job.training.gate
    gate.base_version, gate.passed, gate.added_count = "models/clothing/versions/2", False, 104
    gate.test.met, gate.test.finding = True, "accuracy 0.9375 before and 0.9583 after: no significant loss"
    gate.captured.finding = "accuracy 0.3750 before and 0.4000 after: no significant gain"
    server.answers("GetJob", job_service_pb2.GetJobResponse(job=job))
    status, out, _ = eyas("train", "--from", "clothing@production", "--add", "captured", "--set", "captured_weight=2")
    assert status == 0
    (request,) = [received.request for received in server.calls("Train")]
    assert (request.model, request.dataset, request.alias) == ("models/clothing", "", "")
    assert request.base_version == "models/clothing/aliases/production"
    assert (request.spec.add_captured, request.spec.captured_weight) == ("labelled", 2)
    said = " ".join(out.split())
    assert "Regression gate, beside clothing/2, with 104 captured pictures more: not passed." in said
    assert "test split: accuracy 0.9375 before and 0.9583 after: no significant loss" in said
    assert "captured, held out: accuracy 0.3750 before and 0.4000 after: no significant gain" in said


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ("--add captured --model clothing", "--add captured needs --from, such as --from clothing@production."),
        ("--from clothing@production", "Missing argument 'DATASET'."),
        ("photos", "Missing option '--model'."),
    ],
)
def test_a_training_of_nothing_is_refused(eyas: Eyas, server: FakeServer, arguments: str, says: str) -> None:
    status, _, err = eyas("train", *shlex.split(arguments))
    assert status == 2
    assert says in err
    assert not server.received
