"""Pictures as callers have them, and how many go into a request."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from eyas._channel import MAX_MESSAGE_BYTES
from eyas._errors import EyasError, UndecodableImage
from eyas._types import Classification

Image = bytes | str | os.PathLike[str]

MAX_IMAGES: Final = 64
MAX_EXPLAINED: Final = 8
# Two MiB below the limit of a message: the names around the pictures need a little.
_MAX_IMAGES_BYTES: Final = MAX_MESSAGE_BYTES - 2 * 1024 * 1024
IN_FLIGHT: Final = 4


def read_image(image: Image) -> bytes:
    """Returns a picture's encoded bytes, which are given or read from a file.

    Raises:
        UndecodableImage: there is no such file, it cannot be read, or it does not fit into a message.
    """
    try:
        content = image if isinstance(image, bytes) else Path(image).read_bytes()
    except OSError as error:
        raise UndecodableImage(f"{error.filename} cannot be read: {error.strerror}.", reason="UNREADABLE_FILE") from None
    if len(content) > _MAX_IMAGES_BYTES:
        message = f"The picture has {len(content):,} bytes, which do not fit into a message of 32 MiB: send a smaller copy."
        raise UndecodableImage(message, reason="IMAGE_TOO_LARGE")
    return content


def batches(
    images: Sequence[Image], results: list[Classification | EyasError | None], *, explain: bool = False
) -> Iterator[tuple[list[int], list[bytes]]]:
    """Splits pictures into requests below the limits, reading each file only when its request is due.

    Args:
        images: in the caller's order.
        results: one place a picture; a picture that cannot be sent gets its error there.
        explain: whether the answers shall hold explanations, so that fewer fit into a message.

    Yields:
        For each request, where its pictures stand in `images`, and their bytes.
    """
    most = MAX_EXPLAINED if explain else MAX_IMAGES
    places: list[int] = []
    contents: list[bytes] = []
    size = 0
    for place, image in enumerate(images):
        try:
            content = read_image(image)
        except UndecodableImage as error:
            results[place] = error
            continue
        if contents and (len(contents) == most or size + len(content) > _MAX_IMAGES_BYTES):
            yield places, contents
            places, contents, size = [], [], 0
        places.append(place)
        contents.append(content)
        size += len(content)
    if contents:
        yield places, contents


def whole(results: Sequence[Classification | EyasError | None]) -> list[Classification | EyasError]:
    """Returns the results, of which none is missing."""
    return [result for result in results if result is not None]
