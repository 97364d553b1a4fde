"""What goes of captured pictures, so that a model has no more than it may: the old ones, and then the least instructive."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from eyasd.registry.captured import DROPPED, LABELS, PICTURES, SIGHTINGS, Captured, Entry

# What a writer who was killed has left: none takes so long between a picture's file and the word that it is there.
_STALE_SECONDS: Final = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How many pictures of a model are kept, how many bytes they take together, and for how long."""

    max_images: int
    max_bytes: int
    keep: timedelta


def surplus(entries: Sequence[Entry], labelled: Collection[str], bounds: Bounds, now: float) -> list[str]:
    """Returns the pictures that have to go.

    Servers that do so at the same moment choose alike, and to remove a picture twice is to remove it once.

    Args:
        entries: of all pictures, oldest first.
        labelled: pictures that somebody has been at pains to name the labels of, which go last.
        bounds: of the model.
        now: seconds since 1970.
    """
    oldest = int((now - bounds.keep.total_seconds()) * 1000)
    first: dict[str, Entry] = {}
    worth: dict[str, int] = {}
    for entry in entries:
        first.setdefault(entry.id, entry)
        worth[entry.id] = max(worth.get(entry.id, 0), entry.worth)
    gone = [picture for picture, entry in first.items() if entry.time_ms < oldest]
    for picture in gone:
        del first[picture]
    count, size_bytes = len(first), sum(entry.size_bytes for entry in first.values())
    for entry in sorted(first.values(), key=lambda entry: turn(entry, worth[entry.id], labelled=entry.id in labelled)):
        if count <= bounds.max_images and size_bytes <= bounds.max_bytes:
            break
        gone.append(entry.id)
        count, size_bytes = count - 1, size_bytes - entry.size_bytes
    return gone


def turn(entry: Entry, worth: int, *, labelled: bool) -> tuple[bool, int, int, str]:
    """Returns by what the pictures are ordered that go: what has labels last, the least instructive first, of equals the oldest."""
    return labelled, worth, entry.time_ms, entry.id


def sweep(captured: Captured, model: str, bounds: Bounds) -> None:
    """Removes what was cut short: files without a sighting, sightings and labels without a file; and old words of deletions."""
    store, now = captured.store, time.time()
    seen = {entry.id for entry in captured.entries(model)}
    # Looked at after the sightings: what comes meanwhile is young.
    files = {found.key.rpartition("/")[2]: found for found in store.find(f"{model}/{PICTURES}")}
    left = [found for picture, found in files.items() if picture not in seen]
    for kind, place in ((SIGHTINGS, 2), (LABELS, 0)):
        for found in store.find(f"{model}/{kind}"):
            parts = found.key.rpartition("/")[2].split("-")
            if parts[place : place + 1] and parts[place] not in files:
                left.append(found)
    for found in left:
        if now - found.modified > _STALE_SECONDS:
            store.delete(found.key)
    for found in store.find(f"{model}/{DROPPED}"):
        if now - found.modified > max(bounds.keep.total_seconds(), _STALE_SECONDS):
            store.delete(found.key)
    store.sweep(_STALE_SECONDS)
