"""An uploaded dataset: its files, each known by its content, and the text in which they are written down.

The list of files is itself content, known by its SHA-256: so the same files under the same paths are the same dataset, whoever
uploads them. Knows nothing of where content is kept.

    eyas dataset 1
    SHA256 SIZE PATH        one line a file: 64 hexadecimal digits, bytes, and a path relative to the dataset

The order is that of the paths' UTF-8 bytes with a NUL for each `/`, so what lies in a folder comes right after what bears its name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from eyasd.core.errors import InvalidArgument

HEADER: Final = b"eyas dataset 1\n"
# No file system that is in use has longer names, and few longer paths; real datasets have 3 or 4 folders within each other.
MAX_NAME_BYTES: Final = 255
MAX_PATH_BYTES: Final = 1024
MAX_DEPTH: Final = 32
# As of an archive: each is one of the disk of a job, and a file can lie in 32 that are of no other.
MAX_FOLDERS: Final = 2_000_000
# 64 digits, 19, a path, two spaces and the end.
MAX_LINE_BYTES: Final = 64 + 19 + MAX_PATH_BYTES + 3
_LINE: Final = re.compile(rb"([0-9a-f]{64}) (0|[1-9][0-9]{0,18}) ([^\n]+)\n")
_CONTROL: Final = re.compile(r"[\0-\x1f\x7f]")
# The field of the request by which a list of files is named.
_FIELD: Final = "manifest_sha256"


@dataclass(frozen=True, slots=True)
class Blob:
    """Content, by its SHA-256, hexadecimal, and its bytes."""

    sha256: str
    size_bytes: int

    @property
    def key(self) -> str:
        """Where it is in the store of uploaded datasets; in 256 folders, as one of a million files is slow."""
        return f"blobs/{self.sha256[:2]}/{self.sha256}"


@dataclass(frozen=True, slots=True)
class DatasetFile:
    """A file of a dataset.

    Attributes:
        path: relative to the dataset, with `/` between folders; see `path_problem`.
        blob: its content.
    """

    path: str
    blob: Blob


@dataclass(frozen=True, slots=True)
class DatasetRecord:
    """A version of a dataset; never changes.

    Attributes:
        version: its number, from 1.
        manifest: its list of files.
        files: how many there are.
        size_bytes: of all of them together, what several hold alike counted for each.
        time: when it was made, UTC.
        actor: who made it.
    """

    version: int
    manifest: Blob
    files: int
    size_bytes: int
    time: datetime
    actor: str


@dataclass(frozen=True, slots=True)
class UploadedDataset:
    """Where the training program finds an uploaded dataset.

    Attributes:
        store: path of the folder that holds its content, absolute or below JOB_DIR; or the address of a bucket.
        manifest: its list of files.
    """

    store: str
    manifest: Blob


def path_problem(path: str) -> str:
    """Returns why a path cannot be that of a dataset's file; "" where it can."""
    parts = path.split("/")
    if not path or path.startswith("/") or "" in parts or "." in parts or ".." in parts:
        return "is not relative to the dataset, without '.', '..' and empty parts"
    if "\\" in path or _CONTROL.search(path):
        return "has a backslash or a control character"
    if len(parts) > MAX_DEPTH + 1:
        return f"lies in more than {MAX_DEPTH} folders"
    if len(path.encode()) > MAX_PATH_BYTES or any(len(part.encode()) > MAX_NAME_BYTES for part in parts):
        return f"has more than {MAX_PATH_BYTES} bytes, or a name in it more than {MAX_NAME_BYTES}"
    return ""


def read_manifest(lines: Iterable[bytes], max_files: int | None = None) -> Iterator[DatasetFile]:
    """Yields the files of a list.

    Args:
        lines: each with its end; one longer than MAX_LINE_BYTES may come in parts.
        max_files: how many there may be, in at most MAX_FOLDERS folders; None is any number of both.

    Raises:
        InvalidArgument: it is no list of a dataset's files; says what is wrong first.
    """
    rows = iter(lines)
    if next(rows, b"") != HEADER:
        raise InvalidArgument(_FIELD, f"A list of files begins with the line {HEADER.decode().strip()!r}; this one does not.")

    before, number, folders = "", 1, 0
    for number, line in enumerate(rows, 2):
        if max_files is not None and number > max_files + 1:
            raise InvalidArgument(_FIELD, f"The dataset has more than {max_files:,} files: pack them, or make several datasets.")
        file = _file(number, line)
        if before and _order(file.path) <= _order(before):
            raise _wrong(number, f"names {file.path[:200]!r} after {before[:200]!r}: each path once, in the order of the format")
        if before and file.path.startswith(f"{before}/"):
            raise _wrong(number, f"names {file.path[:200]!r}, whose folder {before[:200]!r} is a file")
        if max_files is not None and (folders := folders + _new_folders(file.path, before)) > MAX_FOLDERS:
            raise InvalidArgument(_FIELD, f"The dataset has more than {MAX_FOLDERS:,} folders: put more files into each.")
        before = file.path
        yield file
    if number == 1:
        raise InvalidArgument(_FIELD, "The dataset has no files: upload a folder that holds some.")


def _file(number: int, line: bytes) -> DatasetFile:
    match = _LINE.fullmatch(line)
    if match is None:
        raise _wrong(number, "is not SHA256 SIZE PATH")
    try:
        path = match[3].decode()
    except UnicodeDecodeError:
        raise _wrong(number, "has a path that is not UTF-8") from None
    if problem := path_problem(path):
        raise _wrong(number, f"names {path[:200]!r}, which {problem}")
    return DatasetFile(path, Blob(match[1].decode(), int(match[2])))


def _new_folders(path: str, before: str) -> int:
    """Returns how many folders a path has that the one before it has not: all that lies in a folder comes together."""
    folders, others = path.split("/")[:-1], before.split("/")[:-1]
    same = next((i for i, (one, other) in enumerate(zip(folders, others, strict=False)) if one != other), len(others))
    return max(len(folders) - same, 0)


def _order(path: str) -> bytes:
    return path.encode().replace(b"/", b"\0")


def _wrong(number: int, what: str) -> InvalidArgument:
    return InvalidArgument(_FIELD, f"Line {number} of the dataset's list of files {what}.")
