"""What the row of a manifest, or the note beside a picture in a shard, says of one picture; and whether all rows say it alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from eyasd.core.errors import BadDataset
from eyasd.training.data.listing import SEPARATOR, SPLIT_NAMES, SPLITS

LABEL: Final = "label"
LABELS: Final = "labels"
SPLIT: Final = "split"
GROUP: Final = "group"

Values = Mapping[str, object]


class BadRow(Exception):
    """What is wrong with one row, as the end of a sentence that names it."""


class Kinds:
    """Which kinds of rows there are: with a split or without, of one label or of several; and the first place of each."""

    def __init__(self) -> None:
        self._with_split = self._without_split = self._with_label = self._with_labels = ""

    @property
    def multi_label(self) -> bool:
        """Whether a row has several labels."""
        return bool(self._with_labels)

    def note(self, where: str, split: str | None, *, several: bool) -> None:
        """Takes down the kind of a row.

        Args:
            where: the row's place, as the beginning of a sentence.
            split: of the row.
            several: whether it has a list of labels.
        """
        if several:
            self._with_labels = self._with_labels or where
        else:
            self._with_label = self._with_label or where
        if split:
            self._with_split = self._with_split or where
        else:
            self._without_split = self._without_split or where

    def check(self) -> None:
        """Raises BadDataset where rows are not alike."""
        if self._with_split and self._without_split:
            raise BadDataset(
                f"{self._without_split} has no split, but {_inner(self._with_split)} has one: give every row a split, or none."
            )
        if self._with_label and self._with_labels:
            raise BadDataset(
                f"{self._with_label} has a 'label', but {_inner(self._with_labels)} has 'labels': "
                "give every row the one, or the other."
            )


def split_of_row(row: Values) -> str | None:
    """Returns the split that a row names. Raises BadRow where it is none."""
    split = text_of(row, SPLIT).strip()
    if split and split.lower() not in SPLIT_NAMES:
        raise BadRow(f"has the split {split!r}; it must be one of {', '.join(SPLITS)}")
    return SPLIT_NAMES.get(split.lower())


def group_of_row(row: Values) -> str | None:
    """Returns the group that a row names. Raises BadRow where it is none."""
    return text_of(row, GROUP).strip() or None


def separated(field: str) -> list[str]:
    """Returns the labels in a field of CSV; none where it is blank."""
    return field.split(SEPARATOR) if field.strip() else []


def labels_of_row(row: Values) -> tuple[str, ...]:
    """Returns the one label of a row, or all that its list holds."""
    if LABELS not in row:
        if isinstance(row.get(LABEL), list):
            raise BadRow(f"has a list as its {LABEL}: call it {LABELS!r} in every row")
        label = text_of(row, LABEL).strip()
        if not label:
            raise BadRow(f"has no {LABEL}")
        return (label,)
    if LABEL in row:
        raise BadRow(f"has {LABEL!r} and {LABELS!r}; it may have one of them")
    listed = row[LABELS]
    if not isinstance(listed, list):
        raise BadRow(f'has {LABELS} that are no list, such as ["shirt", "red"]; where none applies, []')
    labels = {text_of({LABEL: label}, LABEL).strip() for label in listed}
    if "" in labels:
        raise BadRow(f"has an empty label among its {LABELS}")
    if bad := [label for label in labels if SEPARATOR in label]:
        raise BadRow(f"has the label {min(bad)!r}; {SEPARATOR!r} is what separates labels")
    return tuple(sorted(labels))


def text_of(row: Values, column: str) -> str:
    """Returns the text of a field; "" where it has none."""
    value = row.get(column)
    if value is None:
        return ""
    if isinstance(value, int) and not isinstance(value, bool):  # JSON's 7 is as good a label as "7"
        return str(value)
    if not isinstance(value, str):
        raise BadRow(f"has a {column} that is not text")
    # What no file's name can hold; and JSON can spell halves of a character, which no encoder takes.
    try:
        value.encode()
    except UnicodeEncodeError:
        value = "\0"
    if "\0" in value:
        raise BadRow(f"has a {column} with characters that are no text")
    return value


def _inner(where: str) -> str:
    """Returns the beginning of a sentence as it is in the middle of one."""
    return where[0].lower() + where[1:]
