"""Every picture decoded once, into one file of uint8 rows that training then reads like an array.

Decoding costs 4 to 10 ms a picture and core, a row of the cache 0.1 ms; every epoch and every later attempt gains that. Knows
files and pixels, not labels.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from eyasd.core import document
from eyasd.core.errors import UndecodableImage
from eyasd.core.preprocess import FORMATS, MAX_ENCODED_BYTES, Preprocess, load_image
from eyasd.training import durable
from eyasd.training.journal import Journal
from eyasd.training.listing import File
from eyasd.training.machine import cpu_count

_PIXELS: Final = "pictures.u8"
_INDEX: Final = "pictures.json"


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
        size_bytes: of the file.
        modified_ns: when it was last changed, nanoseconds since 1970.
        sha256: of its content, hexadecimal; "" where it could not be read.
        problem: why it is no picture; "" where it is one.
        header: of a picture.
    """

    name: str
    size_bytes: int
    modified_ns: int
    sha256: str
    problem: str
    header: Header | None = None


@dataclass(frozen=True, slots=True)
class _Index:
    preprocess: Preprocess
    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class Pictures:
    """Decoded pictures.

    Attributes:
        images: uint8 [N, H, W, 3], RGB, 0..255, row i from file i; black where it is no picture.
        entries: one a file, in the order given.
    """

    images: NDArray[np.uint8]
    entries: tuple[Entry, ...]


def read_picture(file: File, spec: Preprocess) -> tuple[Entry, NDArray[np.uint8] | None]:
    """Reads one file once, for its digest and its pixels.

    Returns:
        What became of it, and uint8 [H, W, 3], or None where it is no picture.
    """
    size_bytes = modified_ns = 0
    sha256 = ""
    try:
        status = file.path.stat()
        size_bytes, modified_ns = status.st_size, status.st_mtime_ns
        if not stat.S_ISREG(status.st_mode):  # a manifest may name a folder, or a pipe that never ends
            return Entry(file.name, size_bytes, modified_ns, sha256, "It is not a file."), None
        if size_bytes > MAX_ENCODED_BYTES:  # refused unread: it may be a film of many gigabytes
            problem = f"The file has {size_bytes:,} bytes; at most {MAX_ENCODED_BYTES:,} are read."
            return Entry(file.name, size_bytes, modified_ns, sha256, problem), None
        content = file.path.read_bytes()
        sha256 = hashlib.sha256(content).hexdigest()
        image = load_image(content, spec)
        return Entry(file.name, size_bytes, modified_ns, sha256, "", _header(content)), image
    except OSError as error:
        return Entry(file.name, size_bytes, modified_ns, sha256, f"The file cannot be read: {error.strerror}."), None
    except UndecodableImage as error:
        return Entry(file.name, size_bytes, modified_ns, sha256, error.message), None


def _header(content: bytes) -> Header:
    with Image.open(BytesIO(content), formats=FORMATS) as picture:  # reads no pixels
        return Header(*picture.size, picture.format or "", picture.mode)


def decode(files: Sequence[File], spec: Preprocess, folder: Path, journal: Journal) -> Pictures:
    """Decodes the files into `folder`, or finds them there from an earlier attempt.

    What was decoded before is used again when the names, sizes and times of all files and the preprocessing are the same.

    Raises:
        OSError: the disk is full, or cannot be written.
    """
    shape = (len(files), spec.crop_px, spec.crop_px, 3)
    entries = _decoded_before(files, spec, folder)
    if entries:
        journal.message(f"Took {len(files):,} decoded pictures from an earlier attempt.")
        return Pictures(open_pixels(folder, shape), entries)
    (folder / _INDEX).unlink(missing_ok=True)
    with (folder / _PIXELS).open("wb") as file:
        # Without this a full disk would show itself as a bus error in the middle of a write.
        os.posix_fallocate(file.fileno(), 0, int(np.prod(shape)))
    images = np.memmap(folder / _PIXELS, np.uint8, "r+", shape=shape)

    def decode_row(row: int) -> Entry:
        entry, image = read_picture(files[row], spec)
        if image is not None:
            images[row] = image
        return entry

    found: list[Entry] = []
    workers = cpu_count()
    with ThreadPoolExecutor(workers) as pool:  # Pillow decodes without the interpreter's lock
        for start in range(0, len(files), 32 * workers):
            found += pool.map(decode_row, range(start, min(start + 32 * workers, len(files))))
            journal.advance(len(found) / len(files))
    images.flush()
    durable.write(folder / _INDEX, document.dump(_Index(spec, tuple(found))).encode())
    return Pictures(images, tuple(found))


def open_pixels(folder: Path, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    """Returns what `decode` left in a folder, uint8 of that shape."""
    return np.memmap(folder / _PIXELS, np.uint8, "r", shape=shape)


def _decoded_before(files: Sequence[File], spec: Preprocess, folder: Path) -> tuple[Entry, ...] | None:
    try:
        index = document.load(_Index, (folder / _INDEX).read_bytes())
        now = [(file.name, *_stamp(file.path)) for file in files]
        whole = (folder / _PIXELS).stat().st_size == len(files) * spec.crop_px**2 * 3
    except (OSError, ValueError):
        return None
    then = [(entry.name, entry.size_bytes, entry.modified_ns) for entry in index.entries]
    return index.entries if whole and index.preprocess == spec and then == now else None


def _stamp(path: Path) -> tuple[int, int]:
    """Returns a file's size and time of change, as `read_picture` notes them; zeros where it is missing."""
    try:
        status = path.stat()
    except OSError:
        return 0, 0
    return status.st_size, status.st_mtime_ns
