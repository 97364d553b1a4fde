"""Bugs, planted to see that they are found: each is what somebody could write, and most tests would not notice."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final

from eyasd.core.bundle import MANIFEST
from eyasd.core.datasets import HEADER, Blob
from eyasd.core.errors import StorageFailed
from eyasd.registry.blobs import Blobs
from eyasd.registry.bundles import Bundles
from eyasd.registry.datasets import DatasetLimits, Datasets
from eyasd.registry.models import Models
from eyasd.storage.cache import ObjectCache
from eyasd.storage.local import LocalStore
from faults.crash.shim import Action


@dataclass(frozen=True)
class Mutant:
    """A bug.

    Attributes:
        scenario: in which it must be found.
        plant: changes the code of this process.
        action: that brings it out; None where no crash does, but the order of the calls.
    """

    scenario: str
    plant: Callable[[], None]
    action: Action | None


def _in_place() -> None:
    """A file is written where it is read."""

    def replace(self: LocalStore, key: str, content: BinaryIO) -> None:
        path = self._root / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.read())

    def create(self: LocalStore, key: str, content: BinaryIO) -> bool:
        new = not (self._root / key).exists()
        if new:
            replace(self, key, content)
        return new

    _plant(LocalStore, _replace=replace, _create=create)


def _alias_first() -> None:
    """The alias is moved as soon as the number is known."""
    publish = Models.publish

    def published(self: Models, model: str, folder: Path, job: str, attempt: int = 1) -> int:
        self.aliases.set(model, "production", self._claim(model, job, attempt), actor="test", reason="")
        return publish(self, model, folder, job, attempt)

    _plant(Models, publish=published)


def _manifest_first() -> None:
    """The manifest comes before the files that it names."""
    write = Bundles.write

    def written(self: Bundles, model: str, version: int, folder: Path) -> None:
        self._store.create(f"{model}/{version}/{MANIFEST}", (folder / MANIFEST).read_bytes())
        write(self, model, version, folder)

    _plant(Bundles, write=written)


def _swallowed() -> None:
    """A full disk is nothing to trouble a caller with."""
    replace = LocalStore.write_file

    def replaced(self: LocalStore, key: str, path: Path) -> None:
        with suppress(StorageFailed):
            replace(self, key, path)

    _plant(LocalStore, write_file=replaced)


def _sealed_first() -> None:
    """The version of a dataset is made as soon as its list of files is there."""
    put = Blobs.put

    def kept(self: Blobs, blob: Blob, content: bytes) -> None:
        put(self, blob, content)
        if content.startswith(HEADER):
            Datasets(self, DatasetLimits(max_bytes=10**9, max_files=1000)).create("photos", blob, "test")

    def nothing(self: Datasets, manifest: Blob) -> None:
        """Misses nothing."""

    _plant(Blobs, put=kept)
    _plant(Datasets, _refuse_missing=nothing)


def _record_first() -> None:
    """The index knows a pack before the pack has its name."""

    def published(self: ObjectCache, draft: Path, size_bytes: int) -> int:
        pack = self._index.add_pack(size_bytes)
        self._index._base.execute("COMMIT")
        self._index._base.execute("BEGIN IMMEDIATE")
        draft.rename(self._path(pack))
        return pack

    _plant(ObjectCache, _publish=published)


def _unflushed() -> None:
    """Files get their names before their content is on the disk."""

    def nothing(descriptor: int) -> None:
        """Flushes nothing."""

    os.fsync = nothing  # type: ignore[assignment]


def _uncommitted() -> None:
    """A row is somewhere on its way to the disk when a caller is told of it."""
    connect = sqlite3.connect

    def connected(*of: Any, **options: Any) -> sqlite3.Connection:
        class Careless(sqlite3.Connection):
            def execute(self, sql: str, *values: Any) -> sqlite3.Cursor:
                return super().execute(sql.replace("synchronous = FULL", "synchronous = OFF"), *values)

        return connect(*of, **options, factory=Careless)

    sqlite3.dbapi2.connect = connected  # type: ignore[assignment]


def _checkpoint_in_place() -> None:
    from eyasd.training import durable

    durable.write = lambda path, content: path.write_bytes(content) and None  # type: ignore[assignment]


def _plant(kind: type, **methods: object) -> None:
    for name, method in methods.items():
        setattr(kind, name, method)


MUTANTS: Final[dict[str, Mutant]] = {
    "files are written in place": Mutant("publish a version", _in_place, Action.TORN),
    "records are written in place": Mutant("move aliases and traffic", _in_place, Action.KILL),
    "the alias moves before the files are there": Mutant("publish a version", _alias_first, Action.KILL),
    "the manifest comes before the files": Mutant("publish a version", _manifest_first, Action.KILL),
    "a full disk is swallowed": Mutant("publish a version", _swallowed, Action.ENOSPC),
    "a dataset is sealed before its content is there": Mutant("upload a dataset", _sealed_first, Action.KILL),
    "the index comes before the pack": Mutant("keep fetched objects", _record_first, Action.KILL),
    "a job is told of before it is on the disk": Mutant("submit, claim, record and end a job", _uncommitted, None),
    "names come before flushes": Mutant("publish a version", _unflushed, None),
    "the checkpoint is written in place": Mutant("write a checkpoint", _checkpoint_in_place, Action.TORN),
}
