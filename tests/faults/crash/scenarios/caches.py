"""What jobs of a machine share: fetched objects, and decoded pictures. Both may lose what they hold, and never hold it half."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np

from eyasd.storage.cache import ObjectCache, object_id
from eyasd.training.data.shelf import Shelf
from eyasd.training.journal import Journal
from faults.crash.scenario import Ack, Scenario

_SMALL = {"a": b"small", "b": b"also small"}
_LARGE = b"large " * 1000
_PART = 2500
_IMAGES = np.arange(2 * 4 * 4 * 3, dtype=np.uint8).reshape(2, 4, 4, 3)


def _known(name: str) -> bytes:
    return object_id("s3://photos", name, "1", 1)


class Fetched(Scenario[ObjectCache]):
    """A pack of small objects, and a large one in parts."""

    in_trainer = True
    passing = ("index-1.sqlite-wal",)  # what it forgets is fetched again

    def lay(self, root: Path) -> None:
        (root / "fetched").mkdir()

    def open(self, root: Path) -> ObjectCache:
        return ObjectCache(root / "fetched", 10**6, "job")

    def act(self, opened: ObjectCache, ack: Ack) -> None:
        if None in opened.find([_known(name) for name in _SMALL]):
            opened.put([(_known(name), content, hashlib.sha256(content).digest()) for name, content in _SMALL.items()])
        ack("small")
        large = _known("large")
        if opened.find([large])[0] is None:
            with opened.draft(large, len(_LARGE), lambda: None) as draft:
                finished = draft.finished(_PART)
                for start in range(0, len(_LARGE), _PART):
                    if start not in finished:
                        draft.note(start, draft.write(start, _LARGE[start : start + _PART]))
                draft.publish(draft.read_back(_PART))
        ack("large")

    def check(self, root: Path, acked: list[str]) -> Iterator[str]:
        cache = self.open(root)
        contents = {**_SMALL, "large": _LARGE}
        for (name, content), piece in zip(contents.items(), cache.find([_known(name) for name in contents]), strict=True):
            if piece is None:
                if ("large" if name == "large" else "small") in acked:
                    yield f"{name} was kept, and is gone"
            elif piece.path.read_bytes()[piece.start : piece.start + piece.size_bytes] != content:
                yield f"{name} is not what was kept"
        cache.close()

    def settled(self, root: Path) -> Iterator[str]:
        yield from self.check(root, ["small", "large"])
        with closing(sqlite3.connect(root / "fetched" / "index-1.sqlite")) as index:
            packs = index.execute("SELECT count(*) FROM packs").fetchone()[0]
        if (files := len(list((root / "fetched").glob("*.pack")))) != packs or packs != 2:
            yield f"there are {files} packs, and the index has {packs}"
        yield from (f"{draft.name} is left" for draft in (root / "fetched").glob("*.draft"))


class Decoded(Scenario[Shelf]):
    """A shard of decoded pictures, and a note."""

    in_trainer = True

    def lay(self, root: Path) -> None:
        (root / "cache").mkdir()

    def open(self, root: Path) -> Shelf:
        return Shelf(root / "cache", 10**6)

    def act(self, opened: Shelf, ack: Ack) -> None:
        if opened.find("shard", 4) is None:
            with opened.turn("work", Journal(Path("/dev/null"), {"decode": 1.0})) as draft:
                draft.images(2, 4)[:] = _IMAGES
                draft.publish("shard", b"index")
        ack("shard")
        opened.write("note", b"note")
        ack("note")

    def check(self, root: Path, acked: list[str]) -> Iterator[str]:
        shelf = self.open(root)
        shard, note = shelf.find("shard", 4), shelf.read("note")
        if shard is None and "shard" in acked:
            yield "the shard is gone"
        if shard is not None and (shard.index != b"index" or not np.array_equal(shard.images, _IMAGES)):
            yield "the shard is another"
        if note not in (None, b"note") or (note is None and "note" in acked):
            yield f"the note is {note!r}"

    def settled(self, root: Path) -> Iterator[str]:
        yield from self.check(root, ["shard", "note"])
        files = {path.name for path in (root / "cache").iterdir() if path.name != "lock"}
        if files != {"shard.pictures", "note.note"}:
            yield f"there are {sorted(files)}"
