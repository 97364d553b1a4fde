"""Versions side by side: `python -m eyasd.training` on the bundles of several."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.unit.training.conftest import main_on, save_square

from builders import colour_network, kept_answers, write_bundle
from eyasd.core import document, jobdir
from eyasd.core.answers import Split, fingerprints, identity
from eyasd.core.comparison import LabelChange, Pairs
from eyasd.core.jobdir import ProgressLine
from eyasd.core.jobs import JobError
from eyasd.core.names import ModelRef
from eyasd.core.preprocess import Preprocess
from eyasd.core.tasks import EvaluationOutcome, EvaluationTask

FIRST, SECOND = (ModelRef("colours", version=number) for number in (1, 2))


@pytest.fixture
def photos(squares: Callable[..., Path]) -> Path:
    """12 pictures of each colour, and three of a red that is nearly green."""
    root = squares()
    for number in range(3):
        save_square(root / "red" / f"yellow{number}.png", (130, 115, 20), 500 + number)
    return root


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """JOB_DIR of an evaluation of two versions, of which the second takes three pictures for green and sees them smaller."""
    folder = tmp_path / "evaluation"
    write_bundle(folder / jobdir.BUNDLE)
    write_bundle(folder / jobdir.OTHERS / "1", network=colour_network(green=1.3), preprocess=Preprocess(32, crop_fraction=0.5))
    return folder


def ask(folder: Path, dataset: Path, **more: object) -> None:
    task = EvaluationTask(job="j2", attempt=1, model="colours/1", dataset=str(dataset), **{"others": (SECOND,), **more})  # type: ignore[arg-type]
    (folder / jobdir.EVALUATION).write_text(document.dump(task))


def lines_of(folder: Path) -> list[ProgressLine]:
    return [document.load(ProgressLine, line) for line in (folder / jobdir.PROGRESS).read_text().splitlines()]


def outcome_of(folder: Path, monkeypatch: pytest.MonkeyPatch) -> EvaluationOutcome:
    assert main_on(folder, monkeypatch) == jobdir.OK
    return document.load(EvaluationOutcome, (folder / jobdir.RESULT).read_bytes())


def refusal_of(folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    assert main_on(folder, monkeypatch) == jobdir.USER_ERROR
    return document.load(JobError, (folder / jobdir.ERROR).read_bytes()).message


def test_two_versions_on_the_same_pictures(folder: Path, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (photos / "red" / "notes.txt").write_text("x")
    ask(folder, photos)
    outcome = outcome_of(folder, monkeypatch)
    (found,) = outcome.comparisons
    assert (outcome.evaluation.accuracy, found.evaluation.accuracy, found.version) == (1.0, 36 / 39, SECOND)
    assert [file.path for file in outcome.evaluation.unreadable_files] == ["red/notes.txt"]
    assert (found.pairs, found.pairs.p_value) == (Pairs(36, 3, 0, 0), pytest.approx(0.25))
    assert found.labels == (LabelChange("blue", 12, 0, 0), LabelChange("green", 12, 0, 0), LabelChange("red", 15, 0, 3))
    assert found.changed_count == 3
    assert {(one.path[:10], one.label, one.first, one.second) for one in found.changed} == {("red/yellow", "red", "red", "green")}
    assert [row.name for row in found.differences] == ["accuracy", "log_loss", "macro_f1"]
    accuracy = found.differences[0]
    assert (accuracy.first, accuracy.second) == (1.0, pytest.approx(36 / 39))
    assert accuracy.low < -3 / 39 < accuracy.high <= 0
    assert all(cost.latency.total_seconds() > 0 < cost.batch_latency.total_seconds() for cost in found.costs)
    assert (found.batch_size, "threads" in found.device) == (32, True)


def prints_of(*files: Path) -> np.ndarray:
    return fingerprints(hashlib.sha256(file.read_bytes()).hexdigest() for file in files)


class TestStoredSplits:
    @pytest.fixture
    def files(self, photos: Path) -> list[Path]:
        """Two of blue, which the version was tested on, and the files after them."""
        return sorted(photos.rglob("*.png"))

    def made_with(self, folder: Path, place: str, *, test: Sequence[Path], train: Sequence[Path] = (), **more: Any) -> None:
        kept = kept_answers([True] * len(test), picture=prints_of(*test), train=prints_of(*train))
        write_bundle(folder / place, kept=kept, **more)

    def test_the_pictures_are_found_by_what_they_hold(self, folder: Path, photos: Path, files: list[Path], monkeypatch) -> None:
        self.made_with(folder, jobdir.BUNDLE, test=files[:3], train=files[3:5])
        tested = prints_of(*files[:3])
        files[0].rename(photos / "blue" / "renamed.png")
        files[2].unlink()
        ask(folder, photos, others=(), split=Split.TEST)
        found = outcome_of(folder, monkeypatch).evaluation
        assert (found.examples, found.missing_examples, found.leaked_examples) == (2, 1, 0)
        assert found.test_split == identity(tested)
        said = [line.message for line in lines_of(folder) if line.message]
        assert said == ["Not in the dataset, and so not scored: 1 of the 3 test pictures of colours/1."]

    def test_a_stored_split_wins_over_those_of_the_dataset(self, folder: Path, squares: Callable[..., Path], monkeypatch) -> None:
        root = squares({"red": 3, "blue": 3}, splits=("train", "test"))
        trained, copied = sorted((root / "train" / "red").iterdir())[:2]
        shutil.copy(copied, root / "test" / "blue" / "copy.png")  # under another label, which its own split does not give it
        self.made_with(folder, jobdir.BUNDLE, test=[], train=[trained, copied])
        ask(folder, root, others=(), split=Split.TRAIN)
        found = outcome_of(folder, monkeypatch).evaluation
        assert (found.examples, found.accuracy, found.leaked_examples, found.test_split) == (2, 1.0, 0, "")

    def test_what_was_trained_on_is_told(self, folder: Path, photos: Path, files: list[Path], monkeypatch) -> None:
        self.made_with(folder, jobdir.BUNDLE, test=files[:2], train=files[2:5])
        ask(folder, photos, others=())
        found = outcome_of(folder, monkeypatch).evaluation
        assert (found.examples, found.leaked_examples, found.accuracy_without_leaked) == (39, 3, 1.0)
        assert found.test_split == identity(prints_of(*files))

    def test_what_one_alone_was_trained_on_is_not_compared(
        self, folder: Path, photos: Path, files: list[Path], monkeypatch
    ) -> None:
        yellow = sorted((photos / "red").glob("yellow*"))
        self.made_with(folder, jobdir.BUNDLE, test=[*files[:4], *yellow], train=files[4:6])
        others = f"{jobdir.OTHERS}/1"
        self.made_with(folder, others, test=[], train=[files[0], yellow[0], files[4]], network=colour_network(green=1.3))
        ask(folder, photos, split=Split.TEST)
        outcome = outcome_of(folder, monkeypatch)
        (found,) = outcome.comparisons
        assert (outcome.evaluation.examples, found.evaluation.examples, found.left_out_count) == (7, 5, 2)
        assert (found.pairs, found.changed_count) == (Pairs(3, 2, 0, 0), 2)
        self.made_with(folder, others, test=[], train=[*files[:4], *yellow])
        assert refusal_of(folder, monkeypatch).startswith(
            "Each of 7 pictures was trained on by one of colours/1 and colours/2 alone, so nothing"
        )

    def test_of_none_of_its_pictures_nothing_is_said(self, folder: Path, photos: Path, tmp_path: Path, monkeypatch) -> None:
        save_square(tmp_path / "elsewhere.png", (1, 2, 3), 999)
        self.made_with(folder, jobdir.BUNDLE, test=[tmp_path / "elsewhere.png"])
        ask(folder, photos, others=(), split=Split.TEST)
        assert refusal_of(folder, monkeypatch).startswith(
            "The dataset holds none of the 1 test picture of colours/1: name the folder"
        )


def test_a_dataset_must_be_known_to_both(folder: Path, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = colour_network()
    write_bundle(folder / jobdir.OTHERS / "1", network=network, labels=("blue", "green", "violet"))
    ask(folder, photos)
    said = refusal_of(folder, monkeypatch)
    assert said == "The dataset has labels that colours/2 does not know: 'red'; it knows 'blue', 'green', 'violet'."
