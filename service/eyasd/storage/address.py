"""Where objects are: an address, and the store that is meant by it.

    (unset)                  a folder beside everything else
    file:///srv/models       a folder, absolute
    s3://BUCKET/PREFIX       Amazon S3, or what speaks like it
    gs://BUCKET/PREFIX       Google Cloud Storage
    az://CONTAINER/PREFIX    Azure Blob Storage
    memory://                of this process alone, for tests

Credentials and endpoints are never part of an address: they come from the environment variables and files of each cloud, so that
an address may be logged, shown and put into a configuration file.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from eyasd.storage.local import LocalStore
from eyasd.storage.store import BlobStore

_CLOUDS: Final = ("s3", "gs", "az")
# What all three clouds allow in a bucket's name, dots of S3 and underscores of Google included.
_BUCKET: Final = re.compile(r"[a-z0-9][a-z0-9._-]{1,220}[a-z0-9]")
_PART: Final = re.compile(r"[A-Za-z0-9_=+@-][A-Za-z0-9._=+@-]*")


def check_address(text: str) -> str:
    """Returns the address of a store, without a slash at its end.

    Raises:
        ValueError: one sentence says what is wrong with it.
    """
    if re.search(r"[\s\x00-\x1f\\%]", text):
        raise ValueError(f"{text!r} has a space, a backslash or a percent sign in it: rename the bucket's folder")
    try:
        url = urlsplit(text)
    except ValueError:  # of a host that is none
        url = urlsplit("")
    if url.scheme == "memory" and not url.netloc and url.path in {"", "/"}:
        return "memory://"
    if url.scheme == "file" and not url.netloc and url.path.startswith("/") and not url.query and not url.fragment:
        return f"file://{url.path.rstrip('/') or '/'}"
    if url.scheme not in _CLOUDS:
        raise ValueError(f"{text!r} is no address of a store: it begins with file:///, s3://, gs:// or az://")
    if "@" in url.netloc or url.query or url.fragment:
        raise ValueError(
            f"{url.scheme}://{url.netloc.rpartition('@')[2]} has more than a bucket and a prefix: credentials and endpoints "
            "belong into the environment"
        )
    if not _BUCKET.fullmatch(url.netloc):
        raise ValueError(f"{text!r} names no bucket: it is {url.scheme}://BUCKET or {url.scheme}://BUCKET/PREFIX")
    prefix = url.path.removeprefix("/").removesuffix("/")
    if prefix and not all(_PART.fullmatch(part) for part in prefix.split("/")):
        raise ValueError(f"{text!r} has a prefix with an empty, hidden or odd part: use letters, digits and . _ = + @ -")
    return f"{url.scheme}://{url.netloc}/{prefix}".rstrip("/")


def beside(address: str, name: str) -> str:
    """Returns the address of a store beside another one, whose name it has with a further word.

    Raises:
        ValueError: the other one is all of a bucket, or of a disk.
    """
    url = urlsplit(address)
    if address == "memory://":
        return address
    if not url.path.strip("/"):
        raise ValueError(f"{address} has no place beside it")
    return f"{address}-{name}"


def open_store(address: str | None, folder: Path) -> BlobStore:
    """Returns the store of an address; nothing is connected to yet.

    Args:
        address: as `check_address` returns it; None is `folder`.
        folder: where objects are if no address says otherwise.

    Raises:
        StartupFailed: the environment lacks what the cloud needs.
    """
    if address is None:
        return LocalStore(folder)
    if address.startswith("file://"):
        return LocalStore(Path(address.removeprefix("file://")))
    from eyasd.storage.bucket import Bucket  # noqa: PLC0415 - takes a tenth of a second that a folder need not wait for

    return Bucket(address)
