"""`python -m eyasd.training JOB_DIR` of an evaluation: what a version scores, without torch."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from eyasd.core import document, jobdir
from eyasd.core.bundle import MODEL
from eyasd.core.tasks import EvaluationOutcome, EvaluationTask

from .conftest import error_of, main_on, run


@pytest.fixture
def folder(tmp_path: Path, tiny_bundle: Path) -> Path:
    folder = tmp_path / "evaluation"
    folder.mkdir()
    tiny_bundle.rename(folder / jobdir.BUNDLE)
    return folder


def ask(folder: Path, dataset: Path) -> None:
    task = EvaluationTask(job="j2", attempt=1, model="colours/1", dataset=str(dataset))
    (folder / jobdir.EVALUATION).write_text(document.dump(task))


def test_it_scores_every_readable_picture_without_torch(folder: Path, squares: Callable[..., Path]) -> None:
    root = squares()
    (root / "red" / "notes.txt").write_text("x")
    ask(folder, root)
    blocked = folder / "blocked"
    (blocked / "torch").mkdir(parents=True)
    (blocked / "torch" / "__init__.py").write_text("raise RuntimeError('an evaluation imported torch')")
    done = run(folder, PYTHONPATH=str(blocked))
    assert done.returncode == jobdir.OK, done.stderr
    evaluation = document.load(EvaluationOutcome, (folder / jobdir.RESULT).read_bytes()).evaluation
    assert (evaluation.examples, evaluation.accuracy) == (36, 1.0)
    assert [file.path for file in evaluation.unreadable_files] == ["red/notes.txt"]


def test_it_scores_an_archive(folder: Path, squares: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    root = squares()
    ask(folder, Path(shutil.make_archive(str(root), "gztar", root.parent, root.name)))
    assert main_on(folder, monkeypatch) == jobdir.OK
    assert document.load(EvaluationOutcome, (folder / jobdir.RESULT).read_bytes()).evaluation.examples == 36


def test_it_scores_a_manifest(folder: Path, tmp_path: Path, squares: Callable[..., Path], monkeypatch) -> None:
    squares({"red": 2, "blue": 2})
    (tmp_path / "photos.jsonl").write_text(
        '{"path": "data/red/001.png", "label": "red"}\n{"path": "data/blue/003.png", "label": "blue"}\n'
    )
    ask(folder, tmp_path / "photos.jsonl")
    assert main_on(folder, monkeypatch) == jobdir.OK
    evaluation = document.load(EvaluationOutcome, (folder / jobdir.RESULT).read_bytes()).evaluation
    assert (evaluation.examples, evaluation.unreadable_files) == (2, ())


def test_of_splits_it_scores_the_test_split(folder: Path, squares: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    ask(folder, squares({"red": 5, "blue": 5}, splits=("train", "test")))
    assert main_on(folder, monkeypatch) == jobdir.OK
    evaluation = document.load(EvaluationOutcome, (folder / jobdir.RESULT).read_bytes()).evaluation
    assert [(row.label, row.examples) for row in evaluation.labels] == [("blue", 5), ("green", 0), ("red", 5)]


@pytest.mark.parametrize(
    ("counts", "splits", "message"),
    [
        ({"red": 2, "violet": 2}, ("",), "labels that colours/1 does not know: 'violet'"),
        ({"red": 2, "blue": 2}, ("train", "validation"), "no test split"),
    ],
)
def test_what_it_cannot_score_it_refuses(
    folder: Path, squares: Callable[..., Path], monkeypatch, counts: dict[str, int], splits: tuple[str, ...], message: str
) -> None:
    ask(folder, squares(counts, splits=splits))
    assert main_on(folder, monkeypatch) == jobdir.USER_ERROR
    assert error_of(folder).reason == "BAD_DATASET"
    assert message in error_of(folder).message


def test_without_a_readable_picture_it_says_so(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "data" / "red").mkdir(parents=True)
    (tmp_path / "data" / "red" / "x.jpg").write_bytes(b"x")
    ask(folder, tmp_path / "data")
    assert main_on(folder, monkeypatch) == jobdir.USER_ERROR
    assert "None of 1 file is a readable picture, such as 'red/x.jpg'" in error_of(folder).message


def test_a_tampered_version_is_refused(folder: Path, squares: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    ask(folder, squares())
    with (folder / jobdir.BUNDLE / MODEL).open("ab") as file:
        file.write(b"\0")
    assert main_on(folder, monkeypatch) == jobdir.USER_ERROR
    assert error_of(folder).reason == "BROKEN_BUNDLE"
