"""Brings objects of a bucket into the cache: many at a time, each once, none half, none that was changed meanwhile.

What is there at the version that was listed is not fetched again. A small object is fetched whole, a large one in parts of which
several travel at a time; where a connection breaks, the next request goes on from there. What may pass is tried again, later and
later; then one sentence names the object.
"""

from __future__ import annotations

import hashlib
import random
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Final, Protocol, TypeVar

from eyasd.core.errors import BadDataset, StorageFailed
from eyasd.storage.cache import Draft, ObjectCache, Piece, object_id
from eyasd.storage.reading import Changed, Hitch, Object, Objects

# A server on the same machine answers hardly more beyond 16 at a time; the further away one is, the more have to be on the way.
_AT_ONCE: Final = 32
# A part is in memory until it is written; so is a pack.
PART_BYTES: Final = 8 * 1024**2
PACK_BYTES: Final = 16 * 1024**2
_AHEAD_BYTES: Final = 64 * 1024**2
# To hand an object of 10 KB to a thread, and its content back, takes as long as to check and keep it.
_BUNCH: Final = 16
_BUNCH_BYTES: Final = 1024**2
# Before each further try, in seconds, more or less by half; counted anew whenever something has come.
DELAYS: Final = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0)


_Known = tuple[bytes, Object]
_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


class Listener(Protocol):
    """Who hears of the progress, and may stop it by raising."""

    def check(self) -> None:
        """Raises where it shall stop."""
        ...

    def advance(self, fraction: float) -> None:
        """Takes how much is done, 0..1; raises where it shall stop."""
        ...


class _Stopped(Exception):
    """Another fetch has failed, or all shall stop."""


def find_objects(bucket: Objects, prefix: str, listener: Listener) -> list[Object]:
    """Returns what lies in a folder of a bucket, by key; "" is all of it.

    Raises:
        StorageFailed: the bucket cannot be read.
        BadDataset: it holds a key that cannot be read.
    """
    found: list[Object] = []

    def go_on() -> None:
        for one in bucket.find(prefix, found[-1].key if found else ""):
            if not one.key.endswith("/"):  # a folder, as consoles make them
                found.append(one)
                if len(found) % 1000 == 0:
                    listener.check()

    try:
        _tried(go_on, f"{bucket.url}/{prefix}", lambda: len(found), threading.Event(), "listed")
    except FileNotFoundError:
        raise StorageFailed(f"There is no bucket {bucket.url}: check its name, and the trainer's environment.") from None
    return sorted(found, key=lambda one: one.key)


def look_at(bucket: Objects, key: str) -> Object:
    """Returns an object as it is now. Raises FileNotFoundError, or as `find_objects`."""
    found: list[Object] = []
    _tried(lambda: found.append(bucket.look(key)), f"{bucket.url}/{key}", lambda: 0, threading.Event(), "looked at")
    return found[0]


def fetch(bucket: Objects, wanted: Sequence[Object], cache: ObjectCache, max_bytes: float, listener: Listener) -> list[Piece]:
    """Returns where the content of each object lies, in their order, and fetches what lies nowhere yet.

    Args:
        bucket: that holds them.
        wanted: as they were listed.
        cache: where they are kept; they are in use there when this returns.
        max_bytes: that the cache keeps.
        listener: hears of the progress.

    Raises:
        BadDataset: an object was changed or removed since it was listed, or is not what its SHA-256 says.
        StorageFailed: an object cannot be fetched, or kept.
    """
    total = sum(one.size_bytes for one in wanted)
    if total > max_bytes:
        raise StorageFailed(
            f"The dataset has {total / 1e9:.2f} GB, and training.fetched_bytes lets {max_bytes / 1e9:g} GB be fetched: raise it."
        )
    known = [object_id(bucket.url, one.key, one.version, one.size_bytes) for one in wanted]
    found = cache.find(known)
    if None in found:
        missing = {id_: one for id_, one, piece in zip(known, wanted, found, strict=True) if piece is None}
        there = total - sum(one.size_bytes for one in missing.values())
        with _Fetching(bucket, cache, listener, there, total) as fetching:
            fetching.small([(id_, one) for id_, one in missing.items() if one.size_bytes <= PART_BYTES])
            for id_, one in missing.items():
                if one.size_bytes > PART_BYTES:
                    fetching.large(id_, one)
        found = cache.find(known)
    pieces = [piece for piece in found if piece is not None]
    if len(pieces) < len(wanted):
        raise StorageFailed("What was fetched is gone again: leave the folder training.fetched_dir alone, and try again.")
    return pieces


class _Fetching:
    """One call of `fetch`: its threads, and how far they are."""

    def __init__(self, bucket: Objects, cache: ObjectCache, listener: Listener, done_bytes: int, total_bytes: int) -> None:
        self._bucket, self._cache, self._listener = bucket, cache, listener
        self._done_bytes, self._total_bytes = done_bytes, max(total_bytes, 1)
        self._stop = threading.Event()
        self._pool = ThreadPoolExecutor(_AT_ONCE, "fetch")

    def __enter__(self) -> _Fetching:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._pool.shutdown(cancel_futures=True)

    def small(self, objects: Sequence[tuple[bytes, Object]]) -> None:
        """Fetches objects whole, and keeps them in packs."""
        pack: list[tuple[bytes, bytes, bytes]] = []
        pack_bytes = 0
        for _, contents in self._ahead(_bunches(objects), _bytes_of, lambda bunch: [self._whole(*item) for item in bunch]):
            pack += contents
            pack_bytes += sum(len(content) for _, content, _ in contents)
            if pack_bytes >= PACK_BYTES:
                self._cache.put(pack)
                pack, pack_bytes = [], 0
        if pack:
            self._cache.put(pack)

    def large(self, id_: bytes, one: Object) -> None:
        """Fetches an object in parts, those apart that an earlier process has left."""
        with self._cache.draft(id_, one.size_bytes, self._listener.check) as draft:
            if self._cache.find([id_])[0] is not None:  # another process has fetched it while this one waited
                return
            finished = draft.finished(PART_BYTES)
            starts = [start for start in range(0, one.size_bytes, PART_BYTES) if start not in finished]
            self._done_bytes += min(len(finished) * PART_BYTES, one.size_bytes)
            parts = self._ahead(
                starts, lambda start: min(PART_BYTES, one.size_bytes - start), lambda start: self._part(one, start, draft)
            )
            for start, digest in parts:
                draft.note(start, digest)
            digest = draft.read_back(PART_BYTES)
            if one.sha256 not in {"", digest.hex()}:
                draft.discard()
                raise _changed(self._bucket, one, "damaged")
            draft.publish(digest)

    def _ahead(
        self, items: Sequence[_Item], size_of: Callable[[_Item], int], work: Callable[[_Item], _Result]
    ) -> Iterator[tuple[_Item, _Result]]:
        """Yields each item with the result of the work on it, in order, while the threads work ahead, within a bound of memory."""
        under_way: deque[tuple[_Item, Future[_Result]]] = deque()
        ahead_bytes = 0
        for item in (*items, None):
            while under_way and (item is None or len(under_way) >= 4 * _AT_ONCE or ahead_bytes >= _AHEAD_BYTES):
                first, future = under_way.popleft()
                yield first, future.result()
                ahead_bytes -= size_of(first)
                self._done_bytes += size_of(first)
                self._listener.advance(self._done_bytes / self._total_bytes)
            if item is not None:
                under_way.append((item, self._pool.submit(work, item)))
                ahead_bytes += size_of(item)

    def _whole(self, id_: bytes, one: Object) -> tuple[bytes, bytes, bytes]:
        content = self._range(one, 0, one.size_bytes)
        digest = hashlib.sha256(content).digest()
        if one.sha256 not in {"", digest.hex()}:
            raise _changed(self._bucket, one, "damaged")
        return id_, content, digest

    def _part(self, one: Object, start: int, draft: Draft) -> bytes:
        return draft.write(start, self._range(one, start, min(start + PART_BYTES, one.size_bytes)))

    def _range(self, one: Object, start: int, end: int) -> bytes:
        """Returns a range of an object; where it breaks off, the next request begins there."""
        got = bytearray()

        def go_on() -> None:
            for chunk in self._bucket.read(one, start + len(got), end) if start + len(got) < end else ():
                got.extend(chunk)
                if self._stop.is_set():
                    raise _Stopped
            if len(got) < end - start:
                raise Hitch(f"the connection ended after {len(got):,} of {end - start:,} bytes")

        try:
            _tried(go_on, f"{self._bucket.url}/{one.key}", lambda: len(got), self._stop, "fetched")
        except FileNotFoundError:
            raise _changed(self._bucket, one, "removed") from None
        except Changed:
            raise _changed(self._bucket, one, "changed") from None
        if len(got) > end - start:
            raise _changed(self._bucket, one, "changed")
        return bytes(got)


def _tried(work: Callable[[], None], what: str, come: Callable[[], int], stop: threading.Event, done: str) -> None:
    """Does something, again and again where it meets a hitch, until nothing more has come for too long.

    Args:
        work: goes on from where it was.
        what: it is done with, for a message.
        come: returns how much has come so far.
        stop: ends the waiting.
        done: what was to be done with it, for a message.
    """
    delays = iter(DELAYS)
    before = come()
    while True:
        try:
            return work()
        except Hitch as hitch:
            if come() > before:
                delays, before = iter(DELAYS), come()
            delay = next(delays, None)
            if delay is None:
                raise StorageFailed(f"{what} could not be {done}, though it was tried {len(DELAYS) + 1} times: {hitch}.") from None
            if stop.wait(delay * random.uniform(0.5, 1.5)):  # noqa: S311 - so that not all come back at once
                raise _Stopped from None


def _bunches(objects: Sequence[_Known]) -> list[list[_Known]]:
    """Returns objects in the portions that a thread takes at a time; where there are few, so small that each thread has some."""
    most = max(1, min(_BUNCH, len(objects) // (2 * _AT_ONCE)))
    bunches: list[list[_Known]] = []
    room = -1  # bytes of the last one
    for item in objects:
        if room < item[1].size_bytes or len(bunches[-1]) == most:
            bunches.append([])
            room = _BUNCH_BYTES
        bunches[-1].append(item)
        room -= item[1].size_bytes
    return bunches


def _bytes_of(bunch: Sequence[_Known]) -> int:
    return sum(one.size_bytes for _, one in bunch)


def _changed(bucket: Objects, one: Object, how: str) -> BadDataset:
    if one.sha256:  # it was uploaded, and whoever did may do so again
        return BadDataset(f"The content {bucket.url}/{one.key} of the uploaded dataset was {how}: upload the dataset again.")
    return BadDataset(
        f"{bucket.url}/{one.key} was {how} while the dataset was read: wait until nobody writes to it, and try again."
    )
