"""What a dataset may be on disk: a folder, a manifest or an archive, told apart by name; opens none of them."""

from __future__ import annotations

import os
import stat
from enum import StrEnum
from pathlib import Path
from typing import Final

from eyasd.core.errors import DatasetNotFound, InvalidArgument

MANIFESTS: Final = (".csv", ".jsonl")
ARCHIVES: Final = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")


class Form(StrEnum):
    """What the path of a dataset leads to."""

    FOLDER = "folder"
    MANIFEST = "manifest"
    ARCHIVE = "archive"


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
