"""What is wrong with a dataset is said before training, by name."""

from __future__ import annotations

import hashlib
import shutil
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from audits import audited, save
from builders import scene
from eyasd.core.errors import BadDataset
from eyasd.training.data.audit import Audit
from eyasd.training.data.listing import File, list_files

ALL = ("train", "validation", "test")


def test_a_folder_of_labels_is_split(squares: Callable[..., Path]) -> None:
    data = audited(squares({"red": 20, "blue": 40}))
    assert data.labels == ("blue", "red")
    assert [(c.label, c.train, c.validation, c.test) for c in data.report.labels] == [("blue", 28, 6, 6), ("red", 14, 3, 3)]
    assert data.report.warnings == ()
    assert sorted(row for rows in data.rows.values() for row in rows) == list(range(60))


def test_rows_and_targets_belong_to_the_files(squares: Callable[..., Path]) -> None:
    root = squares({"red": 3, "blue": 3}, splits=ALL)
    data, files = audited(root), list_files(root).files
    for split, rows in data.rows.items():
        assert all(files[row].split == split for row in rows)
        assert all(data.labels[data.targets[row]] == files[row].label for row in rows)


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
    assert any("Left out 3 unreadable files, such as" in warning for warning in data.report.warnings)
    assert sum(len(rows) for rows in data.rows.values()) == 35


def test_folders_within_a_label_belong_to_it(squares: Callable[..., Path]) -> None:
    root = squares()
    save(root / "red" / "2024" / "may" / "x.png", 999)
    assert ("red/2024/may/x.png", "red") in {(file.name, file.label) for file in list_files(root).files}


def test_imbalance_and_small_labels_are_warned_of(squares: Callable[..., Path]) -> None:
    lopsided, few = audited(squares({"red": 50, "blue": 4})).report.warnings
    assert "'red' has 50 pictures and 'blue' 4" in lopsided
    assert "With fewer than 10 pictures, the figures of 1 label ('blue') mean little." in few


def test_ten_times_as_many_is_still_balanced(squares: Callable[..., Path]) -> None:
    assert audited(squares({"red": 100, "blue": 10})).report.warnings == ()


def test_copies_in_another_split_are_counted_and_marked(squares: Callable[..., Path]) -> None:
    root = squares({"red": 12, "blue": 12}, splits=ALL)
    source = min((root / "train" / "red").iterdir())
    shutil.copy(source, root / "test" / "red" / "copy.png")
    data, files = audited(root), list_files(root).files
    assert data.report.warnings == (
        "2 files have an exact or near copy in another split; the figures flatter the model as far as they do.",
    )
    assert [files[row].name for row in np.flatnonzero(data.leaked)] == ["test/red/copy.png"]
    assert data.report.duplicates is not None
    (group,) = data.report.duplicates.groups
    assert (group.exact, group.across_splits, group.across_labels, group.file_count) == (True, True, False, 2)
    assert [(file.path, file.split) for file in group.files] == [
        ("test/red/copy.png", "test"),
        (f"train/red/{source.name}", "train"),
    ]


def test_copies_under_another_label_are_counted(squares: Callable[..., Path]) -> None:
    root = squares()
    shutil.copy(next((root / "red").iterdir()), root / "blue" / "copy.png")
    data = audited(root)
    assert data.report.warnings == (
        "2 files have an exact or near copy under another label; of one picture at most one label is right.",
    )
    assert data.report.duplicates is not None
    assert data.report.duplicates.files_across_labels == 2


def scenes(root: Path, counts: dict[str, int]) -> Path:
    """Writes pictures that differ, and beside every other one a smaller copy of worse quality."""
    for number, label in enumerate(counts):
        (root / label).mkdir(parents=True)
        for i in range(counts[label]):
            scene(100 * number + i).save(root / label / f"{i:02}.png")
            if i % 2:
                scene(100 * number + i).resize((48, 36)).save(root / label / f"{i:02}-small.jpg", quality=60)
    return root


def together(root: Path, data: Audit, key: Callable[[File], str | None]) -> dict[str, set[str]]:
    """Returns the splits of the files of each key."""
    files, found = list_files(root).files, defaultdict(set)
    for split, rows in data.rows.items():
        for row in rows:
            found[key(files[row]) or ""].add(split)
    return found


@pytest.mark.parametrize("seed", range(5))
def test_near_copies_stay_in_one_split(tmp_path: Path, seed: int) -> None:
    data = audited(scenes(tmp_path, {"a": 20, "b": 14}), seed)
    splits = together(tmp_path, data, lambda file: file.label + Path(file.name).name[:2])
    assert len(splits) == 34
    assert all(len(found) == 1 for found in splits.values())
    assert data.report.duplicates is not None
    assert (data.report.duplicates.group_count, data.report.duplicates.file_count) == (17, 34)
    assert (data.report.duplicates.files_across_splits, data.leaked.any()) == (0, False)
    assert {group.exact for group in data.report.duplicates.groups} == {False}
    assert [sum((c.train, c.validation, c.test)) for c in data.report.labels] == [30, 21]


def test_named_groups_stay_in_one_split(squares: Callable[..., Path]) -> None:
    root = squares({"red": 30, "blue": 30})

    def patient(file: File) -> str | None:
        number = int(Path(file.name).stem)
        return None if number % 5 == 0 else f"patient {number % 30 // 3}"  # of both labels

    data = audited(root, groups=patient)
    splits = together(root, data, patient)
    assert all(len(found) == 1 for name, found in splits.items() if name)
    assert all(len(rows) for rows in data.rows.values())
    assert len({int(data.units[row]) for row in range(60)}) == len(splits) - 1 + 12


def test_a_group_that_the_given_splits_divide_is_said(squares: Callable[..., Path]) -> None:
    root = squares({"red": 12, "blue": 12}, splits=ALL)
    chosen = {"train/red/001.png", "test/red/049.png"}
    (warning,) = audited(root, groups=lambda file: "g" if file.name in chosen else None).report.warnings
    assert warning == "2 files belong to a group that the dataset's own splits divide."


def test_the_split_is_of_what_the_files_hold_alone(tmp_path: Path) -> None:
    root = scenes(tmp_path / "before", {"a": 12, "b": 12})
    before = audited(root)
    held = {
        file.path.read_bytes(): split
        for split, rows in before.rows.items()
        for file in map(list_files(root).files.__getitem__, rows)
    }
    renamed = tmp_path / "after"
    for number, file in enumerate(sorted(root.rglob("*.*"), key=lambda path: path.read_bytes())):
        (renamed / file.parent.name).mkdir(parents=True, exist_ok=True)
        shutil.copy(file, renamed / file.parent.name / f"{number:03}{file.suffix}")
    after = audited(renamed)
    files = list_files(renamed).files
    assert all(held[files[row].path.read_bytes()] == split for split, rows in after.rows.items() for row in rows)


def test_near_copies_are_divided_where_a_label_has_little_else(tmp_path: Path) -> None:
    root = scenes(tmp_path, {"a": 12, "b": 2})
    data = audited(root)
    assert any(warning.startswith("Near copies were divided") for warning in data.report.warnings)
    assert all(len(rows) for rows in data.rows.values())


def test_pictures_of_one_camera_are_no_copies(tmp_path: Path) -> None:
    for label, spot in (("good", 0), ("bad", 255)):
        (tmp_path / label).mkdir()
        for i in range(15):
            picture = scene(1)
            picture.paste((spot, i, i), (10 + i, 10, 12 + i, 12))
            picture.save(tmp_path / label / f"{i}.png")
    data = audited(tmp_path)
    assert data.report.duplicates is not None
    assert data.report.duplicates.group_count == 0
    (warning,) = data.report.warnings
    assert warning.startswith("30 pictures look like many others of their label")


def test_sizes_formats_and_modes_are_counted(tmp_path: Path) -> None:
    for label in "ab":
        (tmp_path / label).mkdir()
        for i in range(4):
            scene(i + 10 * ord(label), (40 + i, 30)).save(tmp_path / label / f"{i}.jpg")
        scene(9, (200, 100)).convert("L").save(tmp_path / label / f"{label}.png")
    statistics = audited(tmp_path, seed=1).report.pictures
    assert statistics is not None
    assert [(count.name, count.pictures) for count in statistics.formats] == [("JPEG", 8), ("PNG", 2)]
    assert [(count.name, count.pictures) for count in statistics.modes] == [("RGB", 8), ("L", 2)]
    assert [(size.width_px, size.height_px) for size in (statistics.smallest, statistics.median, statistics.largest)] == [
        (40, 30),
        (42, 30),
        (200, 100),
    ]


class TestLenience:
    def test_what_a_training_would_refuse_is_a_warning(self, squares: Callable[..., Path]) -> None:
        data = audited(squares({"red": 20, "blue": 2}), strict=False)
        assert [(c.label, c.train, c.validation, c.test) for c in data.report.labels] == [("blue", 2, 0, 0), ("red", 20, 0, 0)]
        assert data.report.warnings[0].startswith("A training would refuse this dataset: The label 'blue' has 2 distinct")

    def test_a_single_label(self, squares: Callable[..., Path]) -> None:
        data = audited(squares({"red": 5}), strict=False)
        assert "needs at least two labels" in data.report.warnings[0]

    def test_a_label_without_pictures_is_counted_as_such(self, squares: Callable[..., Path]) -> None:
        root = squares({"red": 5, "blue": 5, "void": 1})
        next((root / "void").iterdir()).write_bytes(b"no picture")
        data = audited(root, strict=False)
        assert [(c.label, c.train) for c in data.report.labels] == [("blue", 5), ("red", 5), ("void", 0)]

    def test_no_picture_at_all(self, squares: Callable[..., Path]) -> None:
        root = squares({"red": 1, "blue": 1})
        for file in root.rglob("*.png"):
            file.write_bytes(b"no picture")
        with pytest.raises(BadDataset, match=r"None of 2 files is a readable picture, such as 'blue/002.png'"):
            audited(root, strict=False)


def test_stray_things_are_left_out_and_said(squares: Callable[..., Path]) -> None:
    root = squares({"red": 12, "blue": 12}, splits=ALL)
    (root / "notes" / "x").mkdir(parents=True)
    (root / "README.md").touch()
    save(root / "train" / "stray.png", 1)
    stray, other = sorted(audited(root).report.warnings, key=lambda warning: "beside" in warning)
    assert "1 picture directly in train/, such as 'stray.png'" in stray
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
        with pytest.raises(BadDataset, match="No label is known for 1 picture directly in the dataset's folder"):
            list_files(tmp_path)

    def test_a_single_label(self, squares: Callable[..., Path]) -> None:
        with pytest.raises(BadDataset, match=r"1 label, 'red'; a classifier needs at least two"):
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
        with pytest.raises(BadDataset, match="Every picture of the label 'blue' lies under another label"):
            audited(root)
