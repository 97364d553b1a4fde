"""Fetched objects on a local disk, by their content, which jobs share; bounded in size.

Small objects lie side by side in packs, as a file of its own for each would cost more than it holds; a large one is a pack by
itself. An index (SQLite) says which content lies where, which content an object of a bucket had at which version, and who uses
which pack. A pack is written under a draft's name, flushed, renamed, and only then in the index; so a killed process leaves
nothing that anybody takes for whole. The draft of a large object keeps its finished parts, each with its digest, for whoever goes
on. Who uses a pack holds a lock, in the kernel's sense, so that a crash frees what it used. Packs that nobody uses go, the least
recently used first, when room is needed. Knows bytes, not buckets.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import secrets
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Final

from eyasd.core import room
from eyasd.core.errors import StorageFailed

_INDEX: Final = "index-1.sqlite"
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS packs (id INTEGER PRIMARY KEY AUTOINCREMENT, bytes INTEGER NOT NULL, used INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS pieces (
    sha256 BLOB PRIMARY KEY, pack INTEGER NOT NULL, start INTEGER NOT NULL, bytes INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS pieces_of_pack ON pieces (pack);
CREATE TABLE IF NOT EXISTS seen (object BLOB PRIMARY KEY, sha256 BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS uses (user TEXT NOT NULL, pack INTEGER NOT NULL, PRIMARY KEY (user, pack)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS drafts (object BLOB PRIMARY KEY, bytes INTEGER NOT NULL, used INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS parts (
    object BLOB NOT NULL, start INTEGER NOT NULL, sha256 BLOB NOT NULL, PRIMARY KEY (object, start)) WITHOUT ROWID;
"""
_TICK: Final = "(SELECT coalesce(max(used), 0) + 1 FROM (SELECT used FROM packs UNION ALL SELECT used FROM drafts))"
_FULL: Final = (errno.ENOSPC, errno.EDQUOT)
_AT_ONCE: Final = 500
_WAIT_SECONDS: Final = 60
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
            self._index = sqlite3.connect(folder / _INDEX, timeout=_WAIT_SECONDS, isolation_level=None)
            self._index.execute("PRAGMA journal_mode = WAL")
            self._index.execute("PRAGMA synchronous = NORMAL")  # what a power cut undoes of it is fetched again
            self._index.executescript(_SCHEMA)
            with self._alone():
                self._sweep()
        except OSError as error:
            raise StorageFailed(
                f"The folder of fetched data cannot be used: {room.told(error, folder)}. Check training.fetched_dir."
            ) from error
        except sqlite3.Error as error:
            raise StorageFailed(
                f"The index of fetched data cannot be used ({self._said(error)}): free its disk, or empty training.fetched_dir."
            ) from error

    def close(self) -> None:
        """Closes the index; what is used stays in use."""
        self._index.close()

    def release(self) -> None:
        """Uses nothing any more."""
        with self._alone():
            self._index.execute("DELETE FROM uses WHERE user = ?", (self._user,))

    def find(self, objects: Sequence[bytes]) -> list[Piece | None]:
        """Returns where the content of each object lies, and uses it from now on; None where it has to be fetched."""
        found: dict[bytes, tuple[int, int, int, bytes]] = {}
        with self._alone():
            for first in range(0, len(objects), _AT_ONCE):
                some = objects[first : first + _AT_ONCE]
                marks = ", ".join("?" * len(some))
                for object_, *where in self._index.execute(
                    "SELECT object, pack, start, bytes, sha256 FROM seen JOIN pieces USING (sha256) "  # noqa: S608 - of marks alone
                    f"WHERE object IN ({marks})",
                    some,
                ):
                    found[object_] = tuple(where)
            whole = {pack: path for pack in {where[0] for where in found.values()} if (path := self._whole(pack)) is not None}
            self._use(whole)
        return [
            Piece(whole[found[one][0]], found[one][1], found[one][2], found[one][3].hex())
            if one in found and found[one][0] in whole
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
                sizes = [len(content) for content in new.values()]
                with self._alone():
                    self._make_room(sum(sizes))
                    pack = self._publish(draft, sum(sizes))
                    starts = accumulate(sizes, initial=0)
                    rows = [(digest, pack, start, size) for digest, start, size in zip(new, starts, sizes, strict=False)]
                    self._index.executemany("INSERT OR REPLACE INTO pieces VALUES (?, ?, ?, ?)", rows)
                    self._index.executemany(
                        "INSERT OR REPLACE INTO seen VALUES (?, ?)", [(one, digest) for one, _, digest in contents]
                    )
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
        with contextlib.closing(_Lock(path)) as lock:
            while not lock.taken():
                check()
                time.sleep(_LOOK_SECONDS)
            with self._alone():
                self._index.execute("DELETE FROM drafts WHERE object = ?", (object_,))
                self._make_room(size_bytes)
                self._index.execute(f"INSERT INTO drafts VALUES (?, ?, {_TICK})", (object_, size_bytes))  # noqa: S608
            self._with_room(lambda: os.posix_fallocate(lock.descriptor, 0, size_bytes))
            yield Draft(self, object_, size_bytes, path, lock.descriptor)

    @contextlib.contextmanager
    def turn(self, name: str, check: Callable[[], None]) -> Iterator[None]:
        """Waits until no other process fetches the same; `check` is called meanwhile, and may raise."""
        number = int.from_bytes(hashlib.sha256(name.encode(errors="surrogatepass")).digest()[:4]) % _TURNS
        with contextlib.closing(_Lock(self._folder / f"turn-{number}")) as lock:
            while not lock.taken():
                check()
                time.sleep(_LOOK_SECONDS)
            yield

    def parts(self, object_: bytes) -> dict[int, bytes]:
        """Returns the SHA-256 of each finished part of a draft, by where it begins."""
        return dict(self._index.execute("SELECT start, sha256 FROM parts WHERE object = ?", (object_,)))

    def note_part(self, object_: bytes, start: int, digest: bytes) -> None:
        """Notes that a part of a draft is on the disk."""
        with self._index_told():
            self._index.execute("INSERT OR REPLACE INTO parts VALUES (?, ?, ?)", (object_, start, digest))

    def forget_parts(self, object_: bytes) -> None:
        """Notes that no part of a draft is worth anything."""
        with self._index_told():
            self._index.execute("DELETE FROM parts WHERE object = ?", (object_,))

    def publish_draft(self, object_: bytes, path: Path, size_bytes: int, digest: bytes) -> None:
        """Makes a pack of the draft of a large object, whose SHA-256 that is."""
        with self._alone():
            pack = self._publish(path, size_bytes)
            self._index.execute("INSERT OR REPLACE INTO pieces VALUES (?, ?, 0, ?)", (digest, pack, size_bytes))
            self._index.execute("INSERT OR REPLACE INTO seen VALUES (?, ?)", (object_, digest))
            self._forget_draft(object_)

    def _publish(self, draft: Path, size_bytes: int) -> int:
        """Gives a flushed draft the name of a pack, in the index too; to be called alone."""
        pack = self._index.execute(f"INSERT INTO packs (bytes, used) VALUES (?, {_TICK})", (size_bytes,)).lastrowid or 0  # noqa: S608
        draft.rename(self._path(pack))
        descriptor = os.open(self._folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        self._index.execute("INSERT OR IGNORE INTO uses VALUES (?, ?)", (self._user, pack))
        return pack

    def _use(self, packs: Sequence[int] | dict[int, Path]) -> None:
        (tick,) = self._index.execute(f"SELECT {_TICK}").fetchone()
        self._index.executemany("UPDATE packs SET used = ? WHERE id = ?", [(tick, pack) for pack in packs])
        self._index.executemany("INSERT OR IGNORE INTO uses VALUES (?, ?)", [(self._user, pack) for pack in packs])

    def _whole(self, pack: int) -> Path | None:
        """Returns the path of a pack; None, and it is forgotten, where somebody has removed or cut it."""
        (size_bytes,) = self._index.execute("SELECT bytes FROM packs WHERE id = ?", (pack,)).fetchone() or (-1,)
        path = self._path(pack)
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_size == size_bytes:
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
                if error.errno not in _FULL:
                    raise StorageFailed(
                        f"Fetched data cannot be kept: {error.strerror}. Check the disk of training.fetched_dir."
                    ) from error
                with self._alone():
                    removed = self._remove_idle()
                if not removed:
                    raise StorageFailed(
                        f"The disk of training.fetched_dir is full ({room.room(self._folder)}), and jobs use all that was fetched: "
                        "free some of it, or wait."
                    ) from error

    def _make_room(self, size_bytes: int) -> None:
        """Removes what was not used for longest until there is that much room below the bound; to be called alone."""
        while (kept := self._kept_bytes()) + size_bytes > self._max_bytes:
            if not self._remove_idle():
                raise StorageFailed(
                    f"Fetching needs {size_bytes / 1e9:.2f} GB, and jobs use {kept / 1e9:.2f} GB of training.fetched_bytes = "
                    f"{self._max_bytes / 1e9:g} GB: raise it, or wait for them."
                )

    def _kept_bytes(self) -> int:
        (kept,) = self._index.execute(
            "SELECT (SELECT coalesce(sum(bytes), 0) FROM packs) + (SELECT coalesce(sum(bytes), 0) FROM drafts)"
        ).fetchone()
        return int(kept)

    def _remove_idle(self) -> bool:
        """Removes what was not used for longest and is not in use; returns whether there was any. To be called alone."""
        self._forget_dead_users()
        idle = self._index.execute(
            "SELECT used, id, NULL FROM packs WHERE id NOT IN (SELECT pack FROM uses) UNION ALL "
            "SELECT used, NULL, object FROM drafts ORDER BY used"
        ).fetchall()
        for _, pack, object_ in idle:
            if pack is not None:
                self._remove(pack)
                return True
            if _removed(self._folder / f"{object_.hex()}.draft"):
                self._forget_draft(object_)
                return True
        return False

    def _remove(self, pack: int) -> None:
        self._index.execute("DELETE FROM seen WHERE sha256 IN (SELECT sha256 FROM pieces WHERE pack = ?)", (pack,))
        self._index.execute("DELETE FROM pieces WHERE pack = ?", (pack,))
        self._index.execute("DELETE FROM uses WHERE pack = ?", (pack,))
        self._index.execute("DELETE FROM packs WHERE id = ?", (pack,))
        self._path(pack).unlink(missing_ok=True)

    def _forget_draft(self, object_: bytes) -> None:
        self._index.execute("DELETE FROM drafts WHERE object = ?", (object_,))
        self._index.execute("DELETE FROM parts WHERE object = ?", (object_,))

    def _sweep(self) -> None:
        """Removes packs that came into no index, and drafts of small objects whose writers are dead; to be called alone."""
        known = {f"{pack}.pack" for (pack,) in self._index.execute("SELECT id FROM packs")}
        for path in self._folder.iterdir():
            if path.suffix == ".pack" and path.name not in known:
                path.unlink(missing_ok=True)
            elif path.suffix == ".draft" and path.name.startswith("."):
                _removed(path)
        self._forget_dead_users()

    def _forget_dead_users(self) -> None:
        for path in self._folder.glob("*.user"):
            if path.stem != self._user and _removed(path):
                self._index.execute("DELETE FROM uses WHERE user = ?", (path.stem,))

    def _hold(self) -> None:
        """Shows others that this user's process lives, for as long as it does: nobody closes the descriptor."""
        lock = _Lock(self._folder / f"{self._user}.user")
        while not lock.taken():
            if lock.busy:  # it is held already, by this process or by another one of its job
                return lock.close()
        return None

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Keeps other processes from changing the index; all is done, or nothing."""
        with self._index_told():
            try:
                self._index.execute("BEGIN IMMEDIATE")
                yield
                self._index.execute("COMMIT")
            finally:
                if self._index.in_transaction:
                    self._index.execute("ROLLBACK")

    def _said(self, error: sqlite3.Error) -> str:
        return room.told_by_sqlite(error, str(error), self._folder)

    @contextlib.contextmanager
    def _index_told(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise StorageFailed(
                f"The index of fetched data cannot be used ({self._said(error)}): free the disk of "
                "training.fetched_dir, or empty that folder."
            ) from error


class Draft:
    """A large object that is being fetched, by this process alone; its parts may be written by several threads."""

    def __init__(self, cache: ObjectCache, object_: bytes, size_bytes: int, path: Path, descriptor: int) -> None:
        self._cache, self._object, self._size_bytes, self._path, self._descriptor = cache, object_, size_bytes, path, descriptor

    def finished(self, part_bytes: int) -> set[int]:
        """Returns where the parts begin that an earlier process has finished, as far as the disk still says so."""
        noted = self._cache.parts(self._object)
        return {start for start, digest in noted.items() if hashlib.sha256(self._read(start, part_bytes)).digest() == digest}

    def write(self, start: int, content: bytes) -> bytes:
        """Writes a part to the disk, and returns its SHA-256; safe in any thread."""
        _write(self._descriptor, [content], start)
        return hashlib.sha256(content).digest()

    def note(self, start: int, digest: bytes) -> None:
        """Notes a part that was written."""
        self._cache.note_part(self._object, start, digest)

    def read_back(self, part_bytes: int) -> bytes:
        """Reads all of it back, and returns its SHA-256.

        Raises:
            StorageFailed: the disk does not give what was written to it.
        """
        noted, whole = self._cache.parts(self._object), hashlib.sha256()
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
        self._cache.forget_parts(self._object)

    def _read(self, start: int, part_bytes: int) -> bytes:
        return os.pread(self._descriptor, min(part_bytes, self._size_bytes - start), start)


class _Lock:
    """A lock on a file, which is made if need be.

    Attributes:
        descriptor: of the file.
        busy: whether somebody else held it when it was tried.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.descriptor = -1
        self.busy = False

    def taken(self) -> bool:
        """Tries to take it; returns whether it is held now, and is that of the file of that name."""
        self.close()
        self.descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return os.path.samestat(os.fstat(self.descriptor), self._path.stat())  # else it was published or removed meanwhile
        except BlockingIOError:
            self.busy = True
        except FileNotFoundError:
            pass
        return False

    def close(self) -> None:
        """Gives it back."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1


def _removed(path: Path) -> bool:
    """Removes a file unless a process holds the lock on it; returns whether it is gone."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink(missing_ok=True)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True


def _write(descriptor: int, contents: Sequence[bytes], start: int = 0) -> None:
    """Writes contents one after the other, all of them, and flushes them to the disk."""
    left = memoryview(b"".join(contents))  # a call for each small one takes longer than that
    while left:
        written = os.pwrite(descriptor, left, start)
        start, left = start + written, left[written:]
    os.fdatasync(descriptor)
