"""The folders of a dataset, as a listing wants to see them: on disk, or nowhere but in a list of names."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Final, Protocol

from eyasd.core.errors import BadDataset
from eyasd.core.places import lies_below

# Of folders within each other: real ones have 3 or 4, and removing a thousand overflows the interpreter's stack.
MAX_DEPTH: Final = 32

# What desktops leave in every folder they show; files that begin with a dot are hidden anyway.
_HIDDEN: Final = frozenset({"thumbs.db", "desktop.ini", "__macosx", "@eadir"})


class Folder(Protocol):
    """A folder; hidden things are none of the dataset's."""

    @property
    def name(self) -> str:
        """What it is called, "" where it is the dataset's own in a bucket."""
        ...

    def folders(self) -> Sequence[Folder]:
        """Returns the folders in it, in order."""
        ...

    def files(self) -> Sequence[str]:
        """Returns the names of the files in it, in order."""
        ...

    def inner_folders(self) -> Sequence[Folder]:
        """Returns those of its folders that are part of a label's: those that no symbolic link leads to."""
        ...

    def locate(self, name: str) -> Path:
        """Returns where a file of it is, or will be."""
        ...

    def bring(self, names: Sequence[str]) -> list[Path]:
        """Returns where files of it can be read now."""
        ...


class LocalFolder:
    """A folder of this machine."""

    def __init__(self, path: Path, roots: Sequence[str] = ()) -> None:
        """Remembers the path.

        Args:
            path: of the folder.
            roots: folders, free of symbolic links, out of which no link may lead; none is anywhere.
        """
        self.path, self._roots = path, roots
        self._entries: tuple[list[os.DirEntry[str]], list[str]] | None = None

    @property
    def name(self) -> str:
        """See `Folder`."""
        return self.path.name

    def folders(self) -> list[LocalFolder]:
        """See `Folder`. Raises BadDataset where a symbolic link leads out of the roots."""
        for entry in self._scanned()[0]:
            if self._roots and entry.is_symlink() and not lies_below(os.path.realpath(entry.path), self._roots):
                raise BadDataset(
                    f"The folder {entry.name!r} is a link out of what this trainer may read: put the pictures in its place."
                )
        return [LocalFolder(self.path / entry.name, self._roots) for entry in self._scanned()[0]]

    def inner_folders(self) -> list[LocalFolder]:
        """See `Folder`."""
        return [LocalFolder(self.path / entry.name, self._roots) for entry in self._scanned()[0] if not entry.is_symlink()]

    def files(self) -> list[str]:
        """See `Folder`."""
        return self._scanned()[1]

    def locate(self, name: str) -> Path:
        """See `Folder`."""
        return self.path / name

    def bring(self, names: Sequence[str]) -> list[Path]:
        """See `Folder`."""
        return [self.path / name for name in names]

    def _scanned(self) -> tuple[list[os.DirEntry[str]], list[str]]:
        if self._entries is None:
            with os.scandir(self.path) as found:
                entries = sorted((entry for entry in found if not is_hidden(entry.name)), key=lambda entry: entry.name)
            self._entries = (
                [entry for entry in entries if _is(entry.is_dir)],
                [entry.name for entry in entries if _is(entry.is_file)],
            )
        return self._entries


class NamedFolder:
    """A folder that is known from a list of names alone; its files are nowhere until they are brought."""

    def __init__(self, names: Iterable[str], nowhere: Path, bring: Callable[[Sequence[str]], list[Path]]) -> None:
        """Puts the names in order.

        Args:
            names: of files, relative to this folder, with '/' between folders.
            nowhere: what `locate` answers.
            bring: takes some of the names, and returns where their files can be read now.

        Raises:
            BadDataset: a name is none that a file in a folder could have.
        """
        self.name = ""
        self._prefix, self._nowhere, self._bring = "", nowhere, bring
        self._folders: dict[str, NamedFolder] = {}
        self._files: list[str] = []
        for name in sorted(names):
            *folders, last = name.split("/")
            if {"", ".", ".."} & {*folders, last} or len(folders) > MAX_DEPTH:
                raise BadDataset(f"The dataset holds {name!r}, which is no name for a file in a folder: rename it.")
            if any(map(is_hidden, (*folders, last))):
                continue
            folder = self
            for part in folders:
                folder = folder._inner(part)
            folder._files.append(last)

    def folders(self) -> list[NamedFolder]:
        """See `Folder`."""
        return [self._folders[name] for name in sorted(self._folders)]

    inner_folders = folders

    def files(self) -> list[str]:
        """See `Folder`."""
        if both := set(self._folders) & set(self._files):
            raise BadDataset(f"The dataset holds {self._prefix + min(both)!r} twice, as a file and as a folder: rename one.")
        return self._files

    def locate(self, name: str) -> Path:  # noqa: ARG002 - they all are in the same nowhere
        """See `Folder`."""
        return self._nowhere

    def bring(self, names: Sequence[str]) -> list[Path]:
        """See `Folder`."""
        return self._bring([self._prefix + name for name in names])

    def _inner(self, name: str) -> NamedFolder:
        inner = self._folders.get(name)
        if inner is None:
            inner = self._folders[name] = NamedFolder((), self._nowhere, self._bring)
            inner.name, inner._prefix = name, f"{self._prefix}{name}/"
        return inner


def is_hidden(name: str) -> bool:
    """Tells whether an entry of a folder is none of the dataset's."""
    return name.startswith(".") or name.lower() in _HIDDEN


def _is(kind: Callable[[], bool]) -> bool:
    """Returns what an entry says of its kind; a link that leads nowhere, or to itself, is of none."""
    try:
        return kind()
    except OSError:
        return False
