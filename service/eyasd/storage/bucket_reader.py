"""A bucket of S3, Google Cloud Storage or Azure, as `reading.Objects` wants it. Nothing is tried twice here.

Imported where a bucket is read, and nowhere else, as obstore takes a tenth of a second. Credentials and endpoints come from the
clouds' own environment variables and files (such as AWS_ACCESS_KEY_ID and AWS_ENDPOINT_URL), never from a URL.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import obstore
from obstore.exceptions import (
    BaseError,
    GenericError,
    InvalidPathError,
    PermissionDeniedError,
    PreconditionError,
    UnauthenticatedError,
)
from obstore.store import from_url

from eyasd.core.errors import BadDataset, StorageFailed
from eyasd.storage.reading import Changed, Hitch, Object

if TYPE_CHECKING:
    from obstore import GetOptions
    from obstore.store import ClientConfig, RetryConfig

_CHUNK_BYTES: Final = 1024**2
_PAGE: Final = 1000
_CLIENT: Final[ClientConfig] = {
    # Only an endpoint that the operator has set can be of plain HTTP.
    "allow_http": True,
    "connect_timeout": "5s",
    # A request may take as long as it brings something.
    "read_timeout": "20s",
    "timeout": "10m",
    "pool_max_idle_per_host": "64",
}
_ONCE: Final[RetryConfig] = {"max_retries": 0}
_STATUS: Final = re.compile(r"status code: (\d{3})")


class BucketReader:
    """A bucket; safe to use from several threads."""

    def __init__(self, url: str) -> None:
        """Reads the environment; connects to nothing.

        Args:
            url: `s3://`, `gs://` or `az://` and the bucket's name; with a prefix, all keys are below that.

        Raises:
            StorageFailed: the environment does not say how to reach it.
        """
        self.url = url
        try:
            self._store = from_url(url, client_options=_CLIENT, retry_config=_ONCE)
        except (BaseError, ValueError) as error:
            raise StorageFailed(f"{url} cannot be opened: {_first_line(error)}. Check the trainer's environment.") from error

    def look(self, key: str) -> Object:
        """See `Objects`."""
        with _told(self.url, key):
            found = obstore.head(self._store, key)
        return Object(key, found["size"], found["e_tag"] or "")

    def find(self, prefix: str, after: str) -> Iterator[Object]:
        """See `Objects`."""
        with _told(self.url, prefix):
            for page in obstore.list(self._store, prefix or None, offset=after or None, chunk_size=_PAGE):
                for found in page:
                    yield Object(found["path"], found["size"], found["e_tag"] or "")

    def read(self, wanted: Object, start: int, end: int) -> Iterator[bytes]:
        """See `Objects`."""
        options: GetOptions = {"range": (start, end)}
        if wanted.version:
            options["if_match"] = wanted.version
        with _told(self.url, wanted.key):
            answer = obstore.get(self._store, wanted.key, options=options)
            # Not every store heeds the condition.
            if answer.meta["size"] != wanted.size_bytes or (wanted.version and answer.meta["e_tag"] != wanted.version):
                raise Changed(wanted.key)
            if end - start <= _CHUNK_BYTES:  # in one go, which takes a tenth less of the processor
                yield answer.bytes().to_bytes()
                return
            for chunk in answer.stream(min_chunk_size=_CHUNK_BYTES):
                yield bytes(chunk)


@contextmanager
def _told(url: str, key: str) -> Iterator[None]:
    """Turns what obstore raises into what `Objects` promises."""
    place = f"{url}/{key}" if key else url
    try:
        yield
    except PreconditionError:
        raise Changed(key) from None
    except (PermissionDeniedError, UnauthenticatedError):
        raise _denied(place) from None
    except GenericError as error:
        found = _STATUS.search(str(error))
        match int(found[1]) if found else 0:
            case 401 | 403:
                raise _denied(place) from None
            case 404 | 410:
                raise FileNotFoundError(key) from None
            case 0 if "parsing Path" in str(error):
                raise BadDataset(f"{place} holds a key that no folder can hold: {_first_line(error)}.") from None
            case 0:
                raise Hitch(_first_line(error)) from None
            case status:
                raise Hitch(f"the store answered {status}") from None
    except (InvalidPathError, ValueError) as error:
        raise BadDataset(f"{place} is no key that can be read: {_first_line(error)}.") from None


def _denied(place: str) -> StorageFailed:
    return StorageFailed(f"The trainer may not read {place}: check its credentials, and what they allow.")


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0].strip(" .")[:200]
