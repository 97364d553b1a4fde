"""What is wrong with a dataset whose pictures have several labels each, or none, is said before training."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from audits import audited, save
from eyasd.core.errors import BadDataset
from eyasd.training.data.table import read_table


@pytest.fixture
def table(tmp_path: Path) -> Callable[..., Path]:
    """Writes a manifest of pictures with these labels, such as "a|b" or ""; in the splits given, or in none."""

    def write(sets: list[str], splits: list[str] | None = None, seeds: list[int] | None = None) -> Path:
        rows = []
        for number, labels in enumerate(sets):
            save(tmp_path / f"{number:03}.png", seeds[number] if seeds else number)
            rows.append(f"{number:03}.png,{labels},{splits[number] if splits else ''}")
        (tmp_path / "photos.csv").write_text("\n".join(["path,labels,split", *rows]))
        return tmp_path / "photos.csv"

    return write


def test_targets_are_flags_and_every_label_is_in_every_split(table: Callable[..., Path]) -> None:
    root = table(["a", "a|b", "b", ""] * 10)
    data, files = audited(root), read_table(root).files
    assert (data.labels, data.multi_label, data.targets.dtype) == (("a", "b"), True, np.float32)
    assert [tuple(np.array(data.labels)[row == 1]) for row in data.targets] == [file.labels for file in files]
    assert [(c.label, c.train, c.validation, c.test) for c in data.report.labels] == [("a", 14, 3, 3), ("b", 14, 3, 3)]
    assert sum(len(rows) for rows in data.rows.values()) == 40
    assert data.report.warnings == ()


def test_copies_with_other_labels_are_told(table: Callable[..., Path]) -> None:
    data = audited(table(["a", "a|b", "b", ""] * 10, seeds=[0, 0, *range(38)]))
    assert data.report.duplicates is not None
    (first, *_) = data.report.duplicates.groups
    assert sorted((file.path, file.label) for file in first.files) == [("000.png", "a"), ("001.png", "a|b"), ("002.png", "b")]
    assert data.report.warnings[0].startswith("3 files have an exact or near copy with other labels; of one picture at most")


def test_one_label_is_enough_where_some_pictures_lack_it(table: Callable[..., Path]) -> None:
    assert audited(table(["a", ""] * 10)).labels == ("a",)


@pytest.mark.parametrize(
    ("sets", "splits", "message"),
    [
        (["", ""], None, "None of the dataset's 2 files has a label; a classifier needs at least one"),
        (["a|b", "a"] * 9, None, "All files have the label 'a': add pictures that it does not apply to, or remove it"),
        (["a|b", "a", "b"] * 2, ["train"] * 3 + ["validation", "validation", "test"], "The test split has no files of 'a'"),
        (["a", "b", ""] * 2, ["train", "test", "test"] * 2, "The test split has labels that the train split lacks: 'b'"),
        (["a|b", *["a", ""] * 9], None, r"The label 'b' has 1 distinct readable picture; it needs at least 3"),
    ],
)  # fmt: skip
def test_what_cannot_be_learnt_is_refused(
    table: Callable[..., Path], sets: list[str], splits: list[str] | None, message: str
) -> None:
    with pytest.raises(BadDataset, match=message):
        audited(table(sets, splits))


def test_a_label_of_copies_alone_is_refused(table: Callable[..., Path]) -> None:
    root = table([*["a", ""] * 9, "a|b", "a"], seeds=[*range(18), 99, 99])
    with pytest.raises(BadDataset, match="Every picture of the label 'b' has a copy with other labels, and at most one"):
        audited(root)
