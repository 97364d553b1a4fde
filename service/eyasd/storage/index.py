"""What lies where in the folder of fetched objects, and who uses it, in SQLite: several processes change it, any may be killed.

    packs, pieces   which content lies in which pack, and where there
    seen            which content an object of a bucket had at a version
    uses            which user reads which pack
    drafts, parts   the large objects that are being fetched, and the SHA-256 of each part that is on the disk

Knows no files: what it says of a pack or a draft is for `cache` to hold against the disk. What a power cut undoes of it is fetched
again.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from typing import Final

from eyasd.core import room
from eyasd.core.errors import StorageFailed

_NAME: Final = "index-1.sqlite"
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
_AT_ONCE: Final = 500
_WAIT_SECONDS: Final = 60


@dataclass(frozen=True, slots=True)
class Located:
    """Where content lies: in which pack, from which byte on, how many; and its SHA-256."""

    pack: int
    start: int
    size_bytes: int
    sha256: bytes


@dataclass(frozen=True, slots=True)
class Idle:
    """What nobody uses: a pack, or the draft of an object."""

    pack: int | None
    object: bytes | None


class Index:
    """The index, as one user sees it; of one thread. What changes it is called within `alone`, but for the parts of a draft."""

    def __init__(self, folder: Path, user: str) -> None:
        """Opens it, and makes it if need be.

        Args:
            folder: of the cache.
            user: a name without odd characters.

        Raises:
            StorageFailed: it cannot be used.
        """
        self._folder, self._user = folder, user
        try:
            self._base = sqlite3.connect(folder / _NAME, timeout=_WAIT_SECONDS, isolation_level=None)
            self._base.execute("PRAGMA journal_mode = WAL")
            self._base.execute("PRAGMA synchronous = NORMAL")
            self._base.executescript(_SCHEMA)
        except sqlite3.Error as error:
            raise StorageFailed(
                f"The index of fetched data cannot be used ({self._said(error)}): free its disk, or empty training.fetched_dir."
            ) from error

    def close(self) -> None:
        """Closes it; what is used stays in use."""
        self._base.close()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keeps other processes from changing it; all is done, or nothing. Raises StorageFailed."""
        with self._told():
            try:
                self._base.execute("BEGIN IMMEDIATE")
                yield
                self._base.execute("COMMIT")
            finally:
                if self._base.in_transaction:
                    self._base.execute("ROLLBACK")

    def locate(self, objects: Sequence[bytes]) -> dict[bytes, Located]:
        """Returns where the content of objects lies, of those of which that is known."""
        found = {}
        for first in range(0, len(objects), _AT_ONCE):
            some = objects[first : first + _AT_ONCE]
            marks = ", ".join("?" * len(some))
            for object_, *where in self._base.execute(
                "SELECT object, pack, start, bytes, sha256 FROM seen JOIN pieces USING (sha256) "  # noqa: S608 - of marks alone
                f"WHERE object IN ({marks})",
                some,
            ):
                found[object_] = Located(*where)
        return found

    def packs(self) -> set[int]:
        """Returns all packs."""
        return {pack for (pack,) in self._base.execute("SELECT id FROM packs")}

    def pack_bytes(self, pack: int) -> int | None:
        """Returns how large a pack is; None where there is no such pack."""
        (size_bytes,) = self._base.execute("SELECT bytes FROM packs WHERE id = ?", (pack,)).fetchone() or (None,)
        return size_bytes

    def add_pack(self, size_bytes: int) -> int:
        """Returns the number of a new pack, which the user uses."""
        added = self._base.execute(f"INSERT INTO packs (bytes, used) VALUES (?, {_TICK})", (size_bytes,))  # noqa: S608
        pack = added.lastrowid or 0
        self._base.execute("INSERT OR IGNORE INTO uses VALUES (?, ?)", (self._user, pack))
        return pack

    def add_contents(self, pack: int, sizes: dict[bytes, int], seen: Iterable[tuple[bytes, bytes]]) -> None:
        """Notes what lies in a pack.

        Args:
            pack: its number.
            sizes: bytes of each content by its SHA-256, in the order in which they lie.
            seen: objects, and the SHA-256 of each.
        """
        starts = accumulate(sizes.values(), initial=0)
        rows = [(digest, pack, start, size) for (digest, size), start in zip(sizes.items(), starts, strict=False)]
        self._base.executemany("INSERT OR REPLACE INTO pieces VALUES (?, ?, ?, ?)", rows)
        self._base.executemany("INSERT OR REPLACE INTO seen VALUES (?, ?)", seen)

    def forget_pack(self, pack: int) -> None:
        """Removes a pack, and what lies in it."""
        self._base.execute("DELETE FROM seen WHERE sha256 IN (SELECT sha256 FROM pieces WHERE pack = ?)", (pack,))
        for table, column in (("pieces", "pack"), ("uses", "pack"), ("packs", "id")):
            self._base.execute(f"DELETE FROM {table} WHERE {column} = ?", (pack,))  # noqa: S608 - of the names above alone

    def use(self, packs: Iterable[int]) -> None:
        """Notes that the user uses packs, from now on."""
        (tick,) = self._base.execute(f"SELECT {_TICK}").fetchone()
        for pack in packs:
            self._base.execute("UPDATE packs SET used = ? WHERE id = ?", (tick, pack))
            self._base.execute("INSERT OR IGNORE INTO uses VALUES (?, ?)", (self._user, pack))

    def release(self, user: str) -> None:
        """Notes that a user uses nothing any more."""
        self._base.execute("DELETE FROM uses WHERE user = ?", (user,))

    def kept_bytes(self) -> int:
        """Returns how many bytes all packs and drafts take."""
        (kept,) = self._base.execute(
            "SELECT (SELECT coalesce(sum(bytes), 0) FROM packs) + (SELECT coalesce(sum(bytes), 0) FROM drafts)"
        ).fetchone()
        return int(kept)

    def idle(self) -> list[Idle]:
        """Returns what nobody uses, the least recently used first; a draft is among it even if somebody is at it."""
        rows = self._base.execute(
            "SELECT used, id, NULL FROM packs WHERE id NOT IN (SELECT pack FROM uses) UNION ALL "
            "SELECT used, NULL, object FROM drafts ORDER BY used"
        ).fetchall()
        return [Idle(pack, object_) for _, pack, object_ in rows]

    def add_draft(self, object_: bytes, size_bytes: int) -> None:
        """Notes that a large object is being fetched."""
        self._base.execute(f"INSERT INTO drafts VALUES (?, ?, {_TICK})", (object_, size_bytes))  # noqa: S608

    def take_draft(self, object_: bytes) -> None:
        """Notes that a large object is not being fetched for now; its parts stay."""
        self._base.execute("DELETE FROM drafts WHERE object = ?", (object_,))

    def forget_draft(self, object_: bytes) -> None:
        """Removes a draft, and its parts."""
        self.take_draft(object_)
        self.forget_parts(object_)

    def parts(self, object_: bytes) -> dict[int, bytes]:
        """Returns the SHA-256 of each finished part of a draft, by where it begins. Raises StorageFailed."""
        with self._told():
            return dict(self._base.execute("SELECT start, sha256 FROM parts WHERE object = ?", (object_,)))

    def note_part(self, object_: bytes, start: int, digest: bytes) -> None:
        """Notes that a part of a draft is on the disk. Raises StorageFailed."""
        with self._told():
            self._base.execute("INSERT OR REPLACE INTO parts VALUES (?, ?, ?)", (object_, start, digest))

    def forget_parts(self, object_: bytes) -> None:
        """Notes that no part of a draft is worth anything. Raises StorageFailed."""
        with self._told():
            self._base.execute("DELETE FROM parts WHERE object = ?", (object_,))

    def _said(self, error: sqlite3.Error) -> str:
        return room.told_by_sqlite(error, str(error), self._folder)

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise StorageFailed(
                f"The index of fetched data cannot be used ({self._said(error)}): free the disk of "
                "training.fetched_dir, or empty that folder."
            ) from error
