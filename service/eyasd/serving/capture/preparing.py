"""What is kept of a picture: what the operator's hook leaves of it, without its metadata, and what near copies of it share."""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Callable
from typing import Final

from PIL import Image, ImageOps

from eyasd.core import likeness
from eyasd.core.errors import DeadlineExceeded, StartupFailed, Unavailable, UndecodableImage
from eyasd.core.metadata import without_metadata
from eyasd.core.opening import open_picture
from eyasd.core.preprocess import check_pixels, whole_rgb
from eyasd.serving.question import Picture

# Of the bytes of a picture what may be kept of it; None to keep nothing.
Redact = Callable[[bytes], bytes | None]
# What `bare` does.
Strip = Callable[[bytes], tuple[bytes, str]]
# A JPEG is decoded at an eighth of its size where that is enough, and it is for telling it from another.
_SMALL_PX: Final = (64, 64)


class NotKept(Exception):
    """Why nothing is kept of a picture, in one word: the value of a metric's label."""


def load_hook(place: str) -> Redact | None:
    """Returns the hook of `package.module:function`; None where there is none.

    Raises:
        StartupFailed: it cannot be imported: a server without it would keep what it must not.
    """
    if not place:
        return None
    module, _, name = place.partition(":")
    try:
        hook = getattr(importlib.import_module(module), name)
    except Exception as error:
        raise StartupFailed(
            f"capture.redact = {place} cannot be imported ({type(error).__name__}: {error}): install it beside eyasd, or correct "
            "the setting."
        ) from error
    if not callable(hook):
        raise StartupFailed(f"capture.redact = {place} is no function: name one that takes the bytes of a picture.")
    found: Redact = hook
    return found


def prepared(picture: Picture, redact: Redact | None, strip: Strip) -> tuple[bytes, str]:
    """Returns the file that is kept, and what near copies of it share.

    Args:
        picture: that was answered.
        redact: the operator's hook; None leaves it as it is.
        strip: `bare`, wherever files are opened.

    Raises:
        NotKept: nothing of it is to be kept, or it cannot be.
    """
    encoded = picture if isinstance(picture, bytes) else without_metadata(picture)
    if redact is not None:
        encoded = _redacted(encoded, redact)
    try:
        return strip(encoded)
    except UndecodableImage as error:
        raise NotKept("unreadable") from error
    except (DeadlineExceeded, Unavailable) as error:
        raise NotKept("busy") from error


def bare(encoded: bytes) -> tuple[bytes, str]:
    """Returns a picture's file without its metadata, and what near copies of it share.

    Raises:
        NotKept: it is no picture, over a limit of those that are decoded, or another one without them.
    """
    try:
        before = _looks(_small(encoded))  # not kept beside the other: of 40 megapixels one takes 160 MB
        stripped = without_metadata(encoded)
        after = _small(stripped)
        same = _looks(after) == before
    except (UndecodableImage, OSError, ValueError, SyntaxError, TypeError) as error:  # what decoders raise
        raise NotKept("unreadable") from error
    if not same:
        raise NotKept("unreadable")  # its metadata said what its pixels mean, in a way that nobody foresaw
    return stripped, likeness.digest(after)


def _redacted(encoded: bytes, redact: Redact) -> bytes:
    try:
        left = redact(encoded)
    except Exception as error:
        raise NotKept("redaction_failed") from error
    if left is None:
        raise NotKept("redacted")
    if not isinstance(left, bytes):
        raise NotKept("redaction_failed")
    return left


def _small(encoded: bytes) -> Image.Image:
    opened = open_picture(encoded)
    check_pixels(opened)
    opened.draft(None, _SMALL_PX)
    ImageOps.exif_transpose(opened, in_place=True)
    return whole_rgb(opened)  # as the network saw it


def _looks(picture: Image.Image) -> tuple[tuple[int, int], bytes]:
    """Returns what only a picture of the same pixels has, too."""
    return picture.size, hashlib.sha256(picture.tobytes()).digest()
