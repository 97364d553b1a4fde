"""What a dataset may be: a folder, a manifest, an archive or tar shards, told apart by name; opens none of them."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Sequence
from enum import StrEnum
from itertools import product
from pathlib import Path
from typing import Final

from eyasd.core.errors import DatasetNotFound, InvalidArgument
from eyasd.core.places import Place, check_allowed

MANIFESTS: Final = (".csv", ".jsonl")
ARCHIVES: Final = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
SHARD: Final = ".tar"
# LAION-5B has 231,349.
MAX_SHARDS: Final = 1_000_000
# Of the names of all shards together, which are made at once: 200 for each of a million.
_MOST_CHARACTERS: Final = 200_000_000
_RANGE: Final = re.compile(r"\{(\d{1,9})\.\.(\d{1,9})\}")


class Form(StrEnum):
    """What the path of a dataset leads to."""

    FOLDER = "folder"
    MANIFEST = "manifest"
    ARCHIVE = "archive"
    SHARDS = "shards"


def form_at(place: Place, roots: Sequence[str]) -> Form:
    """Returns what a dataset is; what lies in a bucket is told by its name alone.

    Args:
        place: of the dataset.
        roots: see `check_allowed`.

    Raises:
        DatasetNotFound: there is nothing at the path.
        InvalidArgument: it may not be read, or is none of the forms.
    """
    check_allowed(place, roots)
    if is_range(place.path):
        _ranges(place.path)
        if not place.remote:
            form_of(Path(_RANGE.sub(r"\1", place.path)))  # the first of them
        return Form.SHARDS
    if not place.remote:
        return form_of(Path(place.path))
    name = place.key.lower()
    return Form.MANIFEST if name.endswith(MANIFESTS) else Form.ARCHIVE if name.endswith(ARCHIVES) else Form.FOLDER


def is_range(name: str) -> bool:
    """Tells whether a name stands for several shards, as `train-{0000..0099}.tar` does."""
    return name.lower().endswith(SHARD) and _RANGE.search(name) is not None


def expanded(name: str) -> list[str]:
    """Returns the names that one with ranges such as `{0000..0099}` stands for: as in a shell, of as many digits as the first.

    Raises:
        InvalidArgument: a range runs backwards, or there are too many names.
    """
    pieces: list[Sequence[str]] = []
    end = 0
    for found in _ranges(name):
        numbers = range(int(found[1]), int(found[2]) + 1)
        pieces += [(name[end : found.start()],), [str(number).zfill(len(found[1])) for number in numbers]]
        end = found.end()
    return ["".join(parts) for parts in product(*pieces, (name[end:],))]


def _ranges(name: str) -> list[re.Match[str]]:
    """Returns the ranges in a name. Raises InvalidArgument as `expanded` does."""
    ranges, count = list(_RANGE.finditer(name)), 1
    for found in ranges:
        steps = int(found[2]) - int(found[1]) + 1
        count *= steps
        if steps < 1 or count > min(MAX_SHARDS, _MOST_CHARACTERS // len(name)):
            raise InvalidArgument(
                "dataset",
                f"{found[0]!r} in {name[:200]!r} must run from the lower number to the higher, over at most {MAX_SHARDS:,} shards, "
                "or fewer where names are long.",
            )
    return ranges


def form_of(path: Path) -> Form:
    """Returns what a dataset is.

    Raises:
        DatasetNotFound: there is nothing at the path.
        InvalidArgument: it may not be read, or is none of the forms.
    """
    name = str(path)
    try:
        mode = path.stat().st_mode
        readable = os.access(path, os.R_OK)
    except PermissionError:
        readable = False
    except (OSError, ValueError):  # ValueError: a NUL in the path
        raise DatasetNotFound(
            f"There is no folder {name!r} on the trainer's machine, nor a file: check the path and the volumes mounted there.",
            dataset=name,
        ) from None
    if not readable:
        raise InvalidArgument("dataset", f"{name!r} may not be read by the trainer's user: change its permissions.")
    if stat.S_ISDIR(mode):
        return Form.FOLDER
    if stat.S_ISREG(mode) and name.lower().endswith(MANIFESTS):
        return Form.MANIFEST
    if stat.S_ISREG(mode) and name.lower().endswith(ARCHIVES):
        return Form.ARCHIVE
    raise InvalidArgument(
        "dataset",
        f"{name!r} is neither a folder, nor a manifest ({', '.join(MANIFESTS)}), nor an archive ({', '.join(ARCHIVES)}): "
        "name one of these.",
    )
