"""The main job as its users do it: a folder of pictures in, a classifier that answers out."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from PIL import Image

from builders import noise
from waits import wait_until

from .conftest import House

# A fine-tuning of photographs that takes seconds.
SMALL = ("--set", "epochs=2", "--set", "image_size_px=128")
# One that lasts longer than a daemon needs to start.
LONG = ("--set", "epochs=2", "--set", "image_size_px=64")
# One that takes next to nothing, of a network that knows nothing.
TINY = ("--backbone", "test_resnet", "--set", "pretrained=false", "--set", "epochs=20", "--set", "image_size_px=64")


@pytest.mark.timeout(900)  # of a busy machine's
def test_digits_from_folder_to_labels(house: House, digits: Path) -> None:
    house.start()
    trained = house.json("train", digits, "--model", "digits", "--preset", "fast", "--set", "image_size_px=96")
    assert trained["state"] == "succeeded"
    assert trained["evaluation"]["accuracy"] >= 0.75  # of 90 pictures, after 420 and no fine-tuning
    assert [row["label"] for row in trained["dataset_report"]["labels"]] == list("0123456789")
    assert {path.name for path in (house.data_dir / "models/digits/1").iterdir()} >= {
        "model.onnx",
        "manifest.json",
        "golden.npz",
        "answers.npz",
        "weights.safetensors",
        "report.html",
    }
    manifest = json.loads((house.data_dir / "models/digits/1/manifest.json").read_text())
    assert manifest["parity"]["max_logit_difference"] <= 1e-3
    assert manifest["parity"]["batch_sizes"] == [1, 3, 32]

    files = [digits / label / f"{number:02}.png" for label in "0123456789" for number in (7, 11)]
    classified = house.json("classify", "digits", *files, "--top-k", "3")["results"]
    assert {len(result["predictions"]) for result in classified} == {3}
    right = [Path(result["path"]).parent.name == result["predictions"][0]["label"] for result in classified]
    assert sum(right) >= 16
    # Noise is no digit, and the digits are none the less known.
    foreign = house.data_dir / "noise.png"
    foreign.write_bytes(noise(0))
    unlike, *known = house.json("classify", "digits", foreign, *files, "--allow-unknown")["results"]
    assert unlike["unknown"]["reason"] == "out_of_distribution"
    assert not any(prediction["applies"] for prediction in unlike["predictions"])
    assert sum(result["unknown"] is None for result in known) >= 16
    evaluated = house.json("evaluate", "digits@production", digits)
    assert evaluated["evaluation"]["examples"] == 600
    assert evaluated["evaluation"]["accuracy"] >= 0.9  # most of them were trained on

    # What a person sees.
    assert "accuracy" in house.eyas("evaluate", "digits", digits).stdout.lower()
    assert "digits" in house.eyas("models").stdout
    assert "production" in house.eyas("models", "show", "digits").stdout
    house.eyas("report", "digits", "--out", house.data_dir / "report.html")
    report = (house.data_dir / "report.html").read_bytes()
    assert report == (house.data_dir / "models/digits/1/report.html").read_bytes()
    assert b"The most confident mistakes" in report
    assert len(report) < 2_000_000
    jobs = house.eyas("jobs").stdout
    assert jobs.count("digits") >= 3

    # It can be made again, and a later version serves only when it is asked to.
    again = house.json("reproduce", "digits/1", "--run")
    assert again["command"] == f"eyas train {digits} --model digits --preset fast --seed 0 --set image_size_px=96"
    assert {check["name"]: check["verdict"] for check in again["checks"]} == dict.fromkeys(
        ("dataset", "split", "files", "code", "device", "packages", "weights", "result"), "ok"
    )
    assert (again["again"]["name"], again["again"]["sha256"]) == ("digits/2", manifest["files"]["model.onnx"])
    shown = house.json("models", "show", "digits")
    assert [version["name"] for version in shown["versions"]] == ["digits/2", "digits/1"]
    assert [(alias["name"], alias["version"]) for alias in shown["model"]["aliases"]] == [("digits@production", "digits/1")]

    job = house.json("compare", "digits@production", "digits/2")
    scored, (compared,) = job["evaluation"], job["comparisons"]
    assert (scored["examples"], scored["accuracy"]) == (90, trained["evaluation"]["accuracy"])
    assert (compared["changed_count"], compared["left_out_count"], compared["p_value"]) == (0, 0, 1.0)
    assert scored["test_split_looks"] == 4  # by both trainings, and of both versions now
    house.eyas("models", "alias", "digits", "production", "2")
    wait_until(lambda: house.json("classify", "digits", files[0])["results"][0]["version"] == "digits/2")
    assert house.stop() == 0

    # A server needs the repository and nothing else.
    shutil.rmtree(house.data_dir / "jobs")
    (house.data_dir / "jobs.sqlite").unlink()
    house.start("server")
    assert house.json("classify", "digits", files[0])
    failed = house.eyas("train", digits, "--model", "digits", check=False)
    assert failed.returncode == 1


def test_photographs_through_both_phases_with_files_that_are_no_pictures(house: House, photos: Path, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    shutil.copytree(photos, folder)
    label = min(path.name for path in (folder / "train").iterdir())
    (folder / "train" / label / "broken.jpg").write_bytes(b"not a picture")
    (folder / "test" / label / "cut.jpg").write_bytes(next((folder / "test" / label).iterdir()).read_bytes()[:500])
    house.start()
    trained = house.json("train", folder, "--model", "clothes", "--budget", "2m", *SMALL, "--set", "batch_size=16")
    report = trained["dataset_report"]
    assert sorted(file["path"] for file in report["unreadable_files"]) == [f"test/{label}/cut.jpg", f"train/{label}/broken.jpg"]
    assert trained["evaluation"]["accuracy"] >= 0.75
    manifest = json.loads((house.data_dir / "models/clothes/1/manifest.json").read_text())
    assert len(manifest["history"]) >= 1
    assert "efficientnet-lite0" in manifest["lineage"]["weights_source"]
    evaluated = house.json("evaluate", "clothes", folder, "--upload")
    assert evaluated["dataset"] == "datasets/photos/versions/1"
    assert evaluated["evaluation"]["accuracy"] == trained["evaluation"]["accuracy"]
    house.eyas("datasets", "delete", "photos")
    # One bad file does not keep the good ones from their labels.
    good = next((photos / "test" / label).iterdir())
    mixed = house.eyas("classify", "clothes", good, folder / "train" / label / "broken.jpg", check=False)
    assert mixed.returncode == 1
    assert label in mixed.stdout
    assert "not a picture" in mixed.stdout + mixed.stderr


def test_photographs_are_inspected(house: House, photos: Path, tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    shutil.copytree(photos, folder)
    label, other = sorted(path.name for path in (folder / "train").iterdir())[:2]
    source = min((folder / "train" / label).iterdir())
    with Image.open(source) as picture:
        picture.resize((picture.width // 2, picture.height // 2)).save(folder / "test" / label / "small.png")
    wrong = max((folder / "train" / label).iterdir())
    wrong.rename(folder / "train" / other / f"wrong{wrong.suffix}")
    house.start()
    report = house.json("inspect", folder)["dataset_report"]
    (group,) = [one for one in report["duplicates"]["groups"] if one["across_splits"]]
    assert {file["path"] for file in group["files"]} == {f"test/{label}/small.png", f"train/{label}/{source.name}"}
    assert f"train/{other}/wrong{wrong.suffix}" in {one["path"] for one in report["suspects"]["pictures"][:5]}
    said = house.eyas("jobs", "watch", house.json("jobs")["jobs"][0]["id"]).stdout
    assert said.replace("\n", "").startswith(f"{folder}: 249 pictures")
    assert house.json("models") == {"models": []}


@pytest.mark.parametrize("killed", ["trainer", "daemon", "both", "daemon, gently"])
def test_whatever_is_killed_there_is_one_version_in_the_end(
    house: House, photos: Path, killed: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    # Once with the repository in an object store, and then, in the copy, in a folder.
    where = {"EYASD_REGISTRY__URL": request.getfixturevalue("s3_address")} if killed == "both" else {}
    house.start(**where)
    job = house.json("train", photos, "--model", "clothes", "--no-wait", *(LONG if killed == "daemon" else TINY))["id"]
    progress = house.data_dir / "jobs" / job / "progress.jsonl"
    wait_until(lambda: progress.exists() and '"fine-tune"' in progress.read_text())
    trainer = int((house.data_dir / "jobs" / job / "lock").read_text())
    if killed == "daemon, gently":
        assert house.stop() == 0
        assert not Path(f"/proc/{trainer}").exists()
    if killed in {"daemon", "both"}:
        house.stop(signal.SIGKILL)
    if killed in {"trainer", "both"}:
        os.killpg(trainer, signal.SIGKILL)
    if killed != "trainer":
        house.start(**where)
    done = house.json("jobs", "watch", job)
    assert done["state"] == "succeeded"
    assert done["attempt"] == (1 if killed == "daemon" else 2)
    assert [version["name"] for version in house.json("models", "show", "clothes")["versions"]] == ["clothes/1"]
    assert (house.data_dir / "models").exists() is not bool(where)
    with sqlite3.connect(house.data_dir / "jobs.sqlite") as rows:
        sequences = [n for (n,) in rows.execute("SELECT sequence FROM events WHERE job = ? ORDER BY sequence", (job,))]
    rows.close()
    assert sequences == list(range(1, len(sequences) + 1))
    if where:
        house.copy("backup", tmp_path / "backups", **where)
        house.stop()
        shutil.rmtree(house.data_dir)
        house.copy("restore", tmp_path / "backups")
        house.start()
        assert house.json("jobs", "watch", job) == done
        picture = next((photos / "test").glob("*/*"))
        assert house.json("classify", "clothes", picture)["results"][0]["version"] == "clothes/1"


def test_a_job_is_cancelled_while_it_runs(house: House, photos: Path) -> None:
    house.start()
    job = house.json("train", photos, "--model", "clothes", "--no-wait", "--set", "epochs=100")["id"]
    house.eyas("jobs", "cancel", job)
    watched = house.eyas("jobs", "watch", job, "--json", check=False)
    assert watched.returncode == 1
    assert json.loads(watched.stdout)["error"]["reason"] == "JOB_CANCELLED"
    assert house.json("jobs")["jobs"][0]["state"] == "cancelled"
    assert house.json("models") == {"models": []}


MISTAKES = [
    (("classify", "nothing", "{picture}"), "no model 'nothing'"),
    (("classify", "digits", "/nowhere/x.png"), "/nowhere/x.png"),
    (("train", "/nowhere/photos", "--model", "digits"), "/nowhere/photos"),
    (("train", "{empty}", "--model", "digits"), "picture"),
    (("train", "{one}", "--model", "digits"), "label"),
    (("train", "{digits}", "--model", "digits", "--preset", "quick"), "quick"),
    (("train", "{digits}", "--model", "Digits!"), "Digits!"),
    (("train", "{digits}", "--model", "digits", "--backbone", "resnet05"), "resnet05"),
    (("train", "{digits}", "--model", "digits", "--backbone", "resnet50"), "pretrained"),
    (("train", "{digits}", "--model", "digits", "--set", "dropout=3"), "dropout"),
    (("train", "{digits}", "--model", "digits", "--set", "dorpout=0.3"), "dorpout"),
    (("train", "{digits}", "--model", "digits", "--budget", "soon"), "soon"),
    (("evaluate", "digits/9", "{digits}"), "no model 'digits'"),
    (("jobs", "watch", "abc"), "no job 'abc'"),
    (("models", "show", "nothing"), "no model 'nothing'"),
]


def test_every_mistake_is_one_clear_sentence(house: House, digits: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    shutil.copytree(digits / "3", tmp_path / "one" / "3")
    places = {"digits": digits, "empty": tmp_path / "empty", "one": tmp_path / "one", "picture": digits / "3/01.png"}
    house.start()

    def ask(command: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
        return house.eyas(*(part.format(**places) for part in command), check=False)

    with ThreadPoolExecutor(4) as several:
        answers = list(several.map(ask, [command for command, _ in MISTAKES]))
    for (command, says), failed in zip(MISTAKES, answers, strict=True):
        assert failed.returncode in {1, 2}, command
        lines = [line for line in failed.stderr.splitlines() if line.startswith("eyas: ")]
        assert len(lines) == 1, (command, failed.stderr)
        assert says in lines[0], (command, failed.stderr)
    house.stop()
    failed = house.eyas("models", check=False)
    assert failed.returncode == 1
    assert house.address in failed.stderr
    assert "eyasd all" in failed.stderr
