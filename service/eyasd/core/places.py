"""What the name of a dataset means: a path of the trainer's machine or a place in a bucket, and whether it may be read at all.

Knows names, not what lies there.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote, urlsplit

from eyasd.core.errors import InvalidArgument

FILE: Final = "file"
BUCKETS: Final = ("s3", "gs", "az")
_SCHEME: Final = re.compile(r"([a-zA-Z][a-zA-Z0-9+.-]*)://(.*)", re.DOTALL)
# What the three clouds allow between them.
_BUCKET: Final = re.compile(r"[a-z0-9][a-z0-9._-]{1,221}")
# Of a path on Linux; to look for links in one of a million folders takes minutes.
_MOST_CHARACTERS: Final = 4_096
_CONTROLS: Final = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a dataset lies.

    Attributes:
        scheme: `file`, or of an object store `s3`, `gs` or `az`.
        path: absolute; of an object store BUCKET or BUCKET/KEY, where nothing in the key is escaped.
    """

    scheme: str
    path: str

    def __str__(self) -> str:
        return self.path if self.scheme == FILE else f"{self.scheme}://{self.path}"

    @property
    def remote(self) -> bool:
        """Whether it lies in an object store."""
        return self.scheme != FILE

    @property
    def bucket(self) -> str:
        """The bucket's own URL."""
        return f"{self.scheme}://{self.path.partition('/')[0]}"

    @property
    def key(self) -> str:
        """What follows the bucket's name: an object's key or a prefix of keys, "" for all of the bucket."""
        return self.path.partition("/")[2]


def is_remote(dataset: str) -> bool:
    """Tells whether the name of a dataset is one of an object store."""
    found = _SCHEME.fullmatch(dataset)
    return found is not None and found[1].lower() in BUCKETS


def place_of(dataset: str) -> Place:
    """Returns what a dataset's name means.

    Raises:
        InvalidArgument: it is neither an absolute path nor a URL that is read.
    """
    if len(dataset) > _MOST_CHARACTERS:
        raise InvalidArgument(
            "dataset", f"The dataset's name has {len(dataset):,} characters; no path or key has more than {_MOST_CHARACTERS:,}."
        )
    found = _SCHEME.fullmatch(dataset)
    if found is None:
        if not dataset.startswith("/"):
            raise InvalidArgument(
                "dataset",
                f"{dataset[:200]!r} is not an absolute path: begin it with '/', or with s3://, gs:// or az:// for a bucket.",
            )
        return Place(FILE, dataset)
    scheme, rest = found[1].lower(), found[2]
    if scheme == FILE:
        return Place(FILE, _path_of(dataset))
    if scheme not in BUCKETS:
        raise InvalidArgument(
            "dataset",
            f"{dataset[:200]!r} begins with {scheme}://, which is not read: name a path, or a place in s3://, gs:// or az://.",
        )
    bucket, _, key = rest.partition("/")
    key = key.rstrip("/")
    if "@" in bucket:  # not repeated, as it may be a password
        raise InvalidArgument("dataset", "Leave the user out of the dataset's URL: the trainer's environment has the credentials.")
    if not _BUCKET.fullmatch(bucket):
        raise InvalidArgument("dataset", f"{dataset[:200]!r} names no bucket: write {scheme}://BUCKET/FOLDER.")
    if _CONTROLS.search(key) or (key and {"", ".", ".."} & set(key.split("/"))):
        raise InvalidArgument(
            "dataset", f"{dataset[:200]!r} has a part that no folder can be called: leave out '//', '.' and '..'."
        )
    return Place(scheme, f"{bucket}/{key}" if key else bucket)


def check_allowed(place: Place, roots: Sequence[str]) -> None:
    """Refuses a dataset outside the roots, wherever symbolic links lead; whether it exists is not told.

    Args:
        place: of the dataset.
        roots: names of places, as in the setting training.data_roots; none allows any place.

    Raises:
        InvalidArgument: it lies below none of them.
    """
    allowed = [place_of(root) for root in roots]
    if place.remote:
        inside = any(root.scheme == place.scheme and f"{place.path}/".startswith(f"{root.path}/") for root in allowed)
    else:
        inside = lies_below(os.path.realpath(place.path) if "\0" not in place.path else "", real_roots(roots))
    if roots and not inside:
        raise InvalidArgument(
            "dataset",
            f"{str(place)[:200]!r} is outside of what this trainer may read: name a dataset below one of the places that its "
            "operator has allowed (training.data_roots).",
        )


def real_roots(roots: Sequence[str]) -> tuple[str, ...]:
    """Returns those of the roots that are folders of this machine, free of symbolic links."""
    return tuple(os.path.realpath(place.path) for place in map(place_of, roots) if not place.remote)


def lies_below(real: str, roots: Sequence[str]) -> bool:
    """Tells whether a path free of symbolic links is one of the folders, or lies in one."""
    return any(real == root or real.startswith(root.rstrip("/") + "/") for root in roots)


def _path_of(url: str) -> str:
    """Returns the path of a file URL (RFC 8089), in which '%20' and the like stand for bytes."""
    try:
        parts = urlsplit(url)
    except ValueError:  # a bracket that no host has
        parts = urlsplit("")
    if parts.netloc not in {"", "localhost"} or parts.query or parts.fragment or not parts.path.startswith("/"):
        raise InvalidArgument(
            "dataset", f"{url[:200]!r} is no file of the trainer's machine: write file:///PATH, with %3F for '?' and %23 for '#'."
        )
    return unquote(parts.path, errors="surrogateescape")
