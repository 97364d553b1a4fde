"""The `eyas` command against a real socket: what it prints for people and for scripts, and how it ends."""

from __future__ import annotations

import _thread
import json
import shlex
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import grpc
import pytest
from google.rpc import error_details_pb2

from eyas._command import main, render_jobs
from eyas.v1 import job_service_pb2, model_pb2, model_service_pb2, training_service_pb2
from fake_server import (
    TRAINING_UPDATES,
    FakeServer,
    Refusal,
    alias_message,
    classified,
    compared_message,
    evaluated_message,
    inspected_message,
    job_message,
    model_message,
    report_message,
    retraced_message,
    update,
    version_message,
)

Eyas = Callable[..., tuple[int, str, str]]
NOT_FOUND = Refusal(
    grpc.StatusCode.NOT_FOUND,
    "There is no such thing: check its name.",
    (error_details_pb2.ErrorInfo(reason="JOB_NOT_FOUND", domain="eyas", metadata={"job": "abc"}),),
)


@pytest.fixture
def server(server: FakeServer) -> FakeServer:
    """A server on which everything goes well."""
    queued = job_message("QUEUED")
    server.answers("Train", training_service_pb2.TrainResponse(job=queued))
    server.answers("Evaluate", training_service_pb2.EvaluateResponse(job=queued))
    server.answers("InspectDataset", training_service_pb2.InspectDatasetResponse(job=inspected_message("QUEUED")))
    server.answers("Classify", classified)
    server.answers("GetJob", job_service_pb2.GetJobResponse(job=job_message()))
    server.answers("ListJobs", job_service_pb2.ListJobsResponse(jobs=[job_message(), job_message("RUNNING", "def")]))
    server.answers("WatchJob", TRAINING_UPDATES)
    server.answers("CancelJob", job_service_pb2.CancelJobResponse(job=job_message("CANCELLED")))
    server.answers("ListModels", model_service_pb2.ListModelsResponse(models=[model_message()]))
    server.answers("GetModel", model_service_pb2.GetModelResponse(model=model_message()))
    server.answers("ListModelVersions", model_service_pb2.ListModelVersionsResponse(versions=[version_message()]))
    server.answers("SetAlias", model_service_pb2.SetAliasResponse(alias=alias_message(reason="better")))
    undone = alias_message(2, "bad on hats")
    undone.record, undone.previous_version, undone.undone_record = 3, "models/clothing/versions/3", 2
    demanded = model_pb2.Policy(aliases=["production"], max_label_drop=0.05, no_significant_loss=True, record=2, actor="ipv4:1")
    demanded.bounds.add(figure="accuracy", at_least=0.9)
    demanded.bounds.add(figure="log_loss", at_most=0.3)
    server.answers("GetReport", report_message())
    found = model_service_pb2.GetModelVersionResponse(version=version_message(lineage=True))
    server.answers("GetModelVersion", found)
    server.answers("DeleteModelVersion", model_service_pb2.DeleteModelVersionResponse())
    server.answers("GetPolicy", model_service_pb2.GetPolicyResponse(policy=model_pb2.Policy(aliases=["production"])))
    server.answers("SetPolicy", model_service_pb2.SetPolicyResponse(policy=demanded))
    server.answers("RollbackAlias", model_service_pb2.RollbackAliasResponse(alias=undone))
    server.answers("ListAliasRecords", model_service_pb2.ListAliasRecordsResponse(records=[undone, alias_message(reason="better")]))
    return server


@pytest.fixture
def eyas(server: FakeServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Eyas:
    """Runs the command in this process: `status, out, err = eyas("jobs", "--json")`."""
    monkeypatch.setenv("EYAS_ADDRESS", server.address)
    monkeypatch.delenv("EYAS_TOKEN", raising=False)

    def run(*arguments: object) -> tuple[int, str, str]:
        status = main.run([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


def one_sentence(err: str) -> str:
    """Returns what the command said in the end, and makes sure that it was one line and no traceback."""
    assert "Traceback" not in err
    (line,) = [line for line in err.splitlines() if line.startswith("eyas: ")]
    assert err.rstrip().endswith(line)
    return line.removeprefix("eyas: ")


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
        "jobs": (("jobs",), "jobs"),
        "jobs watch": (("jobs", "watch", "abc"), "id"),
        "jobs cancel": (("jobs", "cancel", "abc"), "id"),
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
        "policy --at-least": (("policy", "clothing", "--at-least", "accuracy=0.9"), "at_least"),
    }


COMMANDS = list(commands(Path()))
METHODS = (
    "Train",
    "Evaluate",
    "InspectDataset",
    "Classify",
    "GetJob",
    "ListJobs",
    "CancelJob",
    "ListModels",
    "GetModel",
    "SetAlias",
    "RollbackAlias",
    "ListAliasRecords",
    "GetPolicy",
    "SetPolicy",
    "DeleteModelVersion",
    "ListModelVersions",
    "GetReport",
    "GetModelVersion",
)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    (tmp_path / "a.jpg").write_bytes(b"shirt")
    return tmp_path


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


def test_a_training_says_what_was_asked_and_what_came_of_it(
    eyas: Eyas, server: FakeServer, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(photos.parent)
    options = shlex.split(
        "--preset fast --backbone resnet50 --budget 1h30m --seed 7 --alias canary --from garments/2 --set optimizer=sgd "
        "--set dropout=0.5"
    )
    status, out, err = eyas("train", f"./{photos.name}", "--model", "clothing", *options)
    assert status == 0
    (request,) = [received.request for received in server.calls("Train")]
    assert (request.dataset, request.model, request.alias) == (str(photos), "models/clothing", "canary")
    assert request.base_version == "models/garments/versions/2"
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


def test_a_folder_is_sent_as_an_absolute_path_for_the_trainer_to_find(eyas: Eyas, server: FakeServer) -> None:
    status, _, _ = eyas("train", "photos", "--model", "clothing", "--no-wait")
    assert status == 0
    assert server.calls("Train")[0].request.dataset == str(Path("photos").resolve())


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


def test_an_inspection_is_asked_for_and_shown(eyas: Eyas, server: FakeServer, photos: Path) -> None:
    server.answers("GetJob", job_service_pb2.GetJobResponse(job=inspected_message()))
    status, out, _ = eyas("inspect", photos, "--backbone", "resnet50", "--seed", "7")
    assert status == 0
    request = server.calls("InspectDataset")[0].request
    assert (request.dataset, request.backbone, request.seed) == (str(photos), "resnet50", 7)
    for words in ("/photos: 19 pictures", "in 2 groups", "3 of 1,900 labels look wrong"):
        assert words in out
    _, out, _ = eyas("jobs", "watch", "ins", "--json")
    assert json.loads(out)["dataset_report"]["suspects"]["pictures"][0]["suggested_label"] == "shoes"


def test_a_version_is_told_how_to_be_made_again_and_checked(eyas: Eyas, server: FakeServer) -> None:
    server.answers("GetJob", job_service_pb2.GetJobResponse(job=retraced_message()))
    status, out, err = eyas("reproduce", "clothing@production")
    command, *rest = out.splitlines()
    assert command == "eyas train /photos --model clothing --preset fast --budget 10m --seed 7"
    assert [line.split()[1] for line in rest[:7]] == ["ok"] * 7
    assert rest[-1] == "clothing/3 can be reproduced: nothing that decides it has changed."
    assert (status, "eyas: " in err) == (0, False)
    asked, retraced = server.calls("GetModelVersion")[0].request, server.calls("InspectDataset")[0].request
    assert (asked.name, asked.verify) == ("models/clothing/aliases/production", True)
    assert (retraced.version, retraced.dataset) == ("models/clothing/versions/3", "/photos")
    assert not server.calls("Train")


def test_a_version_that_would_be_another_one_ends_with_1(eyas: Eyas, server: FakeServer, tmp_path: Path) -> None:
    damaged = version_message(lineage=True)
    damaged.files[0].problem = "model.onnx of clothing/3 is missing."
    server.answers("GetModelVersion", model_service_pb2.GetModelVersionResponse(version=damaged))
    server.answers(
        "InspectDataset",
        Refusal(
            grpc.StatusCode.NOT_FOUND,
            "There is no folder '/photos'.",
            (error_details_pb2.ErrorInfo(reason="DATASET_NOT_FOUND", domain="eyas"),),
        ),
    )
    status, out, err = eyas("reproduce", "clothing/3", "--dataset", tmp_path, "--json")
    document = json.loads(out)
    assert (status, err, document["reproducible"]) == (1, "", False)
    assert f"eyas train {tmp_path} --model" in document["command"]
    assert [check["name"] for check in document["checks"] if check["verdict"] == "differs"] == ["dataset", "model.onnx"]
    assert document["conclusion"].startswith(
        "clothing/3 cannot be reproduced as it was; changed since then: dataset and model.onnx."
    )


def test_a_version_is_made_again_and_compared(eyas: Eyas, server: FakeServer) -> None:
    server.answers(
        "GetJob", job_service_pb2.GetJobResponse(job=retraced_message()), job_service_pb2.GetJobResponse(job=job_message())
    )
    versions = [version_message(number, lineage=True) for number in (3, 4)]
    server.answers("GetModelVersion", *(model_service_pb2.GetModelVersionResponse(version=version) for version in versions))
    status, out, _ = eyas("reproduce", "clothing/3", "--run", "--json")
    document = json.loads(out)
    assert (status, document["again"]["name"]) == (0, "clothing/4")
    assert document["checks"][-1]["detail"] == "model.onnx of clothing/4 is the same, byte for byte."
    request = server.calls("Train")[0].request
    assert (request.dataset, request.spec.seed, request.spec.budget.seconds, request.alias) == ("/photos", 7, 600, "")


def test_a_damaged_version_is_listed_and_not_pruned(eyas: Eyas, server: FakeServer) -> None:
    damaged = model_pb2.ModelVersion(name="models/clothing/versions/2", serving_state="SERVING_STATE_FAILED")
    damaged.serving_error.message = "manifest.json of clothing/2 was changed."
    server.answers("ListModelVersions", model_service_pb2.ListModelVersionsResponse(versions=[version_message(), damaged]))
    _, out, _ = eyas("models", "show", "clothing")
    assert "clothing/2 cannot be served: manifest.json of clothing/2 was changed." in out
    assert "1970" not in out
    status, out, _ = eyas("models", "prune", "clothing", "--older-than", "1h")
    assert (status, len(server.calls("DeleteModelVersion"))) == (0, 1)
    assert "was changed. Delete clothing/2 by its number, or restore it." in out


def test_a_training_on_leaky_splits_says_so(eyas: Eyas, server: FakeServer, photos: Path) -> None:
    job = job_message()
    job.training.evaluation.leaked_examples, job.training.evaluation.accuracy_without_leaked = 4, 0.5
    server.answers("GetJob", job_service_pb2.GetJobResponse(job=job))
    _, out, _ = eyas("train", photos, "--model", "clothing")
    assert "4 of them were seen in training, themselves or as near copies; accuracy on the others 0.5000." in out


def test_pictures_and_folders_of_pictures_are_labelled(eyas: Eyas, server: FakeServer, photos: Path) -> None:
    (photos / "more").mkdir()
    for name in ("b.PNG", "c.jpeg", "notes.txt"):
        (photos / "more" / name).write_bytes(name.encode())
    status, out, _ = eyas("classify", "clothing/2", photos / "a.jpg", photos / "more", "--top-k", "3", "--allow-unknown", "--json")
    assert status == 0
    assert [Path(result["path"]).name for result in json.loads(out)["results"]] == ["a.jpg", "b.PNG", "c.jpeg"]
    request = server.received[0].request
    assert (request.model, request.top_k, request.allow_unknown) == ("models/clothing/versions/2", 3, True)


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


def test_an_alias_keeps_its_reason(eyas: Eyas, server: FakeServer) -> None:
    status, out, _ = eyas("models", "alias", "clothing", "production", "3", "--reason", "better on shoes")
    assert (status, out) == (0, "clothing@production -> clothing/3\n")
    assert server.received[0].request.reason == "better on shoes"


def test_a_policy_is_shown_and_set(eyas: Eyas, server: FakeServer) -> None:
    assert eyas("policy", "clothing")[:2] == (0, "clothing demands nothing of its versions: eyas policy --help.\n")
    status, out, _ = eyas(
        "policy",
        "clothing",
        "--at-least",
        "accuracy=0.9",
        "--at-most",
        "log_loss=.3",
        "--max-label-drop",
        "0.05",
        "--no-significant-loss",
    )
    assert (status, out.splitlines()) == (
        0,
        [
            "clothing@production demands:",
            "  accuracy at least 0.9",
            "  log_loss at most 0.3",
            "  no label whose F1 is by more than 0.05 lower than before",
            "  no significant loss of accuracy on the pictures that the version before was tested on, too",
        ],
    )
    policy = server.received[1].request.policy
    assert (policy.name, list(policy.aliases), policy.max_label_drop) == ("models/clothing/policy", [], 0.05)
    assert eyas("policy", "clothing", "--clear")[0] == 0
    cleared = server.received[2].request.policy
    assert (list(cleared.bounds), cleared.HasField("max_label_drop"), cleared.no_significant_loss) == ([], False, False)
    assert policy.no_significant_loss


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


def test_an_alias_can_be_forced(eyas: Eyas, server: FakeServer) -> None:
    assert eyas("models", "alias", "clothing", "production", "3", "--force")[0] == 0
    assert server.received[0].request.force


def test_old_versions_are_pruned_and_those_in_use_named(eyas: Eyas, server: FakeServer) -> None:
    versions = [version_message(number) for number in (4, 3, 2)]
    versions[0].create_time.FromDatetime(datetime.now(UTC))
    server.answers("ListModelVersions", model_service_pb2.ListModelVersionsResponse(versions=versions))
    in_use = Refusal(grpc.StatusCode.FAILED_PRECONDITION, "clothing@production points to version 3: point it elsewhere first.")
    server.answers("DeleteModelVersion", in_use, model_service_pb2.DeleteModelVersionResponse())
    status, out, _ = eyas("models", "prune", "clothing", "--older-than", "90d")
    assert (status, out.splitlines()) == (
        0,
        ["1 version is deleted.", "clothing@production points to version 3: point it elsewhere first."],
    )
    asked = [call.request.name for call in server.received if call.method.endswith("DeleteModelVersion")]
    assert asked == ["models/clothing/versions/3", "models/clothing/versions/2"]


def test_a_rollback_says_what_is_gone(eyas: Eyas, server: FakeServer) -> None:
    status, out, _ = eyas("models", "rollback", "clothing", "--reason", "bad on hats", "--expected", "3")
    assert (status, out) == (0, "clothing@production -> clothing/2, no longer clothing/3\n")
    request = server.received[0].request
    assert (request.name, request.reason) == ("models/clothing/aliases/production", "bad on hats")
    assert request.expected_version == "models/clothing/versions/3"


def test_a_history_says_who_moved_what_and_why(eyas: Eyas, server: FakeServer) -> None:
    status, out, _ = eyas("models", "history", "clothing", "canary", "--at", "2026-11-25T20:00+01:00")
    assert status == 0
    rows = [[cell.strip() for cell in line.split("│")] for line in out.splitlines()[2:]]
    assert [[row[0], *row[2:]] for row in rows] == [
        ["3", "2", "3", "ipv4:1", "takes back 2: bad on hats"],
        ["2", "3", "", "ipv4:1", "better"],
    ]
    request = server.received[0].request
    assert request.parent == "models/clothing/aliases/canary"
    assert request.time.ToDatetime(UTC) == datetime(2026, 11, 25, 19, tzinfo=UTC)
    server.answers("ListAliasRecords", model_service_pb2.ListAliasRecordsResponse())
    assert eyas("models", "history", "clothing", "--at", "2020-01-01")[:2] == (0, "clothing@production did not exist then.\n")


def test_a_job_that_failed_fails_the_command(eyas: Eyas, server: FakeServer, photos: Path) -> None:
    failed = job_message("FAILED")
    failed.error.CopyFrom(Refusal(grpc.StatusCode.FAILED_PRECONDITION, "There are too few pictures.").status())
    server.answers("WatchJob", [update(1, job=failed)])
    server.answers("GetJob", job_service_pb2.GetJobResponse(job=failed))
    status, out, err = eyas("train", photos, "--model", "clothing", "--json")
    assert status == 1
    assert one_sentence(err) == "There are too few pictures."
    assert json.loads(out)["error"]["type"] == "JobFailed"
    server.answers("GetJob", job_service_pb2.GetJobResponse(job=job_message("CANCELLED")))
    assert one_sentence(eyas("jobs", "watch", "abc")[2]) == "Job abc was cancelled."


def test_a_surprise_is_one_sentence(eyas: Eyas, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise TypeError("nobody thought of this")

    monkeypatch.setattr(render_jobs, "jobs", fail)
    status, _, err = eyas("jobs")
    assert status == 1
    assert one_sentence(err) == "The command failed unexpectedly (TypeError: nobody thought of this)."


@pytest.mark.parametrize("as_json", [False, True])
def test_ctrl_c_without_a_terminal_leaves_the_job_to_itself(eyas: Eyas, server: FakeServer, as_json: bool) -> None:
    server.answers(
        "WatchJob",
        [*TRAINING_UPDATES[:3], lambda: time.sleep(0.3), _thread.interrupt_main, lambda: time.sleep(2), *TRAINING_UPDATES[3:]],
    )
    status, out, err = eyas("jobs", "watch", "abc", *(["--json"] if as_json else []))
    assert status == 130
    assert one_sentence(err) == "Job abc goes on; follow it with: eyas jobs watch abc"
    assert server.calls("CancelJob") == []
    if as_json:
        assert json.loads(out)["error"]["reason"] == "INTERRUPTED"
