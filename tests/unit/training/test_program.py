"""`python -m eyasd.training JOB_DIR`, from a folder to a folder."""

from __future__ import annotations

import errno
import hashlib
import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import onnxruntime
import pytest
import torch

from archives import tarred, zipped
from buckets import FakeBucket
from eyasd.core import document, jobdir
from eyasd.core.answers import ANSWERS, KeptAnswers, Split, fingerprints, identity
from eyasd.core.bundle import (
    EXPLAIN,
    GOLDEN,
    MANIFEST,
    MODEL,
    REPORT,
    WEIGHTS,
    Golden,
    Manifest,
    file_digests,
    read_manifest,
)
from eyasd.core.spec import Preset, TrainSpec
from eyasd.core.tasks import TrainingOutcome, TrainingTask
from eyasd.core.unknown import NEVER, ConfidenceRule
from eyasd.core.variants import Precision
from eyasd.training.data import remote
from waits import wait_until

from .conftest import error_of, main_on, run

TINY = {"backbone": "test_resnet", "pretrained": False, "image_size_px": 32, "batch_size": 8}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a job that fine-tuned a tiny network on 2 labels x 6 pictures."""
    from builders import noise

    root = tmp_path_factory.mktemp("trained")
    for label, px in (("dark", 0), ("light", 1)):
        for i in range(6):
            file = root / "data" / label / f"{i}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(noise(10 * i + px))
    (root / "data" / "dark" / "broken.jpg").write_bytes(b"no picture")
    task = {"job": "j1", "attempt": 2, "model": "tiny", "dataset": str(root / "data"), "spec": {**TINY, "epochs": 2}, "hub": False}
    task["trace"] = f"00-{'a' * 32}-{'b' * 16}-01"
    (root / jobdir.TRAINING).write_text(json.dumps(task))
    done = run(root)
    assert done.returncode == jobdir.OK, done.stderr
    assert done.stderr == ""
    return root


class TestTraining:
    def test_it_leaves_a_whole_bundle(self, trained: Path) -> None:
        bundle = trained / jobdir.BUNDLE
        manifest = read_manifest((bundle / MANIFEST).read_bytes())
        assert manifest.files == file_digests(bundle)
        assert manifest.model_bytes == (bundle / MODEL).stat().st_size
        assert sorted(path.name for path in bundle.iterdir()) == [ANSWERS, EXPLAIN, GOLDEN, MANIFEST, MODEL, REPORT, WEIGHTS]
        assert manifest.labels == ("dark", "light")
        assert (manifest.lineage.job, manifest.lineage.attempt, manifest.lineage.backbone) == ("j1", 2, "test_resnet")
        assert manifest.lineage.recipe["batch_size"] == "8"
        assert set(manifest.lineage.asked) == {*TINY, "epochs"}
        assert manifest.lineage.spec == TrainSpec(**TINY, epochs=2)
        assert [epoch.epoch for epoch in manifest.history] == [0, 1, 2]

    def test_the_golden_examples_are_what_the_file_answers(self, trained: Path) -> None:
        golden = Golden.from_bytes((trained / jobdir.BUNDLE / GOLDEN).read_bytes())
        session = onnxruntime.InferenceSession(str(trained / jobdir.BUNDLE / MODEL))
        assert len(golden.images) == 2
        answers = session.run(["probabilities"], {"images": golden.images})[0]
        assert np.abs(answers - golden.probabilities).max() < Precision.FP32.golden_tolerance

    def test_its_splits_and_answers_are_kept(self, trained: Path) -> None:
        scored = read_manifest((trained / jobdir.BUNDLE / MANIFEST).read_bytes()).evaluation
        kept = KeptAnswers.from_bytes((trained / jobdir.BUNDLE / ANSWERS).read_bytes())
        files = fingerprints(hashlib.sha256(file.read_bytes()).hexdigest() for file in (trained / "data").rglob("*.png"))
        assert [len(kept.of(split)) for split in Split] == [8, 2, 2]
        assert sorted([*kept.used, *kept.picture]) == sorted(files)
        assert (kept.right.mean(), kept.log_loss.mean()) == (scored.accuracy, pytest.approx(scored.log_loss))
        assert not len(kept.inherited)
        assert scored.test_split == identity(kept.picture)

    def test_the_outcome_is_that_of_the_manifest(self, trained: Path) -> None:
        outcome = document.load(TrainingOutcome, (trained / jobdir.RESULT).read_bytes())
        manifest = read_manifest((trained / jobdir.BUNDLE / MANIFEST).read_bytes())
        assert (outcome.evaluation, outcome.dataset_report) == (manifest.evaluation, manifest.dataset_report)
        assert [(c.train, c.validation, c.test) for c in outcome.dataset_report.labels] == [(4, 1, 1), (4, 1, 1)]
        assert [file.path for file in outcome.dataset_report.unreadable_files] == ["dark/broken.jpg"]

    def test_progress_passes_through_every_stage(self, trained: Path) -> None:
        lines = [document.load(jobdir.ProgressLine, line) for line in (trained / jobdir.PROGRESS).read_text().splitlines()]
        progress = [line.progress for line in lines if line.progress]
        stages = ["audit", "weights", "decode", "head", "fine-tune", "export", "evaluate", "publish"]
        assert list(dict.fromkeys(p.stage for p in progress)) == stages
        assert [p.fraction for p in progress] == sorted(p.fraction for p in progress)
        parts = [("decode", "split"), ("export", "calibrate"), ("export", "write"), ("export", "prove")]
        assert list(dict.fromkeys((p.stage, p.part) for p in progress if p.part)) == parts  # as its call is traced
        messages = " ".join(line.message for line in lines if line.message)
        assert "fewer than 10 pictures" in messages
        assert "starts from random weights" in messages
        assert "epochs to 2, batch_size to 8" in messages


@pytest.mark.parametrize(("spec", "last_epoch"), [({"preset": "fast", "epochs": 1}, 1), ({"preset": "balanced", "epochs": 0}, 0)])
def test_epochs_that_were_asked_for_beat_the_preset(
    trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spec: dict[str, Any], last_epoch: int
) -> None:
    task = json.loads((trained / jobdir.TRAINING).read_text())
    (tmp_path / jobdir.TRAINING).write_text(json.dumps({**task, "spec": {**TINY, **spec, "min_precision": 0.9}}))
    assert main_on(tmp_path, monkeypatch) == jobdir.OK
    manifest = read_manifest((tmp_path / jobdir.BUNDLE / MANIFEST).read_bytes())
    assert [figures.epoch for figures in manifest.history][-1] == last_epoch
    # Two validation pictures show no precision.
    assert manifest.unknown is not None
    assert manifest.unknown.confidence == ConfidenceRule(0.9, (NEVER, NEVER))
    assert manifest.reference is not None
    assert manifest.reference.split == "test and validation"  # so few pictures as there are
    assert manifest.reference.numbers["size"].counts == (0, manifest.reference.pictures, 0)
    assert (manifest.evaluation.coverage, manifest.evaluation.accepted_accuracy) == (0.0, None)
    assert "answers of 'dark', 'light' do not show a precision of 0.9 on the 2" in (tmp_path / jobdir.PROGRESS).read_text()
    # What was fine-tuned shows what the network saw; a head alone has seen the pictures as they are.
    assert ("What training makes of a picture" in (tmp_path / jobdir.BUNDLE / REPORT).read_text()) == (last_epoch > 0)


def test_a_second_attempt_gives_the_same_model(trained: Path) -> None:
    before = read_manifest((trained / jobdir.BUNDLE / MANIFEST).read_bytes())
    (trained / jobdir.RESULT).unlink()
    assert run(trained).returncode == jobdir.OK  # as the first was: features differ in the last digit between one thread and two
    after = read_manifest((trained / jobdir.BUNDLE / MANIFEST).read_bytes())

    def decided(manifest: Manifest) -> tuple[object, ...]:
        return manifest.evaluation, manifest.history, manifest.files[MODEL]

    assert decided(before) == decided(after)
    assert "Went on from the checkpoint" in (trained / jobdir.PROGRESS).read_text()


def test_an_archive_is_the_dataset_that_was_packed(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And for a second attempt, too, which has to unpack it again."""
    archive = shutil.make_archive(str(tmp_path / "packed"), "zip", trained, "data")
    task = json.loads((trained / jobdir.TRAINING).read_text())
    (tmp_path / jobdir.TRAINING).write_text(json.dumps({**task, "dataset": archive, "spec": {**TINY, "epochs": 0}}))
    expected = read_manifest((trained / jobdir.BUNDLE / MANIFEST).read_bytes()).dataset_report
    for _ in range(2):
        assert main_on(tmp_path, monkeypatch) == jobdir.OK
        report = read_manifest((tmp_path / jobdir.BUNDLE / MANIFEST).read_bytes()).dataset_report
        # The suspects' probabilities differ in the last digit between one thread and two.
        assert replace(report, suspects=None) == replace(expected, suspects=None)
        assert not (tmp_path / "unpacked").exists()
    said = (tmp_path / jobdir.PROGRESS).read_text()
    assert (said.count("Unpacked 13 files"), said.count("Took 12 of 13 decoded pictures from the cache")) == (2, 1)


def test_a_manifest_is_a_dataset(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [f"{path},{path.parent.name}" for path in (trained / "data").rglob("*.*")]
    (tmp_path / "photos.csv").write_text("\n".join(["path,label", *rows, "gone.png,dark"]))
    task = json.loads((trained / jobdir.TRAINING).read_text())
    dataset = str(tmp_path / "photos.csv")
    (tmp_path / jobdir.TRAINING).write_text(json.dumps({**task, "dataset": dataset, "spec": {**TINY, "epochs": 0}}))
    assert main_on(tmp_path, monkeypatch) == jobdir.OK
    expected, report = (read_manifest((f / jobdir.BUNDLE / MANIFEST).read_bytes()).dataset_report for f in (trained, tmp_path))
    assert (report.labels, report.digest) == (expected.labels, expected.digest)
    assert [(Path(file.path).name, file.reason.split(":")[0]) for file in report.unreadable_files] == [
        ("broken.jpg", "The bytes are not a picture that is read"),
        ("gone.png", "The file cannot be read"),
    ]


def test_wherever_the_pictures_lie_the_training_is_the_same(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {path.relative_to(trained / "data").as_posix(): path.read_bytes() for path in sorted((trained / "data").rglob("*.*"))}
    notes = {f"{name.partition('.')[0]}.cls": name.partition("/")[0].encode() for name in files}
    shard = tarred(dict(sorted({**files, **notes}.items())))
    (tmp_path / "shards").mkdir()
    (tmp_path / "shards" / "0.tar").write_bytes(shard)
    (tmp_path / "photos.zip").write_bytes(zipped(files))
    bucket = FakeBucket({**{f"folder/{name}": content for name, content in files.items()}, "shards/0.tar": shard})
    monkeypatch.setattr(remote, "open_bucket", lambda url: bucket)
    task = json.loads((trained / jobdir.TRAINING).read_text())
    made = set()
    local = [str(trained / "data"), str(tmp_path / "shards"), str(tmp_path / "photos.zip")]
    for number, dataset in enumerate([*local, "s3://photos/folder", "s3://photos/shards"]):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / jobdir.TRAINING).write_text(json.dumps({**task, "dataset": dataset, "spec": {**TINY, "epochs": 1}}))
        assert main_on(folder, monkeypatch) == jobdir.OK
        manifest = read_manifest((folder / jobdir.BUNDLE / MANIFEST).read_bytes())
        made.add((manifest.dataset_report.digest, manifest.files[MODEL], manifest.files[ANSWERS]))
        assert not (folder / "fetched").exists()
    assert len(made) == 1


def test_termination_is_obeyed_and_resumed(
    squares: Callable[..., Path], job: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = job(squares(), TrainSpec(**TINY, epochs=400, early_stopping_patience=400)).path
    process = subprocess.Popen([sys.executable, "-m", "eyasd.training", str(folder)])
    wait_until((folder / "checkpoint.safetensors").exists)
    process.send_signal(signal.SIGTERM)
    assert process.wait(100) == jobdir.TERMINATED
    assert not (folder / jobdir.RESULT).exists()
    assert not (folder / jobdir.ERROR).exists()
    task = json.loads((folder / jobdir.TRAINING).read_text())
    task["deadline"] = datetime.now(UTC).isoformat()  # the second attempt shall not take its 400 epochs
    (folder / jobdir.TRAINING).write_text(json.dumps(task))
    assert main_on(folder, monkeypatch) == jobdir.OK
    text = (folder / jobdir.PROGRESS).read_text()
    assert "Took 36 of 36 decoded pictures from the cache" in text
    assert "Went on from the checkpoint of an earlier attempt, after epoch" in text


class TestExitCodes:
    def test_a_bad_dataset_is_the_callers_matter(
        self, squares: Callable[..., Path], job: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        folder = job(squares({"red": 5}), TrainSpec(preset=Preset.FAST)).path
        assert main_on(folder, monkeypatch) == jobdir.USER_ERROR
        assert error_of(folder).reason == "BAD_DATASET"
        assert not (folder / jobdir.RESULT).exists()

    @pytest.mark.parametrize(
        ("error", "reason"),
        [
            (OSError(errno.ENOSPC, "No space left on device"), "STORAGE_FAILED"),
            (OSError(errno.EACCES, "Permission denied"), "STORAGE_FAILED"),
            (MemoryError(), "TRAINER_OUT_OF_MEMORY"),
            (torch.OutOfMemoryError("CUDA out of memory"), "TRAINER_OUT_OF_MEMORY"),
        ],
    )
    def test_faults_of_the_machine_are_explained(
        self, squares: Callable[..., Path], job: Callable[..., Any], monkeypatch, error: Exception, reason: str
    ) -> None:
        folder = job(squares(), TrainSpec(preset=Preset.FAST)).path

        def failing(*_: object) -> None:
            raise error

        monkeypatch.setattr("eyasd.training.train.train", failing)
        assert main_on(folder, monkeypatch) == jobdir.USER_ERROR
        assert error_of(folder).reason == reason

    def test_a_disk_that_does_not_even_take_the_error_is_told_by_the_exit_status(
        self, job: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        folder = job(tmp_path, TrainSpec(preset=Preset.FAST)).path

        def full(*_: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr("eyasd.training.train.train", full)
        monkeypatch.setattr("eyasd.training.durable.write", full)
        assert main_on(folder, monkeypatch) == jobdir.NO_ROOM
        monkeypatch.setattr("eyasd.training.durable.write", Mock(side_effect=OSError(errno.EIO, "Input/output error")))
        with pytest.raises(OSError, match="Input/output error"):
            main_on(folder, monkeypatch)

    def test_any_other_fault_is_the_programs_own(self, job: Callable[..., Any], tmp_path: Path) -> None:
        folder = tmp_path / "damaged"
        folder.mkdir()
        (folder / jobdir.EVALUATION).write_text("{}")
        done = run(folder)
        assert done.returncode == 1
        assert "Traceback" in done.stderr
        assert not (folder / jobdir.ERROR).exists()

    def test_its_traceback_follows_a_line_that_says_whose_it_is(
        self, job: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
    ) -> None:
        folder = job(tmp_path, TrainSpec(preset=Preset.FAST)).path
        task = document.load(TrainingTask, (folder / jobdir.TRAINING).read_bytes())
        monkeypatch.setattr("eyasd.training.train.train", Mock(side_effect=RuntimeError("a fault")))
        with pytest.raises(RuntimeError, match="a fault"):
            main_on(folder, monkeypatch)
        assert capfd.readouterr().err.endswith(f"Attempt {task.attempt} of job {task.job} failed:\n")

    def test_usage(self) -> None:
        done = subprocess.run([sys.executable, "-m", "eyasd.training"], capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (2, "usage: python -m eyasd.training JOB_DIR\n")


def test_a_deadline_in_the_past_still_ends_with_a_model(
    squares: Callable[..., Path], job: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = job(squares(), TrainSpec(**TINY, epochs=50), deadline=datetime.now(UTC) - timedelta(seconds=1))
    assert main_on(folder.path, monkeypatch) == jobdir.OK
    assert any("room for 0 of" in message for message in folder.messages())
