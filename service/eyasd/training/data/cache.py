"""Every picture decoded once, into a file of uint8 rows that training reads like an array, and that later jobs find again.

Decoding costs 2 to 10 ms a picture and core, a row of the cache 0.1 ms; every epoch, every later attempt and every later job on the
same pictures gains that. Rows are known by the content they were decoded from and by how, never by a file's name. Knows files
and pixels, not labels.
"""

from __future__ import annotations

import errno
import hashlib
import inspect
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
import PIL
import simplejpeg
from numpy.typing import NDArray

from eyasd.core import document, jpeg, opening, preprocess, resample
from eyasd.core.errors import UndecodableImage
from eyasd.core.opening import open_picture
from eyasd.core.preprocess import MAX_ENCODED_BYTES, Preprocess, load_image
from eyasd.core.processors import cpu_count
from eyasd.core.tasks import SharedCache
from eyasd.training.data.content import TooLarge, content_of
from eyasd.training.data.digests import Digests, location
from eyasd.training.data.listing import File
from eyasd.training.data.shelf import Draft, Shard, Shelf
from eyasd.training.journal import Journal

_OWN: Final = "pictures"
# Pixels that other code made are other pixels. The code itself cannot forget to say so, as a version number can.
_CODE: Final = "".join([PIL.__version__, simplejpeg.__version__, *map(inspect.getsource, (preprocess, opening, jpeg, resample))])


@dataclass(frozen=True, slots=True)
class Header:
    """What a picture's file says of itself.

    Attributes:
        width_px: as stored, before EXIF orientation; so `height_px`.
        format: Pillow's name of the encoding, such as `JPEG`.
        mode: Pillow's name of the kind of pixels, such as `RGB`, `L` or `P`.
    """

    width_px: int
    height_px: int
    format: str
    mode: str


@dataclass(frozen=True, slots=True)
class Entry:
    """What became of one file.

    Attributes:
        name: path relative to the dataset.
        sha256: of its content, hexadecimal; "" where it could not be read, which may change.
        problem: why it is no picture; "" where it is one.
        header: of a picture.
    """

    name: str
    sha256: str
    problem: str
    header: Header | None = None


@dataclass(frozen=True, slots=True)
class _Index:
    """Of a shard: what became of each row's content; without names, as the next dataset has others."""

    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class Pictures:
    """Decoded pictures.

    Attributes:
        images: uint8 [N, H, W, 3], RGB, 0..255, row i from file i; black where it is no picture.
        entries: one a file, in the order given.
        path: of the shard that the images are mapped from, for other processes of the job.
    """

    images: NDArray[np.uint8]
    entries: tuple[Entry, ...]
    path: Path


@dataclass(frozen=True, slots=True)
class _Source:
    """A picture that was decoded before.

    Attributes:
        entry: of its content.
        images: uint8 [N, H, W, 3].
        row: of the images.
    """

    entry: Entry
    images: NDArray[np.uint8]
    row: int


def read_picture(file: File, spec: Preprocess) -> tuple[Entry, NDArray[np.uint8] | None]:
    """Reads one file once, for its digest and its pixels.

    Returns:
        What became of it, and uint8 [H, W, 3], or None where it is no picture.
    """
    entry, images = read_forms(file, [spec])
    return entry, (images[0] if images else None)


def read_forms(file: File, specs: Sequence[Preprocess]) -> tuple[Entry, list[NDArray[np.uint8]]]:
    """Reads one file once, for its digest and for its pixels in each of several forms.

    Returns:
        What became of it, and uint8 [H, W, 3] for each of `specs`; none where it is no picture, or too large for one of them.
    """
    entry, content = _read(file)
    images: list[NDArray[np.uint8]] = []
    for spec in specs:
        if not entry.problem:
            entry, image = _decode(entry, content, spec)
            images += [] if image is None else [image]
    return entry, ([] if entry.problem else images)


def digest(file: File) -> str:
    """Returns the SHA-256 of a file's content, hexadecimal; "" where it cannot be read, or is too large to be a picture."""
    return _read(file)[0].sha256


def _read(file: File) -> tuple[Entry, bytes]:
    try:
        content = content_of(file, MAX_ENCODED_BYTES)
    except TooLarge as error:  # refused unread: it may be a film of many gigabytes
        return Entry(file.name, "", f"The file has {error.args[0]:,} bytes; at most {MAX_ENCODED_BYTES:,} are read."), b""
    except OSError as error:
        return Entry(file.name, "", f"The file cannot be read: {error.strerror}."), b""
    return Entry(file.name, hashlib.sha256(content).hexdigest(), ""), content


def _decode(entry: Entry, content: bytes, spec: Preprocess) -> tuple[Entry, NDArray[np.uint8] | None]:
    try:
        image = load_image(content, spec)
        return replace(entry, header=_header(content)), image
    except UndecodableImage as error:
        # Want of memory says nothing of the content, and is not remembered of it.
        sha256 = "" if isinstance(error.__cause__, MemoryError) else entry.sha256
        return replace(entry, sha256=sha256, problem=error.message), None


def _header(content: bytes) -> Header:
    with open_picture(content) as picture:  # reads no pixels
        return Header(*picture.size, picture.format or "", picture.mode)


def decode(files: Sequence[File], spec: Preprocess, folder: Path, shared: SharedCache | None, journal: Journal) -> Pictures:
    """Decodes the files, or finds their pictures where this job or another left them.

    Args:
        files: of the dataset.
        spec: how to decode them.
        folder: JOB_DIR, which takes the pictures that no other job shall have, or for which the shared cache has no room.
        shared: where jobs keep them for each other; None is nowhere.
        journal: hears of the progress.

    Raises:
        OSError: the disk is full, or cannot be written.
    """
    if shared:
        try:
            return _Decoding(files, spec, Shelf(Path(shared.folder), shared.max_bytes), journal).run()
        except OSError as error:
            journal.message(
                f"The pictures are decoded for this job alone, as the shared cache could not take them: {error.strerror}."
            )
    return _Decoding(files, spec, Shelf(folder / _OWN), journal).run()


def open_pixels(path: Path, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Returns the images, uint8 of that shape, of a shard that another process of the job holds."""
    return np.memmap(path, np.uint8, "r", shape=shape)


class _Decoding:
    """The pictures of a dataset, on their way from files and from the shards of other datasets into a shard of their own."""

    def __init__(self, files: Sequence[File], spec: Preprocess, shelf: Shelf, journal: Journal) -> None:
        self._files, self._spec, self._shelf, self._journal = files, spec, shelf, journal
        self._how = _digest_of([document.dump(spec), _CODE])[:16]
        self._digests = Digests(files, shelf)

    def run(self) -> Pictures:
        known, count = self._digests.known, len(self._files)
        turn = _digest_of([self._how, *map(location, self._files)])[:32]
        with self._shelf.turn(turn, self._journal) as draft:
            if all(known) and (found := self._find(known)):
                self._tell(count)
                return replace(found, entries=tuple(map(_named, found.entries, self._files)))
            sources = self._sources()
            entries = self._look(sources, draft)
            digests = [entry.sha256 for entry in entries]
            found = self._find(digests)
            if found is None:
                self._write(entries, sources, draft)
                found = self._find(digests)
        if found is None:
            raise OSError(errno.EIO, "what was written to it cannot be read")
        self._digests.learn(digests)
        self._tell(sum(entry.sha256 in sources and not entry.problem for entry in entries))
        return replace(found, entries=tuple(entries))

    def _find(self, digests: Sequence[str]) -> Pictures | None:
        """Returns the shard of these contents in this order, its entries without names; None where there is none."""
        found = _opened(self._shelf.find(self._name(digests), self._spec.crop_px))
        return found if found and [entry.sha256 for entry in found.entries] == list(digests) else None

    def _name(self, digests: Sequence[str]) -> str:
        return f"{self._how}-{_digest_of(digests)[:32]}"

    def _sources(self) -> Mapping[str, _Source]:
        """Returns every picture that was decoded in this way before, by the digest of its content."""
        sources: dict[str, _Source] = {}
        for shard in self._shelf.shards(self._how, self._spec.crop_px):
            if found := _opened(shard):
                for row, entry in enumerate(found.entries):
                    sources.setdefault(entry.sha256, _Source(entry, found.images, row))
        sources.pop("", None)
        return sources

    def _look(self, sources: Mapping[str, _Source], draft: Draft) -> list[Entry]:
        """Learns what each file holds, and decodes into the draft what is in none of the sources."""
        known, count, px = self._digests.known, len(self._files), self._spec.crop_px

        def look(row: int) -> Entry:
            file = self._files[row]
            if source := sources.get(known[row]):
                return _named(source.entry, file)
            entry, content = _read(file)
            if source := sources.get(entry.sha256):
                return _named(source.entry, file)
            if entry.problem:
                return entry
            entry, image = _decode(entry, content, self._spec)
            if image is not None:
                draft.images(count, px)[row] = image
            return entry

        entries: list[Entry] = []
        workers = cpu_count()
        with ThreadPoolExecutor(workers) as pool:  # Pillow decodes without the interpreter's lock
            for start in range(0, count, 32 * workers):
                entries += pool.map(look, range(start, min(start + 32 * workers, count)))
                self._journal.advance(len(entries) / count)
        return entries

    def _write(self, entries: Sequence[Entry], sources: Mapping[str, _Source], draft: Draft) -> None:
        """Makes a shard of the draft."""
        images = draft.images(len(entries), self._spec.crop_px)
        for row, entry in enumerate(entries):
            if source := sources.get(entry.sha256):
                self._journal.check()
                images[row] = source.images[source.row]
        index = _Index(tuple(replace(entry, name="") for entry in entries))
        draft.publish(self._name([entry.sha256 for entry in entries]), document.dump(index).encode())

    def _tell(self, taken: int) -> None:
        if taken:
            self._journal.message(f"Took {taken:,} of {len(self._files):,} decoded pictures from the cache.")


def _named(entry: Entry, file: File) -> Entry:
    return replace(entry, name=file.name)


def _opened(shard: Shard | None) -> Pictures | None:
    """Returns what a shard holds, if its index is of this version."""
    if shard is None:
        return None
    try:
        entries = document.load(_Index, shard.index).entries
    except ValueError:
        return None
    return Pictures(shard.images, entries, shard.path) if len(entries) == len(shard.images) else None


def _digest_of(parts: Iterable[str]) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()
