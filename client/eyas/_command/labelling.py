"""Lists of pictures to be labelled: written beside the pictures, and read once a person has filled them in.

CSV or JSON Lines, with the columns id, file, label and what helps to decide. Of each row the id and the label are read;
several labels of a picture are separated by |, and a row without a label says nothing.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from eyas._capture import CapturedPicture
from eyas._command.rows import SEPARATOR, rows
from eyas._errors import EyasError, InvalidArgument

_COLUMNS: Final = ("id", "file", "label", "predicted", "confidence", "reasons", "time")
_ENDINGS: Final = {b"\xff\xd8": ".jpg", b"\x89P": ".png", b"RI": ".webp"}
# What a spreadsheet would take for a formula; labels come from whoever trained the model.
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")


def export(folder: Path, pictures: Iterable[tuple[CapturedPicture, bytes]], *, jsonl: bool) -> int:
    """Writes pictures and their list to a folder, and returns how many there are.

    Args:
        folder: is made; one that holds something is refused, so that nobody's labels are written over.
        pictures: with their files.
        jsonl: whether the list is JSON Lines.

    Raises:
        EyasError: it cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise InvalidArgument(f"The folder {str(folder)!r} is not empty: name another, so that nothing is written over.")
        rows = []
        for picture, content in pictures:
            file = f"{picture.id}{_ENDINGS.get(content[:2], '')}"
            (folder / file).write_bytes(content)
            rows.append(_row(picture, file))
        with (folder / f"labels.{'jsonl' if jsonl else 'csv'}").open("w", encoding="utf-8", newline="") as out:
            if jsonl:
                out.writelines(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows)
            else:
                table = csv.DictWriter(out, _COLUMNS)
                table.writeheader()
                table.writerows({name: _harmless(value) for name, value in row.items()} for row in rows)
    except OSError as error:
        raise EyasError(f"{error.filename or folder} cannot be written: {error.strerror}.", reason="UNWRITABLE_FILE") from None
    return len(rows)


def read(file: Path) -> dict[str, list[str]]:
    """Returns the labels of each picture in a list that a person has filled in, by id.

    Raises:
        InvalidArgument: it is no such list, or says nothing; says in which line.
    """
    found: dict[str, list[str]] = {}
    try:
        with file.open(encoding="utf-8-sig", newline="") as lines:  # as spreadsheets write it
            for line, row in rows(lines, str(file), ["id", "label"]):
                picture, label = (str(row.get(name) or "").strip() for name in ("id", "label"))
                if not label:
                    continue
                if not picture:
                    raise InvalidArgument(f"Line {line} of {file} has a label but no id: keep the column id as it was exported.")
                labels = [part.strip() for part in _plain(label).split(SEPARATOR)]
                if found.setdefault(picture, labels) != labels:
                    raise InvalidArgument(f"Line {line} of {file} gives the picture {picture} another label than a line before it.")
    except OSError as error:
        raise InvalidArgument(f"{file} cannot be read: {error.strerror}.") from None
    if not found:
        raise InvalidArgument(f"{file} names no labels: write them into its column 'label'.")
    return found


def _row(picture: CapturedPicture, file: str) -> dict[str, str]:
    best = picture.predictions[0]
    return {
        "id": picture.id,
        "file": file,
        "label": SEPARATOR.join(picture.labels.labels) if picture.labels else "",
        "predicted": best.label,
        "confidence": f"{best.probability:.4f}",
        "reasons": " ".join(picture.reasons),
        "time": picture.create_time.isoformat(timespec="seconds"),
    }


def _plain(value: str) -> str:
    """Returns what `_harmless` was given."""
    return value[1:] if value.startswith("'") and value[1:].startswith(_FORMULA) else value


def _harmless(value: str) -> str:
    return f"'{value}" if value.startswith(_FORMULA) else value
