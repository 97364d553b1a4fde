"""Removes content that no dataset names: what deleted datasets leave, and after some days what uploads left that never ended.

Safe beside uploads, of this daemon and of others. Whoever makes a version writes that its content is `pending` and then looks for
what is `doomed`; a collection writes what is doomed and then looks for what is pending. So of the two at least one sees the other:
the content is spared, or the version waits, finds that it is missing, and has it uploaded again.
"""

from __future__ import annotations

import re
import secrets
import time
from array import array
from collections.abc import Iterable, Iterator
from datetime import timedelta
from itertools import chain, islice
from typing import Final

import numpy as np
from numpy.typing import NDArray

from eyasd.core import document
from eyasd.core.datasets import Blob
from eyasd.core.errors import StorageFailed
from eyasd.registry.datasets import DOOMED, PENDING, Datasets
from eyasd.storage.store import Found

# Doomed at a time: a version that has some of it waits for so many to be removed.
_BATCH: Final = 1000
# Whatever else somebody may have put into the same place of a bucket is none of it.
_CONTENT: Final = re.compile(r"blobs/([0-9a-f]{2})/\1[0-9a-f]{62}")
# What a daemon that was killed left of a collection, or of a version: neither takes so long.
_STALE_SECONDS: Final = 86_400.0


def collect(datasets: Datasets, keep: timedelta) -> int:
    """Removes what nothing names, and returns how many pieces of content that was.

    Args:
        datasets: whose content is collected.
        keep: how long content stays that no dataset has named yet, and parts of some that nobody has gone on with.

    Raises:
        StorageFailed: the store could not be used, or the list of files of a dataset is lost: then nothing is removed, as nobody
            knows what that dataset names.
    """
    store = datasets.blobs.store
    for stale in (PENDING, DOOMED):
        for found in store.find(stale):
            if time.time() - found.modified > _STALE_SECONDS:
                store.delete(found.key)
    datasets.blobs.forget_parts(keep.total_seconds())
    named = _Named(datasets)
    removed = 0
    for candidates in chain(_left_by_deleted(datasets), [_old(store.find("blobs"), keep)]):
        while some := list(islice(candidates, _BATCH)):
            removed += _remove(datasets, named, [some[place] for place in named.lacks(some)])
    datasets.blobs.usage.recount()
    return removed


def _remove(datasets: Datasets, named: _Named, blobs: list[Blob]) -> int:
    if not blobs:
        return 0
    store, key = datasets.blobs.store, f"{DOOMED}/{secrets.token_hex(8)}"
    store.create(key, "\n".join(blob.sha256 for blob in blobs).encode())
    try:
        named.look()  # at what has become pending, or a version, before it could see that this is doomed
        doomed = [blobs[place] for place in named.lacks(blobs)]
        datasets.blobs.delete(doomed)
    finally:
        store.delete(key)
    return len(doomed)


class _Named:
    """What datasets name, as the first 8 bytes of each SHA-256: two that share them would only spare what could go."""

    def __init__(self, datasets: Datasets) -> None:
        self._datasets = datasets
        self._seen: set[str] = set()
        self._prefixes = np.empty(0, np.uint64)  # [N], sorted
        self.look()

    def look(self) -> None:
        """Reads the lists of files that have come since the last look."""
        fresh = array("Q")
        for manifest in self._manifests():
            if manifest.sha256 not in self._seen:
                fresh.extend(self._prefixes_of(manifest))
                self._seen.add(manifest.sha256)
        if fresh:
            self._prefixes = np.union1d(self._prefixes, np.frombuffer(fresh, np.uint64))

    def _prefixes_of(self, manifest: Blob) -> list[int]:
        try:
            return [_prefix(manifest), *(_prefix(file.blob) for file in self._datasets.files(manifest))]
        except StorageFailed:
            if manifest in self._manifests():
                raise
            return []  # meanwhile it was deleted, and another daemon has collected it

    def lacks(self, blobs: list[Blob]) -> list[int]:
        """Returns the places of the blobs that no dataset names."""
        asked: NDArray[np.uint64] = np.array([_prefix(blob) for blob in blobs], np.uint64)
        return [int(place) for place in np.flatnonzero(~np.isin(asked, self._prefixes))]

    def _manifests(self) -> Iterator[Blob]:
        store = self._datasets.blobs.store
        for child in store.children(PENDING):  # first: what leaves here is a version by then
            try:
                pending = document.load(Blob, store.read(f"{PENDING}/{child}"))
            except FileNotFoundError:
                continue
            except ValueError as error:
                raise StorageFailed(f"The record {PENDING}/{child} is damaged ({error}): remove it.") from error
            if store.exists(pending.key):  # else whoever wrote this is about to find out that it is not
                yield pending
        for record in self._datasets.everything():
            yield record.manifest


def _left_by_deleted(datasets: Datasets) -> Iterator[Iterator[Blob]]:
    """Yields what deleted versions named, each list once that is removed: so one that is there tells of work left."""
    for record in datasets.deleted():
        if datasets.blobs.store.exists(record.manifest.key):
            yield _listed(datasets, record.manifest)
            yield iter([record.manifest])


def _listed(datasets: Datasets, manifest: Blob) -> Iterator[Blob]:
    try:
        yield from (file.blob for file in datasets.files(manifest))
    except StorageFailed:
        if datasets.blobs.store.exists(manifest.key):
            raise  # else another daemon was quicker


def _old(found: Iterable[Found], keep: timedelta) -> Iterator[Blob]:
    for one in found:
        if _CONTENT.fullmatch(one.key) and time.time() - one.modified > keep.total_seconds():
            yield Blob(one.key.rpartition("/")[2], one.size_bytes)


def _prefix(blob: Blob) -> int:
    return int(blob.sha256[:16], 16)
