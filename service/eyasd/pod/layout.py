"""The objects through which a trainer and a pod hand over JOB_DIR, below `jobs/` of a store.

    jobs/ID/ATTEMPT/in/...       what the program is told, written by the trainer before the pod starts; `in.json` last, its list
    jobs/ID/checkpoint/N/...     the newest checkpoints, written by any attempt; `checkpoint/N.json` last, its list
    jobs/ID/ATTEMPT/out/...      result.json or error.json, the bundle, the log; `out.json` last, its list

A list names each file with its size and SHA-256, and is created where there is none: who reads by it sees all of it or nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Final

from eyasd.core import document
from eyasd.core.errors import StorageFailed
from eyasd.storage.store import Store

_PIECE_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Handed:
    """One file: its path below JOB_DIR, its size in bytes, and its SHA-256."""

    path: str
    size: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Handover:
    """A list of files."""

    files: tuple[Handed, ...]


def place(job: str, attempt: int, side: str) -> str:
    """Returns the prefix of an attempt's objects; `side` is `in` or `out`."""
    return f"jobs/{job}/{attempt}/{side}"


def send(store: Store, prefix: str, folder: Path, paths: Iterable[Path]) -> None:
    """Hands over files of a folder, and last their list; to do it again changes nothing.

    Raises:
        StorageFailed: the store cannot be used.
        OSError: a file cannot be read.
    """
    files: list[Handed] = []
    for path in sorted(paths):
        name = path.relative_to(folder).as_posix()
        store.write_file(f"{prefix}/{name}", path)
        files.append(Handed(name, path.stat().st_size, _digest(path)))
    store.create(f"{prefix}.json", document.dump(Handover(tuple(files))).encode())


def receive(store: Store, prefix: str, folder: Path) -> bool:
    """Brings the files that were handed over into a folder; returns whether there were any.

    Raises:
        StorageFailed: the store cannot be used, or does not hold what its list says.
    """
    try:
        listed = document.load(Handover, store.read(f"{prefix}.json"))
    except FileNotFoundError:
        return False
    for file in listed.files:
        path = PurePosixPath(file.path)
        if path.is_absolute() or ".." in path.parts:
            raise StorageFailed(f"{prefix}.json names {file.path!r}, which is outside of the folder: it was not written by Eyas.")
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("wb") as content:
            _fetch(store, f"{prefix}/{file.path}", content)
        if (target.stat().st_size, _digest(target)) != (file.size, file.sha256):
            raise StorageFailed(f"{prefix}/{file.path} is not what its list says: it was changed since.")
    return True


def _fetch(store: Store, key: str, content: BinaryIO) -> None:
    try:
        store.read_into(key, content)
    except FileNotFoundError as error:
        raise StorageFailed(f"There is no object {key!r}, which its list names: it was deleted.") from error


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as content:
        while piece := content.read(_PIECE_BYTES):
            digest.update(piece)
    return digest.hexdigest()
