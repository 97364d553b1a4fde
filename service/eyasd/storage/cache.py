"""Fetched objects on a local disk, by their content, which jobs share; bounded in size.

Small objects lie side by side in packs, as a file of its own for each would cost more than it holds; a large one is a pack by
itself. The index (`storage.index`) says which content lies where, and who uses which pack. A pack is written under a draft's name,
flushed, renamed, and only then in the index; so a killed process leaves nothing that anybody takes for whole. The draft of a large
object keeps its finished parts, each with its digest, for whoever goes on. Who uses a pack holds a lock, in the kernel's sense, so
that a crash frees what it used. Packs that nobody uses go, the least recently used first, when room is needed. Knows bytes, not
buckets.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from eyasd.core import room
from eyasd.core.errors import StorageFailed
from eyasd.core.locks import Lock, removed
from eyasd.storage.index import Index

_LOOK_SECONDS: Final = 0.1
_TURNS: Final = 64


@dataclass(frozen=True, slots=True)
class Piece:
    """Where the content of an object lies.

    Attributes:
        path: of the pack.
        start: where it begins there, in bytes.
        size_bytes: of the content.
        sha256: of the content, hexadecimal.
    """

    path: Path
    start: int
    size_bytes: int
    sha256: str


def object_id(url: str, key: str, version: str, size_bytes: int) -> bytes:
    """Returns what an object of a bucket is known by; another content has another."""
    return hashlib.blake2b("\0".join((url, key, version, str(size_bytes))).encode(errors="surrogatepass"), digest_size=16).digest()


class ObjectCache:
    """The cache, as one user of one process sees it; of one thread."""

    def __init__(self, folder: Path, max_bytes: float, user: str) -> None:
        """Opens the folder, makes it if need be, and removes what killed processes left half.

        Args:
            folder: on a local disk.
            max_bytes: of all packs and drafts; a pack that is being written comes on top.
            user: whoever opens it again under this name goes on using what it used; until its process ends, or it is released.

        Raises:
            StorageFailed: the folder cannot be used.
        """
        self._folder, self._max_bytes = folder, max_bytes
        self._user = hashlib.sha256(user.encode(errors="surrogatepass")).hexdigest()[:32]
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._hold()
            self._index = Index(folder, self._user)
            with self._index.alone():
                self._sweep()
        except OSError as error:
            raise StorageFailed(
                f"The folder of fetched data cannot be used: {room.told(error, folder)}. Check training.fetched_dir."
            ) from error

    def close(self) -> None:
        """Closes the index; what is used stays in use."""
        self._index.close()

    def release(self) -> None:
        """Uses nothing any more."""
        with self._index.alone():
            self._index.release(self._user)

    def find(self, objects: Sequence[bytes]) -> list[Piece | None]:
        """Returns where the content of each object lies, and uses it from now on; None where it has to be fetched."""
        with self._index.alone():
            found = self._index.locate(objects)
            whole = {pack: path for pack in {where.pack for where in found.values()} if (path := self._whole(pack)) is not None}
            self._index.use(whole)
        return [
            Piece(whole[where.pack], where.start, where.size_bytes, where.sha256.hex())
            if (where := found.get(one)) is not None and where.pack in whole
            else None
            for one in objects
        ]

    def put(self, contents: Sequence[tuple[bytes, bytes, bytes]]) -> None:
        """Keeps the contents of objects together in a pack, and uses it.

        Args:
            contents: of each object what it is known by, its content, and the content's SHA-256.

        Raises:
            StorageFailed: there is no room.
        """
        draft = self._folder / f".{secrets.token_hex(8)}.draft"
        try:
            new = {digest: content for _, content, digest in contents}
            with draft.open("xb") as file:
                fcntl.flock(file, fcntl.LOCK_EX)  # others see by it that this one is alive
                self._with_room(lambda: _write(file.fileno(), list(new.values())))
                sizes = {digest: len(content) for digest, content in new.items()}
                with self._index.alone():
                    self._make_room(sum(sizes.values()))
                    pack = self._publish(draft, sum(sizes.values()))
                    self._index.add_contents(pack, sizes, [(one, digest) for one, _, digest in contents])
        finally:
            draft.unlink(missing_ok=True)

    @contextlib.contextmanager
    def draft(self, object_: bytes, size_bytes: int, check: Callable[[], None]) -> Iterator[Draft]:
        """Waits until no other process fetches a large object, and gives its draft, with the parts that were finished before.

        Args:
            object_: what it is known by.
            size_bytes: of all of it.
            check: is called while it waits, and may raise.

        Raises:
            StorageFailed: there is no room.
        """
        path = self._folder / f"{object_.hex()}.draft"
        with contextlib.closing(Lock(path)) as lock:
            while not lock.taken():
                check()
                time.sleep(_LOOK_SECONDS)
            with self._index.alone():
                self._index.take_draft(object_)
                self._make_room(size_bytes)
                self._index.add_draft(object_, size_bytes)
            self._with_room(lambda: os.posix_fallocate(lock.descriptor, 0, size_bytes))
            yield Draft(self, self._index, object_, size_bytes, path, lock.descriptor)

    @contextlib.contextmanager
    def turn(self, name: str, check: Callable[[], None]) -> Iterator[None]:
        """Waits until no other process fetches the same; `check` is called meanwhile, and may raise."""
        number = int.from_bytes(hashlib.sha256(name.encode(errors="surrogatepass")).digest()[:4]) % _TURNS
        with contextlib.closing(Lock(self._folder / f"turn-{number}")) as lock:
            while not lock.taken():
                check()
                time.sleep(_LOOK_SECONDS)
            yield

    def publish_draft(self, object_: bytes, path: Path, size_bytes: int, digest: bytes) -> None:
        """Makes a pack of the draft of a large object, whose SHA-256 that is."""
        with self._index.alone():
            pack = self._publish(path, size_bytes)
            self._index.add_contents(pack, {digest: size_bytes}, [(object_, digest)])
            self._index.forget_draft(object_)

    def _publish(self, draft: Path, size_bytes: int) -> int:
        """Gives a flushed draft the name of a pack, in the index too; to be called alone."""
        pack = self._index.add_pack(size_bytes)
        draft.rename(self._path(pack))
        descriptor = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        return pack

    def _whole(self, pack: int) -> Path | None:
        """Returns the path of a pack; None, and it is forgotten, where somebody has removed or cut it."""
        path = self._path(pack)
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_size == self._index.pack_bytes(pack):
                return path
        self._remove(pack)
        return None

    def _path(self, pack: int) -> Path:
        return self._folder / f"{pack}.pack"

    def _with_room(self, write: Callable[[], None]) -> None:
        """Writes; where the disk is full, what was not used for longest goes first."""
        while True:
            try:
                return write()
            except OSError as error:
                if error.errno not in room.FULL:
                    raise StorageFailed(
                        f"Fetched data cannot be kept: {error.strerror}. Check the disk of training.fetched_dir."
                    ) from error
                with self._index.alone():
                    removed = self._remove_idle()
                if not removed:
                    raise StorageFailed(
                        f"The disk of training.fetched_dir is full ({room.room(self._folder)}), and jobs use all that was fetched: "
                        "free some of it, or wait."
                    ) from error

    def _make_room(self, size_bytes: int) -> None:
        """Removes what was not used for longest until there is that much room below the bound; to be called alone."""
        while (kept := self._index.kept_bytes()) + size_bytes > self._max_bytes:
            if not self._remove_idle():
                raise StorageFailed(
                    f"Fetching needs {size_bytes / 1e9:.2f} GB, and jobs use {kept / 1e9:.2f} GB of training.fetched_bytes = "
                    f"{self._max_bytes / 1e9:g} GB: raise it, or wait for them."
                )

    def _remove_idle(self) -> bool:
        """Removes what was not used for longest and is not in use; returns whether there was any. To be called alone."""
        self._forget_dead_users()
        for idle in self._index.idle():
            if idle.pack is not None:
                self._remove(idle.pack)
                return True
            if idle.object is not None and removed(self._folder / f"{idle.object.hex()}.draft"):
                self._index.forget_draft(idle.object)
                return True
        return False

    def _remove(self, pack: int) -> None:
        self._index.forget_pack(pack)
        self._path(pack).unlink(missing_ok=True)

    def _sweep(self) -> None:
        """Removes packs that came into no index, and drafts of small objects whose writers are dead; to be called alone."""
        known = {f"{pack}.pack" for pack in self._index.packs()}
        for path in self._folder.iterdir():
            if path.suffix == ".pack" and path.name not in known:
                path.unlink(missing_ok=True)
            elif path.suffix == ".draft" and path.name.startswith("."):
                removed(path)
        self._forget_dead_users()

    def _forget_dead_users(self) -> None:
        for path in self._folder.glob("*.user"):
            if path.stem != self._user and removed(path):
                self._index.release(path.stem)

    def _hold(self) -> None:
        """Shows others that this user's process lives, for as long as it does: nobody closes the descriptor."""
        lock = Lock(self._folder / f"{self._user}.user")
        while not lock.taken():
            if lock.busy:  # it is held already, by this process or by another one of its job
                return lock.close()
        return None


class Draft:
    """A large object that is being fetched, by this process alone; its parts may be written by several threads."""

    def __init__(self, cache: ObjectCache, index: Index, object_: bytes, size_bytes: int, path: Path, descriptor: int) -> None:
        self._cache, self._index = cache, index
        self._object, self._size_bytes, self._path, self._descriptor = object_, size_bytes, path, descriptor

    def finished(self, part_bytes: int) -> set[int]:
        """Returns where the parts begin that an earlier process has finished, as far as the disk still says so."""
        noted = self._index.parts(self._object)
        return {start for start, digest in noted.items() if hashlib.sha256(self._read(start, part_bytes)).digest() == digest}

    def write(self, start: int, content: bytes) -> bytes:
        """Writes a part to the disk, and returns its SHA-256; safe in any thread."""
        _write(self._descriptor, [content], start)
        return hashlib.sha256(content).digest()

    def note(self, start: int, digest: bytes) -> None:
        """Notes a part that was written."""
        self._index.note_part(self._object, start, digest)

    def read_back(self, part_bytes: int) -> bytes:
        """Reads all of it back, and returns its SHA-256.

        Raises:
            StorageFailed: the disk does not give what was written to it.
        """
        noted, whole = self._index.parts(self._object), hashlib.sha256()
        for start in range(0, self._size_bytes, part_bytes):
            content = self._read(start, part_bytes)
            if hashlib.sha256(content).digest() != noted.get(start):
                raise StorageFailed("The disk of training.fetched_dir does not keep what is written to it: use another.")
            whole.update(content)
        return whole.digest()

    def publish(self, digest: bytes) -> None:
        """Makes it known by its SHA-256."""
        self._cache.publish_draft(self._object, self._path, self._size_bytes, digest)

    def discard(self) -> None:
        """Forgets which parts were finished."""
        self._index.forget_parts(self._object)

    def _read(self, start: int, part_bytes: int) -> bytes:
        return os.pread(self._descriptor, min(part_bytes, self._size_bytes - start), start)


def _write(descriptor: int, contents: Sequence[bytes], start: int = 0) -> None:
    """Writes contents one after the other, all of them, and flushes them to the disk."""
    left = memoryview(b"".join(contents))  # a call for each small one takes longer than that
    while left:
        written = os.pwrite(descriptor, left, start)
        start, left = start + written, left[written:]
    os.fdatasync(descriptor)
