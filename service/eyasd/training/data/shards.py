"""Reads tar shards in the layout of webdataset, in which files of one key are one example; unpacks nothing.

KEY.jpg (or .png, ...)   the picture, one a key; KEY ends at the first dot of the file's name, folders before it belong to it
KEY.cls                  its label, as text: a number is a label like another
KEY.json                 an object with `label`, or `labels`; and optionally `split` and `group`, as in the row of a manifest
KEY.txt                  its label, where neither of the others has one

A picture is read from the shard later, at its place. The name of a picture is KEY and its suffix, so that shards which were made
of a folder give the folder's names; where two shards use a name, all names begin with their shard's.
"""

from __future__ import annotations

import json
import os
import tarfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO, Final

from eyasd.core.errors import BadDataset
from eyasd.core.wording import counted
from eyasd.training.data.content import opened
from eyasd.training.data.listing import PICTURE_SUFFIXES, SPLIT_NAMES, SPLITS, File, Listing, as_text, names
from eyasd.training.data.rows import LABEL, LABELS, BadRow, Kinds, Values, group_of_row, labels_of_row, split_of_row
from eyasd.training.data.table import MAX_ROW_BYTES, MAX_ROWS
from eyasd.training.data.tarred import check_entry, damage_told, tar_entries
from eyasd.training.data.unpacked import MAX_ENTRIES, PIECE_BYTES, inner_parts
from eyasd.training.journal import Journal

_CLASS: Final = ".cls"
_JSON: Final = ".json"
_TEXT: Final = ".txt"
_NOTES: Final = (_CLASS, _JSON, _TEXT)


@dataclass(frozen=True, slots=True)
class Shard:
    """A tar file of examples.

    Attributes:
        name: of the file, relative to the dataset.
        path: where it is.
        split: of its examples, unless they say theirs; None where nothing says.
    """

    name: str
    path: Path
    split: str | None = None


@dataclass(slots=True)
class _Example:
    """What the files of one key say; each note is the text of its file."""

    picture: str = ""
    start: int = 0
    size_bytes: int = 0
    notes: dict[str, str] = field(default_factory=dict)


def split_of_shard(name: str) -> str | None:
    """Returns the split that a shard's name tells, as `train-000.tar` and `test/000.tar` do; None where it tells none."""
    *folders, last = name.split("/")
    words = [*folders[-1:], last.partition("-")[0], last.partition("_")[0], last.partition(".")[0]]
    return next((SPLIT_NAMES[word.lower()] for word in words if word.lower() in SPLIT_NAMES), None)


def read_shards(shards: Sequence[Shard], roots: tuple[str, ...], journal: Journal) -> Listing:
    """Lists the pictures in shards.

    Args:
        shards: at least one.
        roots: see `File`.
        journal: is asked whether to stop.

    Raises:
        BadDataset: a shard is damaged, or an example is not what it should be; names the first.
        OSError: a shard cannot be read.
    """
    kinds = Kinds()
    left_out: Counter[str] = Counter()
    found: list[tuple[Shard, File]] = []
    for number, shard in enumerate(shards):
        journal.advance(number / len(shards))
        found += [(shard, file) for file in _read(shard, roots, kinds, left_out, journal)]
        if len(found) > MAX_ROWS:
            raise BadDataset(f"The shards hold more than {MAX_ROWS:,} pictures: make several datasets of them.")
    if not found:
        raise BadDataset(
            f"{counted(len(shards), 'shard')}, such as {shards[0].name!r}, hold no pictures: an example is KEY.jpg with its "
            "label in KEY.cls, KEY.json or KEY.txt."
        )
    kinds.check()
    if len({file.name for _, file in found}) < len(found):
        files = [replace(file, name=f"{shard.name}/{file.name}") for shard, file in found]
    else:
        files = [file for _, file in found]
    splits = {file.split for file in files}
    warnings = []
    if left_out:
        warnings.append(f"Left out {counted(left_out.total(), 'file')} of the shards, with the suffixes {names(sorted(left_out))}.")
    ordered = tuple(sorted(files, key=lambda file: file.name))
    return Listing(ordered, tuple(split for split in SPLITS if split in splits), tuple(warnings), kinds.multi_label)


def _read(shard: Shard, roots: tuple[str, ...], kinds: Kinds, left_out: Counter[str], journal: Journal) -> list[File]:
    """Returns the pictures of one shard, in its order."""

    def refusal(name: str, why: str) -> BadDataset:
        return BadDataset(f"The shard {shard.name!r} holds {as_text(name)[:200]!r}, {why}.")

    examples: dict[str, _Example] = {}
    try:
        with opened(shard.path, roots) as file, damage_told(shard.name, "shard"):
            size = os.fstat(file.fileno()).st_size
            for count, (entry, content) in enumerate(tar_entries(file, refusal, _within(size))):
                journal.check()
                if count >= MAX_ENTRIES:
                    raise BadDataset(f"The shard {shard.name!r} has more than {MAX_ENTRIES:,} entries: make several of it.")
                _take(entry, content, examples, left_out, refusal)
    except FileNotFoundError:
        raise BadDataset(f"There is no shard {shard.name!r}: check the range, or the manifest, that names it.") from None
    except OSError as error:
        raise BadDataset(f"The shard {shard.name!r} cannot be read: {error.strerror}.") from error
    for example in examples.values():
        left_out.update(() if example.picture else list(example.notes))
    return [_file(shard, key, example, roots, kinds) for key, example in examples.items() if example.picture]


def _within(size_bytes: int) -> Callable[[int], None]:
    """Returns what refuses a position beyond the end of a shard, which headers may claim."""

    def check(position: int) -> None:
        if position > size_bytes + PIECE_BYTES:  # as far as is read at once
            raise tarfile.ReadError("an entry is longer than the file")

    return check


def _take(
    entry: tarfile.TarInfo,
    content: Callable[[], IO[bytes] | None],
    examples: dict[str, _Example],
    left_out: Counter[str],
    refusal: Callable[[str, str], BadDataset],
) -> None:
    """Puts an entry to the example that it belongs to."""
    parts = inner_parts(entry.name, refusal)
    if parts is None:
        return
    check_entry(entry, refusal)
    if entry.isdir():
        return
    stem, dot, extension = parts[-1].partition(".")
    key, suffix = "/".join((*parts[:-1], stem)), os.path.splitext(dot + extension)[1].lower() or (dot + extension).lower()  # noqa: PTH122
    example = examples.setdefault(key, _Example())
    if suffix in PICTURE_SUFFIXES:
        if example.picture:
            raise refusal(entry.name, f"a second picture of the key {key!r}; an example has one")
        example.picture, example.start, example.size_bytes = f"{key}.{extension}", entry.offset_data, entry.size
    elif suffix in _NOTES:
        if entry.size > MAX_ROW_BYTES or suffix in example.notes:
            raise refusal(entry.name, f"which is longer than {MAX_ROW_BYTES:,} bytes, or there twice; leave it out")
        file = content()
        try:
            example.notes[suffix] = file.read().decode() if file else ""
        except UnicodeDecodeError:
            raise refusal(entry.name, "which is not UTF-8; save it in that encoding") from None
    else:
        left_out[suffix] += 1


def _file(shard: Shard, key: str, example: _Example, roots: tuple[str, ...], kinds: Kinds) -> File:
    where = f"The example {key!r} of {shard.name!r}"
    try:
        row = _row(example.notes)
        labels = labels_of_row(row)
        split = split_of_row(row) or shard.split
        kinds.note(where, split, several=LABELS in row)
        return File(shard.path, example.picture, labels, split, group_of_row(row), example.start, example.size_bytes, roots=roots)
    except BadRow as wrong:
        raise BadDataset(f"{where} {wrong}.") from None


def _row(notes: dict[str, str]) -> Values:
    """Returns what the notes of an example say, as the row of a manifest would. Raises BadRow."""
    row: dict[str, object] = {}
    if _JSON in notes:
        try:
            said = json.loads(notes[_JSON])
        except (ValueError, RecursionError):
            said = None
        if not isinstance(said, dict):
            raise BadRow('has a .json that is not a JSON object such as {"label": "shirt"}')
        row = said
    if _CLASS in notes:
        row = {column: value for column, value in row.items() if column != LABELS} | {LABEL: notes[_CLASS]}
    elif LABEL not in row and LABELS not in row and _TEXT in notes:
        row[LABEL] = notes[_TEXT]
    return row
