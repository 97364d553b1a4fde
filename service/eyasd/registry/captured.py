"""Pictures of production that were kept to learn from, of all models, in a store of their own.

    MODEL/pictures/ID                   the file; ID is the beginning of its SHA-256, so that one picture is kept once
    MODEL/sightings/TIME-...-ID-...json that it was answered, a `Sighting`; see `Entry`. With the first one the picture is there
    MODEL/labels/ID-TIME-...json        that somebody named its labels, a `GivenLabels`
    MODEL/dropped/ID                    that somebody deleted it: it is not kept again

Several servers write at once, and none waits for another: nothing is ever changed, each object is created if absent, and names say
what a listing is asked for, so that to know which pictures there are takes one listing a model, not a request a picture. Who is
killed between the file and the sighting leaves a file that is no picture, and goes by itself, see `registry.thinning`.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Final, NamedTuple, TypeVar

from eyasd.core import document
from eyasd.core.captured import CapturedPicture, GivenLabels, LabelSource, Sighting
from eyasd.core.errors import CapturedNotFound, StorageFailed
from eyasd.storage.store import BlobStore

T = TypeVar("T")

PICTURES: Final = "pictures"
SIGHTINGS: Final = "sightings"
LABELS: Final = "labels"
DROPPED: Final = "dropped"
_SIGHTING: Final = re.compile(r"(\d{13})-(\d{3})-([0-9a-f]{24})-([0-9a-f]{16}|none)-([0-9a-f]{64}|none)-(\d{1,9})\.json")
_LABELS: Final = re.compile(r"([0-9a-f]{24})-(\d{13})-(person|feedback)-[0-9a-f]{8}\.json")
_REQUESTS_AT_ONCE: Final = 16
# Of JSON documents that were read; one takes about 2 kB.
_MOST_REMEMBERED: Final = 20_000


class Entry(NamedTuple):
    """What the name of a sighting says.

    Attributes:
        time_ms: when, milliseconds since 1970.
        worth: see `Sighting`.
        id: of the picture.
        prediction: see `Sighting`.
        digest: likewise.
        size_bytes: of the picture's file.
    """

    time_ms: int
    worth: int
    id: str
    prediction: str
    digest: str
    size_bytes: int

    @property
    def name(self) -> str:
        """The last part of its key."""
        parts = (f"{self.time_ms:013d}", f"{self.worth:03d}", self.id, self.prediction or "none", self.digest or "none")
        return f"{'-'.join(parts)}-{self.size_bytes}.json"


class Naming(NamedTuple):
    """What the name of a naming of labels says: of which picture, when, by whom, and the last part of its key."""

    id: str
    time_ms: int
    source: LabelSource
    name: str


class Captured:
    """The captured pictures in a store. Safe to use from several threads.

    Attributes:
        store: where they are.
    """

    def __init__(self, store: BlobStore) -> None:
        self.store = store
        self._read: dict[str, Sighting | GivenLabels] = {}  # by key; none ever changes

    def models(self) -> list[str]:
        """Returns the models of which there are pictures, or once were, sorted."""
        return self.store.children("")

    def key(self, model: str, picture: str) -> str:
        """Returns where the file of a picture is in the store."""
        return f"{model}/{PICTURES}/{picture}"

    def keep(self, model: str, content: bytes, sighting: Sighting) -> Entry:
        """Keeps a picture, or that one which is kept already was seen again; returns what a listing will say of it.

        Args:
            model: whose version answered.
            content: its file.
            sighting: what is known of it.

        Raises:
            StorageFailed: the store could not be written.
        """
        picture = identity(content)
        time_ms = int(sighting.time.timestamp() * 1000)
        entry = Entry(time_ms, sighting.worth, picture, sighting.prediction, sighting.digest, len(content))
        made = self.store.create(self.key(model, picture), content)
        self.store.create(f"{model}/{SIGHTINGS}/{entry.name}", document.dump(sighting).encode())
        if not made:  # as a file without a sighting it may have been removed at this very moment
            self.store.create(self.key(model, picture), content)
        return entry

    def entries(self, model: str) -> list[Entry]:
        """Returns the sightings of all pictures that nobody has deleted, oldest first, by two listings."""
        dropped = self.dropped(model)
        found = map(_entry, self.store.children(f"{model}/{SIGHTINGS}"))
        return [entry for entry in found if entry and entry.id not in dropped]

    def dropped(self, model: str) -> set[str]:
        """Returns the pictures that somebody has deleted."""
        return set(self.store.children(f"{model}/{DROPPED}"))

    def namings(self, model: str) -> dict[str, list[Naming]]:
        """Returns who has named the labels of each picture, oldest first, by one listing."""
        found: dict[str, list[Naming]] = {}
        for naming in filter(None, map(_naming, self.store.children(f"{model}/{LABELS}"))):
            found.setdefault(naming.id, []).append(naming)
        return {picture: sorted(namings, key=lambda one: one.time_ms) for picture, namings in found.items()}

    def pictures(self, model: str, *, of: Callable[[str, bool], bool] = lambda _id, _labelled: True) -> list[CapturedPicture]:
        """Returns the pictures of a model, oldest first.

        Args:
            model: of which there may be none.
            of: picks pictures by their id, and by whether somebody has named their labels; of the others nothing is read.
        """
        entries: dict[str, list[Entry]] = {}
        namings = self.namings(model)
        for entry in self.entries(model):
            if of(entry.id, entry.id in namings):
                entries.setdefault(entry.id, []).append(entry)
        sighting_keys = [f"{model}/{SIGHTINGS}/{one.name}" for some in entries.values() for one in some]
        label_keys = [f"{model}/{LABELS}/{one.name}" for picture in entries for one in namings.get(picture, ())]
        with ThreadPoolExecutor(_REQUESTS_AT_ONCE) as threads:
            sightings = dict(zip(sighting_keys, threads.map(lambda key: self._document(Sighting, key), sighting_keys), strict=True))
            given = dict(zip(label_keys, threads.map(lambda key: self._document(GivenLabels, key), label_keys), strict=True))
        found = []
        for picture, some in entries.items():
            seen = tuple(filter(None, (sightings[f"{model}/{SIGHTINGS}/{one.name}"] for one in some)))
            if seen:  # else it went meanwhile
                said = tuple(filter(None, (given[f"{model}/{LABELS}/{one.name}"] for one in namings.get(picture, ()))))
                found.append(CapturedPicture(id=picture, model=model, size_bytes=some[0].size_bytes, sightings=seen, given=said))
        return found

    def order(self, model: str, *, of: Callable[[str, bool], bool]) -> list[tuple[int, str]]:
        """Returns when each picture was answered first, in milliseconds since 1970, and its id, oldest first; see `pictures`."""
        namings, first = self.namings(model), dict[str, int]()
        for entry in self.entries(model):
            if of(entry.id, entry.id in namings):
                first.setdefault(entry.id, entry.time_ms)
        return sorted((time_ms, picture) for picture, time_ms in first.items())

    def labelled(self, model: str) -> list[CapturedPicture]:
        """Returns the pictures of a model whose labels somebody has named, sorted by their ids."""
        return sorted(self.pictures(model, of=lambda _, labelled: labelled), key=lambda picture: picture.id)

    def get(self, model: str, picture: str) -> CapturedPicture:
        """Returns a picture. Raises CapturedNotFound."""
        found = self.pictures(model, of=lambda one, _: one == picture)
        if not found:
            raise not_found(model, picture)
        return found[0]

    def read(self, model: str, picture: str) -> bytes:
        """Returns the file of a picture, which is what its id says. Raises CapturedNotFound, or StorageFailed of damage."""
        try:
            if self.store.exists(f"{model}/{DROPPED}/{picture}"):
                raise not_found(model, picture)
            content = self.store.read(self.key(model, picture))
        except FileNotFoundError:
            raise not_found(model, picture) from None
        if identity(content) != picture:
            raise StorageFailed(f"The captured picture {picture} of {model} is damaged: delete it.")
        return content

    def label(self, model: str, picture: str, given: GivenLabels) -> None:
        """Writes down the labels of a picture, which is there."""
        name = f"{picture}-{int(given.time.timestamp() * 1000):013d}-{given.source}-{secrets.token_hex(4)}.json"
        self.store.create(f"{model}/{LABELS}/{name}", document.dump(given).encode())

    def drop(self, model: str, pictures: Iterable[str]) -> int:
        """Deletes pictures for good, so that they are not kept again either; returns how many there were."""
        known = {entry.id for entry in self.entries(model)}
        there = [picture for picture in dict.fromkeys(pictures) if picture in known]
        for picture in there:
            self.store.create(f"{model}/{DROPPED}/{picture}", b"")
        self.remove(model, there)
        return len(there)

    def remove(self, model: str, pictures: Iterable[str]) -> None:
        """Removes all there is of pictures: what makes them pictures first, and their files last."""
        gone = set(pictures)
        if not gone:
            return
        keys = [
            f"{model}/{SIGHTINGS}/{name}" for name in self.store.children(f"{model}/{SIGHTINGS}") if _id_of(_entry(name)) in gone
        ]
        keys += [f"{model}/{LABELS}/{one.name}" for picture, some in self.namings(model).items() if picture in gone for one in some]
        with ThreadPoolExecutor(_REQUESTS_AT_ONCE) as threads:
            list(threads.map(self.store.delete, keys))
            list(threads.map(lambda picture: self.store.delete(self.key(model, picture)), gone))
        for key in keys:
            self._read.pop(key, None)

    def _document(self, kind: type[T], key: str) -> T | None:
        """Returns a document, read now or before; None where it has gone, or is damaged, which hides no other picture."""
        known = self._read.get(key)
        if isinstance(known, kind):
            return known
        with suppress(FileNotFoundError, ValueError):
            made = document.load(kind, self.store.read(key))
            if len(self._read) >= _MOST_REMEMBERED:
                self._read.clear()
            self._read[key] = made  # type: ignore[assignment] # one of the two
            return made
        return None


def identity(content: bytes) -> str:
    """Returns the id of a picture by its file."""
    return hashlib.sha256(content).hexdigest()[:24]


def not_found(model: str, picture: str) -> CapturedNotFound:
    """Returns what is said where there is no such picture."""
    return CapturedNotFound(
        f"There is no captured picture {picture!r} of {model}, or not any more: list those there are (`eyas captured {model}`).",
        model=model,
        picture=picture,
    )


def _entry(name: str) -> Entry | None:
    """Returns what the name of a sighting says; None of what somebody else has put there."""
    match = _SIGHTING.fullmatch(name)
    if match is None:
        return None
    time_ms, worth, picture, prediction, digest, size = match.groups()
    prediction, digest = ("" if part == "none" else part for part in (prediction, digest))
    return Entry(int(time_ms), int(worth), picture, prediction, digest, int(size))


def _id_of(entry: Entry | None) -> str:
    return entry.id if entry else ""


def _naming(name: str) -> Naming | None:
    match = _LABELS.fullmatch(name)
    return Naming(match[1], int(match[2]), LabelSource(match[3]), name) if match else None
