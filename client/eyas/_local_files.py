"""Which files of this machine are a dataset, under which paths, and whether they may be uploaded."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from eyas._errors import InvalidArgument

_ARCHIVES: Final = (".tar.gz", ".tar.bz2", ".tar.xz", ".tgz", ".tar", ".zip")
_MANIFESTS: Final = (".csv", ".jsonl")
# What desktops leave in every folder they show.
_HIDDEN: Final = frozenset({"thumbs.db", "desktop.ini", "__macosx", "@eadir"})
# The rules of the contract, see CreateDatasetRequest; a name that breaks them is told of before anything is sent.
_MAX_PATH_BYTES: Final = 1024
_MAX_DEPTH: Final = 32
_CONTROL: Final = re.compile(r"[\0-\x1f\x7f\\]")
_MAX_NAME: Final = 64


@dataclass(frozen=True, slots=True)
class LocalFile:
    """A file: its path relative to the dataset, where it is (text, as there may be millions), and its bytes when it was found."""

    path: str
    place: str
    size_bytes: int


def local_files(dataset: Path, *, follow_links: bool) -> list[LocalFile]:
    """Returns the files of a folder, hidden ones apart, or an archive, in the order of the contract.

    Args:
        dataset: where it lies.
        follow_links: whether links may lead out of the folder; what they lead to is then uploaded with the rest.

    Raises:
        InvalidArgument: there is nothing to upload, or something that cannot be; says what and what to do.
    """
    try:
        if not dataset.exists():
            raise InvalidArgument(
                f"There is nothing at {str(dataset)!r} on this machine: name a folder of pictures, or an archive."
            )
        if dataset.is_dir():
            walk = _Walk(dataset, follow_links=follow_links)
            files = sorted(walk.files, key=lambda file: order(file.path))
        else:
            files = [_single(dataset)]
    except OSError as error:
        raise InvalidArgument(f"{os.fspath(error.filename or dataset)!r} cannot be read: {error.strerror}.") from error
    if not files:
        raise InvalidArgument(f"The folder {str(dataset)!r} holds no files, so there is nothing to upload.")
    return files


def name_of(dataset: Path) -> str:
    """Returns a name for a dataset, made of that of its folder or archive.

    Raises:
        InvalidArgument: nothing of it can be in a name.
    """
    called = dataset.resolve().name.lower()
    called = next((called.removesuffix(suffix) for suffix in _ARCHIVES if called.endswith(suffix)), called)
    name = re.sub(r"\.{2,}", ".", re.sub(r"[^a-z0-9._-]+", "-", called)).strip("-._")[:_MAX_NAME].strip("-._")
    if not name:
        raise InvalidArgument(f"No name for the dataset can be made of {str(dataset)!r}: give one (--name).")
    return name


def order(path: str) -> bytes:
    """Returns what paths are sorted by."""
    return path.encode().replace(b"/", b"\0")


def _single(dataset: Path) -> LocalFile:
    name = dataset.name.lower()
    if name.endswith(_MANIFESTS):
        raise InvalidArgument(
            f"{str(dataset)!r} names pictures that lie elsewhere: put it into a folder with one folder of its pictures, with paths "
            "relative to it, and upload that folder; or, if the trainer reads it where it is, add --no-upload."
        )
    if not name.endswith(_ARCHIVES) or not dataset.is_file():
        raise InvalidArgument(f"{str(dataset)!r} is neither a folder nor an archive ({', '.join(_ARCHIVES)}): name one of these.")
    return LocalFile(_checked(dataset.name), str(dataset), dataset.stat().st_size)


class _Walk:
    """A folder, gone through once."""

    def __init__(self, root: Path, *, follow_links: bool) -> None:
        self._root = os.path.realpath(root)
        self._shown = str(root)
        self._follow_links = follow_links
        self._leaving: list[str] = []
        self.files = list(self._found(self._root, "", (self._root,)))
        if self._leaving:
            others = f" (and {len(self._leaving) - 1:,} others do)" if len(self._leaving) > 1 else ""
            raise InvalidArgument(
                f"{self._leaving[0]!r} is a link that leads out of {self._shown!r}{others}: put what it leads to into it, or "
                "allow such links with --follow-links (follow_links=True)."
            )

    def _found(self, folder: str, prefix: str, within: tuple[str, ...]) -> Iterator[LocalFile]:
        with os.scandir(folder) as entries:
            found = [entry for entry in entries if not (entry.name.startswith(".") or entry.name.lower() in _HIDDEN)]
        for entry in found:
            path = prefix + entry.name
            target = os.path.realpath(entry.path) if entry.is_symlink() else entry.path
            if entry.is_symlink() and not self._follow_links and os.path.commonpath((self._root, target)) != self._root:
                self._leaving.append(path)
            elif entry.is_dir():
                if target in within:
                    raise InvalidArgument(
                        f"The link {path!r} leads to a folder that it lies in, so there would be no end: remove it."
                    )
                _checked(path)
                yield from self._found(target, f"{path}/", (*within, target))
            elif entry.is_file():  # no pipe, no device, no link that leads nowhere
                yield LocalFile(_checked(path), target, entry.stat().st_size)


def _checked(path: str) -> str:
    """Returns the path if a dataset may have it."""
    problem = ""
    try:
        if len(path.encode()) > _MAX_PATH_BYTES or path.count("/") > _MAX_DEPTH:
            problem = f"has more than {_MAX_PATH_BYTES} bytes, or lies in more than {_MAX_DEPTH} folders"
        elif _CONTROL.search(path):
            problem = "has a backslash or a control character"
    except UnicodeEncodeError:
        path, problem = os.fsencode(path).decode(errors="replace"), "is not UTF-8"
    if problem:
        raise InvalidArgument(f"The name {path[-200:]!r} {problem}, which no uploaded dataset may have: rename it.")
    return path
