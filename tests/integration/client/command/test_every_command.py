"""What all commands have in common: documents for scripts, one sentence for a failure, options, and help."""

from __future__ import annotations

import json
from pathlib import Path

import grpc
import pytest
from google.rpc import error_details_pb2
from tests.integration.client.command.conftest import Eyas, one_sentence

from eyas._command import render_jobs
from fake_server import FakeServer, Refusal

NOT_FOUND = Refusal(
    grpc.StatusCode.NOT_FOUND,
    "There is no such thing: check its name.",
    (error_details_pb2.ErrorInfo(reason="JOB_NOT_FOUND", domain="eyas", metadata={"job": "abc"}),),
)


def commands(folder: Path) -> dict[str, tuple[tuple[object, ...], str]]:
    """Returns every command, with the key of its JSON document."""
    return {
        "train": (("train", folder, "--model", "clothing"), "id"),
        "train --no-wait": (("train", folder, "--model", "clothing", "--no-wait"), "id"),
        "evaluate": (("evaluate", "clothing", folder), "id"),
        "compare": (("compare", "clothing", "clothing/3", "--data", folder), "id"),
        "inspect": (("inspect", folder), "id"),
        "inspect --no-wait": (("inspect", folder, "--no-wait"), "id"),
        "classify": (("classify", "clothing", folder / "a.jpg"), "results"),
        "feedback": (("feedback", "right", "shirt"), "results"),
        "upload": (("upload", folder), "digest"),
        "datasets": (("datasets",), "datasets"),
        "datasets show": (("datasets", "show", "photos"), "folders"),
        "datasets delete": (("datasets", "delete", "photos/1"), "deleted"),
        "jobs": (("jobs",), "jobs"),
        "jobs watch": (("jobs", "watch", "abc"), "id"),
        "jobs cancel": (("jobs", "cancel", "abc"), "id"),
        "jobs pause": (("jobs", "pause", "abc"), "id"),
        "jobs resume": (("jobs", "resume", "abc"), "id"),
        "models": (("models",), "models"),
        "models show": (("models", "show", "clothing"), "versions"),
        "models alias": (("models", "alias", "clothing", "production", "3"), "version"),
        "models rollback": (("models", "rollback", "clothing"), "version"),
        "models history": (("models", "history", "clothing"), "records"),
        "models delete": (("models", "delete", "clothing", "3"), "deleted"),
        "models prune": (("models", "prune", "clothing", "--older-than", "1s"), "kept"),
        "models show NAME/VERSION": (("models", "show", "clothing/3"), "lineage"),
        "reproduce": (("reproduce", "clothing/3"), "checks"),
        "report": (("report", "clothing", "--out", folder / "report.html"), "path"),
        "policy": (("policy", "clothing"), "at_least"),
        "traffic": (("traffic", "clothing"), "canary"),
        "traffic --history": (("traffic", "clothing", "--history"), "records"),
        "canary": (("canary", "clothing", "7", "--percent", "5"), "canary"),
        "canary --promote": (("canary", "clothing", "--promote"), "version"),
        "shadow": (("shadow", "clothing", "7", "--percent", "5"), "shadow"),
        "capture": (("capture", "clothing"), "keep_days"),
        "capture --on": (("capture", "clothing", "--on", "--percent", "2"), "keep_days"),
        "captured": (("captured", "clothing"), "pictures"),
        "captured --delete": (("captured", "clothing", "--delete", "0" * 24), "deleted"),
        "policy --at-least": (("policy", "clothing", "--at-least", "accuracy=0.9"), "at_least"),
    }


COMMANDS = list(commands(Path()))
METHODS = (
    "Train",
    "Evaluate",
    "InspectDataset",
    "Classify",
    "ReportFeedback",
    "GetJob",
    "ListJobs",
    "CancelJob",
    "PauseJob",
    "ResumeJob",
    "ListModels",
    "GetModel",
    "SetAlias",
    "RollbackAlias",
    "ListAliasRecords",
    "GetPolicy",
    "SetPolicy",
    "GetTraffic",
    "SetTraffic",
    "GetCapturePolicy",
    "SetCapturePolicy",
    "ListCapturedPictures",
    "DeleteCapturedPictures",
    "ListTrafficRecords",
    "DeleteModelVersion",
    "ListModelVersions",
    "GetReport",
    "GetModelVersion",
    "CheckUpload",
    "GetDataset",
    "ListDatasets",
    "DeleteDataset",
)


@pytest.mark.parametrize("name", COMMANDS)
def test_json_is_one_document(eyas: Eyas, photos: Path, name: str) -> None:
    command, key = commands(photos)[name]
    status, out, err = eyas(*command, "--json")
    assert (status, err) == (0, "")
    assert key in json.loads(out)


@pytest.mark.parametrize("name", COMMANDS)
def test_without_json_it_is_for_people(eyas: Eyas, photos: Path, name: str) -> None:
    status, out, err = eyas(*commands(photos)[name][0])
    assert status == 0
    assert out.strip()
    assert not out.lstrip().startswith("{")
    assert "eyas: " not in err


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("as_json", [False, True])
def test_a_failure_is_one_sentence_and_a_document(eyas: Eyas, server: FakeServer, photos: Path, name: str, as_json: bool) -> None:
    for method in METHODS:
        server.answers(method, NOT_FOUND)
    status, out, err = eyas(*commands(photos)[name][0], *(["--json"] if as_json else []))
    assert status == 1
    assert one_sentence(err) == "There is no such thing: check its name."
    if as_json:
        error = json.loads(out)["error"]
        assert error == {
            "type": "NotFound",
            "code": "NOT_FOUND",
            "reason": "JOB_NOT_FOUND",
            "message": "There is no such thing: check its name.",
            "metadata": {"job": "abc"},
        }


@pytest.mark.parametrize("name", COMMANDS)
def test_a_server_that_is_not_running(eyas: Eyas, photos: Path, name: str) -> None:
    status, _, err = eyas(*commands(photos)[name][0], "--address", "127.0.0.1:1")
    assert status == 1
    assert one_sentence(err).startswith("No Eyas server answers at 127.0.0.1:1 (connection refused); start one with `eyasd all`")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("jobs", "--address", "nowhere"), "'nowhere' is not an address: write HOST:PORT"),
        (("jobs", "--address", "example.org:1", "--token", "hush"), "in the clear: turn tls on"),
        (("jobs", "--timeout", "0"), "timeout is 0.0; it must be"),
        (("jobs", "--timeout", "soon"), "'soon' is not a valid float"),
        (("jobs", "--ca", "no.pem"), "'no.pem' does not exist"),
        (("jobs", "--cert", __file__), "--cert and --key are given together or not at all"),
        (("jobs", "shout"), "No such command 'shout'"),
        (("jobs", "watch"), "Missing argument 'JOB'"),
        (("models", "alias", "clothing", "production", "three"), "'three' is not a valid integer"),
        (("models", "alias", "clothing", "production", "0"), "0 is not in the range"),
        (("policy", "m", "--at-least", "accuracy"), "'accuracy' is not FIGURE=VALUE, such as accuracy=0.9"),
        (("policy", "m", "--at-most", "log_loss=low"), "'log_loss=low' is not FIGURE=VALUE"),
        (("policy", "m", "--clear", "--max-label-drop", "0.1"), "--clear demands nothing"),
        (("policy", "m", "--alias", "stable"), "--alias says which alias is guarded, not by what"),
        (("policy", "m", "--max-label-drop", "2"), "2.0 is not in the range"),
        (("models", "history", "clothing", "--at", "noon"), "'noon' is no time such as 2026-11-25T20:00"),
        (("classify", "clothing"), "Missing argument 'PICTURES"),
        (("classify", "clothing", "a.jpg", "--top-k", "0"), "0 is not in the range"),
        (("train", "/"), "Missing option '--model'"),
        (("train", "/", "--model", "m", "--budget", "soon"), "'soon' is not a time: write 90s, 10m, 1h30m or 90d"),
        (("train", "/", "--model", "m", "--preset", "slow"), "'slow' is not one of 'fast', 'balanced', 'best'"),
        (("train", "/", "--model", "m", "--priority", "urgent"), "'urgent' is not one of 'high', 'normal', 'low'"),
        (("train", "/", "--model", "m", "--set", "epochs"), "'epochs' is not KEY=VALUE"),
        (("train", "/", "--model", "m", "--set", "lerning_rate=1"), "did you mean learning_rate"),
        (("train", "/", "--model", "m", "--set", "model=x"), "'model' is not a setting of a training"),
        (("train", "/", "--model", "m", "--set", "epochs=many"), "epochs cannot be 'many'"),
        (("train", "/", "--model", "m", "--seed", "-1"), "-1 is not in the range"),
    ],
)
def test_a_wrong_command_line_sends_nothing(eyas: Eyas, server: FakeServer, arguments: tuple[str, ...], says: str) -> None:
    status, out, err = eyas(*arguments, "--json")
    assert status == 2
    assert says in one_sentence(err)
    assert says in json.loads(out)["error"]["message"]
    assert server.received == []


def test_help_and_version(eyas: Eyas) -> None:
    assert eyas("--version") == (0, "eyas, version 0.1.0\n", "")
    status, out, _ = eyas("--help")
    assert status == 0
    assert "eyas train ./photos --model clothing\n" in out
    for command in ("train", "evaluate", "compare", "inspect", "classify", "jobs", "models"):
        status, out, _ = eyas(command, "--help")
        assert status == 0
        assert "--address" in out
    status, _, err = eyas()
    assert status == 2
    assert "Usage: eyas" in err


@pytest.mark.parametrize("position", [0, 1, 3])
def test_options_stand_before_and_after_subcommands(
    eyas: Eyas, server: FakeServer, monkeypatch: pytest.MonkeyPatch, position: int
) -> None:
    monkeypatch.setenv("EYAS_ADDRESS", "127.0.0.1:1")  # an option wins over the environment wherever it stands
    monkeypatch.setenv("EYAS_TOKEN", "hush")
    arguments = ["jobs", "cancel", "abc"]
    arguments[position:position] = ["--address", server.address, "--json", "--timeout", "7"]
    status, out, _ = eyas(*arguments)
    assert (status, json.loads(out)["id"]) == (0, "abc")
    assert server.received[0].metadata["authorization"] == "Bearer hush"
    assert round(server.received[0].seconds_left or 0) == 7


def test_a_surprise_is_one_sentence(eyas: Eyas, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise TypeError("nobody thought of this")

    monkeypatch.setattr(render_jobs, "jobs", fail)
    status, _, err = eyas("jobs")
    assert status == 1
    assert one_sentence(err) == "The command failed unexpectedly (TypeError: nobody thought of this)."
