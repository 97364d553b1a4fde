"""The objects through which a trainer and a pod hand over JOB_DIR, below `jobs/` of a store.

    jobs/ID/ATTEMPT/in/...        what the program is told, written by the trainer before the pod starts; `in.json` last, its list
    jobs/ID/ATTEMPT/tries/N       made by the Nth pod of the attempt: a pod that had to make way is made again in the same attempt
    jobs/ID/ATTEMPT/out/N/...     what the Nth pod left: result.json or error.json, the bundle, the log; `out/N.json` last, its list
    jobs/ID/checkpoint/A-N-C/...  the Cth checkpoint of the Nth pod of attempt A; `checkpoint/A-N-C.json` last, its list

A list names each file with its size and SHA-256. Who reads by it sees all of it or nothing; of several, the newest that is whole.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Final

from eyasd.core import document
from eyasd.core.errors import StorageFailed
from eyasd.storage.store import Store

_PIECE_BYTES: Final = 1 << 20
_LIST: Final = ".json"


class NotWhole(StorageFailed):
    """What a list names is not there, or is not what the list says; it stays so."""


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
    """Returns the prefix of an attempt's objects; `side` is `in` or `out`, below which each pod has one of its own."""
    return f"jobs/{job}/{attempt}/{side}"


def checkpoints(job: str) -> str:
    """Returns the prefix below which the checkpoints of a job are."""
    return f"jobs/{job}/checkpoint"


def claim(store: Store, job: str, attempt: int) -> int:
    """Returns the number of a pod of an attempt, from 1, which no other gets. Raises StorageFailed."""
    prefix = f"jobs/{job}/{attempt}/tries"
    number = max((int(name) for name in store.children(prefix)), default=0) + 1
    while not store.create(f"{prefix}/{number}", b""):
        number += 1
    return number


def send(store: Store, prefix: str, folder: Path, paths: Iterable[Path]) -> None:
    """Hands over files of a folder, and last their list; to do it again changes nothing.

    Raises:
        StorageFailed: the store cannot be used.
        OSError: a file cannot be read.
    """
    _write_list(store, prefix, _sent(store, prefix, folder, paths))


def add(store: Store, prefix: str, folder: Path, path: Path) -> None:
    """Hands over one more file of a folder, with what was handed over before; to do it again changes nothing. Raises as `send`."""
    listed = _listed(store, prefix)
    before = {file.path: file for file in listed.files} if listed is not None else {}
    _write_list(store, prefix, (before | {file.path: file for file in _sent(store, prefix, folder, [path])}).values())


def receive(store: Store, prefix: str, folder: Path) -> bool:
    """Brings the files that were handed over into a folder, once all are there; returns whether there were any.

    Raises:
        StorageFailed: the store cannot be used.
        NotWhole: it does not hold what its list says; the folder is as it was.
        OSError: a file cannot be written.
    """
    listed = _listed(store, prefix)
    if listed is None:
        return False
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".coming-") as coming:
        for file in listed.files:
            _receive(store, f"{prefix}/{file.path}", file, Path(coming) / file.path)
        for file in listed.files:
            target = folder / file.path
            target.parent.mkdir(parents=True, exist_ok=True)
            (Path(coming) / file.path).replace(target)
    return True


def newest(store: Store, prefix: str) -> list[str]:
    """Returns the prefixes below one that have lists, by their numbers, the newest first. Raises StorageFailed."""
    names = [name.removesuffix(_LIST) for name in store.children(prefix) if name.endswith(_LIST)]
    return [
        f"{prefix}/{name}" for name in sorted(names, key=lambda name: [int(number) for number in name.split("-")], reverse=True)
    ]


def receive_newest(store: Store, prefix: str, folder: Path) -> str | None:
    """Brings into a folder what was handed over last below a prefix, and is whole.

    Returns:
        Its prefix; None where nothing was handed over, or nothing whole.

    Raises:
        StorageFailed: the store cannot be used.
        OSError: a file cannot be written.
    """
    tried = set[str]()
    while (one := next((one for one in newest(store, prefix) if one not in tried), None)) is not None:
        tried.add(one)  # those that come meanwhile may be in the place of it
        try:
            if receive(store, one, folder):
                return one
        except NotWhole:
            continue
    return None


def paths(store: Store, prefix: str) -> frozenset[str]:
    """Returns the paths of the files that were handed over; none where there is no list. Raises StorageFailed, NotWhole."""
    listed = _listed(store, prefix)
    return frozenset(file.path for file in listed.files) if listed is not None else frozenset()


def withdraw(store: Store, prefix: str) -> None:
    """Deletes what was handed over, its list first. Raises StorageFailed."""
    store.delete(prefix + _LIST)
    for key in store.keys(prefix):
        store.delete(key)


def _sent(store: Store, prefix: str, folder: Path, paths: Iterable[Path]) -> list[Handed]:
    files: list[Handed] = []
    for path in sorted(paths):
        name = path.relative_to(folder).as_posix()
        store.write_file(f"{prefix}/{name}", path)
        files.append(Handed(name, path.stat().st_size, _digest(path)))
    return files


def _write_list(store: Store, prefix: str, files: Iterable[Handed]) -> None:
    store.write(prefix + _LIST, document.dump(Handover(tuple(files))).encode())


def _listed(store: Store, prefix: str) -> Handover | None:
    try:
        listed = document.load(Handover, store.read(prefix + _LIST))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise NotWhole(f"{prefix}{_LIST} is no list of files: it was not written by Eyas.") from error
    for path in (PurePosixPath(file.path) for file in listed.files):
        if path.is_absolute() or ".." in path.parts:
            raise NotWhole(f"{prefix}{_LIST} names {str(path)!r}, which is outside of the folder: it was not written by Eyas.")
    return listed


def _receive(store: Store, key: str, file: Handed, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.open("wb") as content:
        sink = _Digested(content)
        try:
            store.read_into(key, sink)
        except FileNotFoundError as error:
            raise NotWhole(f"There is no object {key!r}, which its list names: it was deleted.") from error
    if (target.stat().st_size, sink.digest.hexdigest()) != (file.size, file.sha256):
        raise NotWhole(f"{key} is not what its list says: it was changed since.")


class _Digested:
    """Writes to a file what comes, and digests it on its way."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.digest = hashlib.sha256()

    def write(self, content: bytes, /) -> None:
        self._file.write(content)
        self.digest.update(content)


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as content:
        while piece := content.read(_PIECE_BYTES):
            digest.update(piece)
    return digest.hexdigest()
