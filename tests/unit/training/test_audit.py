"""What is wrong with a dataset is said before training, by name."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from builders import noise
from eyasd.core.errors import BadDataset
from eyasd.core.preprocess import Preprocess
from eyasd.training.audit import Audit, audit
from eyasd.training.cache import read_picture
from eyasd.training.listing import check_labels, list_files

ALL = ("train", "validation", "test")


def save(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(noise(seed))


def audited(root: Path, seed: int = 0) -> Audit:
    listing = list_files(root)
    check_labels(listing.files, listing.splits)
    entries = [read_picture(file, Preprocess(crop_px=8))[0] for file in listing.files]
    return audit(listing, entries, {"validation": 0.15, "test": 0.15}, seed)


def test_a_folder_of_labels_is_split(squares: Callable[..., Path]) -> None:
    data = audited(squares({"red": 20, "blue": 40}))
    assert data.labels == ("blue", "red")
    assert [(c.label, c.train, c.validation, c.test) for c in data.report.labels] == [("blue", 28, 6, 6), ("red", 14, 3, 3)]
    assert data.report.warnings == ()
    assert sorted(row for rows in data.rows.values() for row in rows) == list(range(60))


def test_rows_and_class_indices_belong_to_the_files(squares: Callable[..., Path]) -> None:
    root = squares({"red": 3, "blue": 3}, splits=ALL)
    data, files = audited(root), list_files(root).files
    for split, rows in data.rows.items():
        assert all(files[row].split == split for row in rows)
        assert all(data.labels[data.class_indices[row]] == files[row].label for row in rows)


def test_other_spellings_of_validation(squares: Callable[..., Path]) -> None:
    for spelling in ("val", "valid", "Validation"):
        assert list_files(squares({"red": 3, "blue": 3}, ("train", spelling, "test"), name=spelling)).splits == ALL


def test_a_label_may_be_called_train(squares: Callable[..., Path]) -> None:
    listing = list_files(squares({"train": 3, "bus": 3}))
    assert listing.splits == ()
    assert {file.label for file in listing.files} == {"train", "bus"}


@pytest.mark.parametrize(
    ("given", "missing"), [(("train", "test"), "validation"), (("train", "validation"), "test"), (("train",), "")]
)
def test_a_missing_split_is_carved_from_train_and_said(squares: Callable[..., Path], given: tuple[str, ...], missing: str) -> None:
    data = audited(squares({"red": 20, "blue": 20}, splits=given))
    assert all(len(data.rows[split]) for split in ALL)
    assert len(data.rows["train"]) + sum(len(data.rows[s]) for s in ALL if s not in given) == 40
    (warning,) = data.report.warnings
    assert f"came without {missing}" in warning


def test_hidden_files_are_ignored_and_others_named(squares: Callable[..., Path]) -> None:
    root = squares()
    for name in (".DS_Store", "Thumbs.db", "desktop.ini"):
        (root / "red" / name).write_bytes(b"x")
    (root / "red" / "labels.csv").write_text("a,b")
    (root / "red" / "empty.jpg").touch()
    cut = root / "blue" / "025.png"
    cut.write_bytes(cut.read_bytes()[:2000])
    data = audited(root)
    assert [file.path for file in data.report.unreadable_files] == ["blue/025.png", "red/empty.jpg", "red/labels.csv"]
    assert "cut short" in data.report.unreadable_files[0].reason
    assert any("3 file(s) that are no readable pictures" in warning for warning in data.report.warnings)
    assert sum(len(rows) for rows in data.rows.values()) == 35


def test_folders_within_a_label_belong_to_it(squares: Callable[..., Path]) -> None:
    root = squares()
    save(root / "red" / "2024" / "may" / "x.png", 999)
    assert ("red/2024/may/x.png", "red") in {(file.name, file.label) for file in list_files(root).files}


def test_imbalance_and_small_labels_are_warned_of(squares: Callable[..., Path]) -> None:
    lopsided, few = audited(squares({"red": 50, "blue": 4})).report.warnings
    assert "'red' has 50 pictures and 'blue' 4" in lopsided
    assert "1 label(s) have fewer than 10 pictures ('blue')" in few


def test_ten_times_as_many_is_still_balanced(squares: Callable[..., Path]) -> None:
    assert audited(squares({"red": 100, "blue": 10})).report.warnings == ()


def test_copies_in_another_split_are_counted(squares: Callable[..., Path]) -> None:
    root = squares({"red": 12, "blue": 12}, splits=ALL)
    source = next((root / "train" / "red").iterdir())
    shutil.copy(source, root / "test" / "red" / "copy.png")
    assert any(warning.startswith("2 files have an identical copy in another split") for warning in audited(root).report.warnings)


def test_copies_under_another_label_are_counted(squares: Callable[..., Path]) -> None:
    root = squares()
    shutil.copy(next((root / "red").iterdir()), root / "blue" / "copy.png")
    assert any(
        warning.startswith("2 files have an identical copy under another label") for warning in audited(root).report.warnings
    )


def test_stray_things_are_left_out_and_said(squares: Callable[..., Path]) -> None:
    root = squares({"red": 12, "blue": 12}, splits=ALL)
    (root / "notes" / "x").mkdir(parents=True)
    (root / "README.md").touch()
    save(root / "train" / "stray.png", 1)
    stray, other = sorted(audited(root).report.warnings, key=lambda warning: "beside" in warning)
    assert "1 picture(s) directly in train/, such as 'stray.png'" in stray
    assert "Left out 'notes', beside" in other


def test_the_digest_is_of_split_label_and_content_alone(squares: Callable[..., Path]) -> None:
    root = squares({"red": 1, "blue": 1}, splits=ALL)
    lines = sorted(f"{p.parts[-3]}\0{p.parts[-2]}\0{hashlib.sha256(p.read_bytes()).hexdigest()}\n" for p in root.rglob("*.png"))
    digest = audited(root).report.digest
    assert digest == hashlib.sha256("".join(lines).encode()).hexdigest()
    file = next((root / "train" / "red").iterdir())
    file.rename(file.with_name("renamed.png"))
    assert audited(root).report.digest == digest
    file.with_name("renamed.png").rename(root / "train" / "blue" / "moved.png")
    shutil.copy(next((root / "train" / "blue").iterdir()), root / "train" / "red" / "x.png")
    assert audited(root).report.digest != digest


class TestRefusals:
    def test_an_empty_folder(self, tmp_path: Path) -> None:
        with pytest.raises(BadDataset, match="holds no files"):
            list_files(tmp_path)

    def test_an_empty_label(self, squares: Callable[..., Path]) -> None:
        root = squares()
        (root / "void").mkdir()
        with pytest.raises(BadDataset, match="'void' is empty"):
            list_files(root)

    def test_pictures_without_labels(self, tmp_path: Path) -> None:
        save(tmp_path / "a.png", 1)
        with pytest.raises(BadDataset, match="1 pictures lie directly in the dataset's folder"):
            list_files(tmp_path)

    def test_a_single_label(self, squares: Callable[..., Path]) -> None:
        with pytest.raises(BadDataset, match=r"1 label\(s\), 'red'; a classifier needs at least two"):
            audited(squares({"red": 9}))

    def test_a_label_that_one_split_lacks(self, squares: Callable[..., Path]) -> None:
        root = squares({"red": 3, "blue": 3}, splits=ALL)
        shutil.rmtree(root / "validation" / "blue")
        with pytest.raises(BadDataset, match="validation split has no files of 'blue'"):
            audited(root)

    def test_a_label_unknown_to_train(self, squares: Callable[..., Path]) -> None:
        root = squares({"red": 3, "blue": 3}, splits=ALL)
        save(root / "test" / "green" / "x.png", 1)
        with pytest.raises(BadDataset, match="test split has labels that the train split lacks: 'green'"):
            audited(root)

    def test_a_label_none_of_whose_files_can_be_read(self, squares: Callable[..., Path]) -> None:
        root = squares({"red": 3, "blue": 3}, splits=ALL)
        for file in (root / "test" / "red").iterdir():
            file.write_bytes(b"no picture")
        with pytest.raises(BadDataset, match="test split has no readable pictures of 'red'"):
            audited(root)

    def test_a_label_all_of_whose_files_are_unreadable(self, squares: Callable[..., Path]) -> None:
        root = squares()
        for file in (root / "red").iterdir():
            file.write_bytes(b"no picture")
        with pytest.raises(BadDataset, match="None of the files of the label 'red' is a readable picture"):
            audited(root)

    def test_a_test_split_alone(self, squares: Callable[..., Path]) -> None:
        with pytest.raises(BadDataset, match="has test but no train split"):
            audited(squares({"red": 3, "blue": 3}, splits=("test",)))

    def test_two_folders_of_one_split(self, squares: Callable[..., Path]) -> None:
        with pytest.raises(BadDataset, match="val/ and validation/ are both"):
            list_files(squares({"red": 3, "blue": 3}, splits=("train", "val", "validation")))

    def test_a_label_that_is_a_copy_of_another(self, squares: Callable[..., Path]) -> None:
        root = squares({"blue": 9, "red": 9})
        shutil.rmtree(root / "red")
        shutil.copytree(root / "blue", root / "red")
        with pytest.raises(BadDataset, match="'red' has 0 distinct"):
            audited(root)
