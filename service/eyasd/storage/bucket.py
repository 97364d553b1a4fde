"""Objects in an object store: Amazon S3 and what speaks like it, Google Cloud Storage, Azure Blob Storage.

obstore speaks to them, signs, and repeats requests that may be repeated. What is added here is what makes its calls keep the
promises of `Store`: a `create` whose answer was lost finds out whether it was itself the winner, no request carries more than
a few megabytes, and whatever fails for good is told in a sentence.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar
from uuid import uuid4

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, GenericError
from obstore.store import from_url

from eyasd.core.errors import StartupFailed, StorageFailed
from eyasd.storage.bucket_errors import failure, first_line, is_final, is_no_bucket
from eyasd.storage.store import MOST_READ_BYTES, Found, Sink

if TYPE_CHECKING:
    from obstore import ObjectMeta
    from obstore.store import ClientConfig, RetryConfig

T = TypeVar("T")

# A part of a large object: S3 wants 5 MiB at least, and 10,000 parts at most, which makes 80 GB the largest object.
PART_BYTES: Final = 8 << 20
_PARTS_AT_ONCE: Final = 4
_PAGE: Final = 1000
# What changes when somebody calls `tell`; hidden, as every key that begins with a dot.
_NEWS: Final = ".news"
# Names who wrote an object. A name of metadata that all three clouds allow: Azure's are identifiers.
_WRITER: Final = "eyaswriter"
# A store that is not back by then is told of; until then a caller waits. Pauses grow from 0.1 s to 2 s, at random below that.
_PATIENCE_SECONDS: Final = 15.0
_REQUEST_SECONDS: Final = 30.0
_FIRST_PAUSE_SECONDS: Final = 0.1
_LONGEST_PAUSE_SECONDS: Final = 2.0


class Bucket:
    """Objects below a prefix of a bucket. Safe to use from several threads."""

    def __init__(
        self,
        address: str,
        patience_seconds: float = _PATIENCE_SECONDS,
        request_seconds: float = _REQUEST_SECONDS,
        pause_seconds: float = _FIRST_PAUSE_SECONDS,
    ) -> None:
        """Reads the environment; connects to nothing.

        Args:
            address: as `address.check_address` returns it.
            patience_seconds: how long a failing request is repeated before StorageFailed.
            request_seconds: how long one request of at most `PART_BYTES` may take.
            pause_seconds: before it is repeated for the first time; later ones are longer.

        Raises:
            StartupFailed: the environment lacks what the cloud needs.
        """
        self.address = address
        self._patience, self._pause = patience_seconds, pause_seconds
        # Repeats what is safe to repeat, parts of a large object among them; all else is repeated here.
        retry: RetryConfig = {
            "max_retries": 20,
            "retry_timeout": timedelta(seconds=patience_seconds),
            "backoff": {
                "init_backoff": timedelta(seconds=pause_seconds),
                "max_backoff": timedelta(seconds=_LONGEST_PAUSE_SECONDS),
                "base": 2,
            },
        }
        client: ClientConfig = {
            "timeout": timedelta(seconds=request_seconds),
            "connect_timeout": timedelta(seconds=5),
            "allow_http": True,  # only an endpoint that somebody has set to http:// is one
        }
        try:
            self._store = (
                from_url(address) if address == "memory://" else from_url(address, client_options=client, retry_config=retry)
            )
        except (BaseError, ValueError) as error:
            raise StartupFailed(f"{address} cannot be opened ({first_line(error)}): set what the cloud needs.") from error

    def read(self, key: str) -> bytes:
        """See `Store.read`."""
        content = BytesIO()

        def take(piece: bytes) -> None:
            if content.tell() + len(piece) > MOST_READ_BYTES:
                raise StorageFailed(f"{key!r} has more than the {MOST_READ_BYTES:,} bytes that are read at once: remove it.")
            content.write(piece)

        self._pieces(key, take)
        return content.getvalue()

    def read_into(self, key: str, sink: Sink) -> None:
        """See `Store.read_into`."""
        self._pieces(key, sink.write)

    def exists(self, key: str) -> bool:
        """See `Store.exists`."""
        try:
            self._try(key, lambda: obstore.head(self._store, key))
        except FileNotFoundError:
            return False
        return True

    def children(self, prefix: str) -> list[str]:
        """See `Store.children`. One request for each 1,000."""
        found = self._try(prefix, lambda: obstore.list_with_delimiter(self._store, prefix or None))
        names = [path.rpartition("/")[2] for path in (*found["common_prefixes"], *(meta["path"] for meta in found["objects"]))]
        return sorted({name for name in names if not name.startswith(".")})

    def having(self, prefix: str, name: str) -> list[str]:
        """See `Store.having`: a listing of all that is below, which is fewer requests than one for each child."""
        below = [key.removeprefix(f"{prefix}/").split("/") for key in self.keys(prefix)]
        return [parts[0] for parts in below if parts[1:] == [name]]

    def keys(self, prefix: str) -> list[str]:
        """See `Store.keys`. One request for each 1,000."""
        found = self._try(prefix, lambda: [meta["path"] for page in obstore.list(self._store, prefix or None) for meta in page])
        return sorted(key for key in found if not any(part.startswith(".") for part in key.split("/")))

    def stamp(self, prefix: str) -> None:
        """See `Store.stamp`: a prefix has none, and to list it is one request."""

    def news(self) -> str:
        """See `Store.news`. One request."""
        try:
            return self.read(_NEWS).decode(errors="replace")
        except FileNotFoundError:
            return ""

    def tell(self) -> None:
        """See `Store.tell`."""
        self.write(_NEWS, uuid4().hex.encode())

    def create(self, key: str, content: bytes) -> bool:
        """See `Store.create`.

        A request that got no answer may have been done, so it is repeated; where an object is there then, it says who wrote it.
        """
        writer = uuid4().hex

        def attempt() -> bool:
            try:
                obstore.put(self._store, key, content, mode="create", attributes={_WRITER: writer}, use_multipart=False)
            except AlreadyExistsError as error:
                # Also what S3 answers while another request is under way (409), which may fail yet.
                if (holder := self._writer(key)) is None:
                    raise _Again from error
                return holder == writer
            return True

        return self._try(key, attempt)

    def write(self, key: str, content: bytes) -> None:
        """See `Store.write`."""
        self._try(key, lambda: obstore.put(self._store, key, content, chunk_size=PART_BYTES, max_concurrency=_PARTS_AT_ONCE))

    def write_file(self, key: str, path: Path) -> None:
        """See `Store.write_file`. Four parts at once are in memory."""
        path.open("rb").close()  # one that cannot be read is an OSError of its own, no failure of the store
        self._try(key, lambda: obstore.put(self._store, key, path, chunk_size=PART_BYTES, max_concurrency=_PARTS_AT_ONCE))

    def delete(self, key: str) -> None:
        """See `Store.delete`."""
        try:
            self._try(key, lambda: obstore.delete(self._store, key))
        except FileNotFoundError:  # S3 does not mind, others do
            return

    def create_from(self, key: str, path: Path) -> bool:
        """See `BlobStore.create_from`. The digest of every part is a part of its request's signature, where the cloud signs."""
        if path.stat().st_size <= PART_BYTES:
            return self.create(key, path.read_bytes())
        if self.size(key) is not None:  # no cloud takes parts on a condition
            return False
        self.write_file(key, path)
        return True

    def size(self, key: str) -> int | None:
        """See `BlobStore.size`."""
        try:
            return self._try(key, lambda: obstore.head(self._store, key)["size"])
        except FileNotFoundError:
            return None

    def find(self, prefix: str) -> Iterator[Found]:
        """See `BlobStore.find`. One request for each 1,000; where one fails, the next goes on behind what has come."""
        last: str | None = None

        def page() -> Sequence[ObjectMeta]:
            return next(iter(obstore.list(self._store, prefix or None, offset=last, chunk_size=_PAGE)), ())

        while some := self._try(prefix, page):
            last = some[-1]["path"]
            for meta in some:
                if not any(part.startswith(".") for part in meta["path"].split("/")):
                    yield Found(meta["path"], meta["size"], meta["last_modified"].timestamp())

    def sweep(self, older_than_seconds: float) -> int:  # noqa: ARG002 - the store's own rules have ages
        """See `Store.sweep`: parts of what never became an object go by a rule of the bucket."""
        return 0

    def _pieces(self, key: str, take: Callable[[bytes], object]) -> None:
        """Hands over an object in order, at most `PART_BYTES` at a time, all of the same version of it."""

        def first() -> tuple[bytes, int, str | None]:
            found = obstore.get(self._store, key)
            size, tag = found.meta["size"], found.meta["e_tag"]
            # Of a large one nothing has been read yet, and the rest of this answer is not.
            return (found.bytes().to_bytes() if size <= PART_BYTES else b""), size, tag

        content, size, tag = self._try(key, first)
        if size <= PART_BYTES:
            take(content)
            return

        def part(start: int, end: int) -> bytes:
            return obstore.get(self._store, key, options={"range": (start, end), "if_match": tag}).bytes().to_bytes()

        for start in range(0, size, PART_BYTES):
            end = min(start + PART_BYTES, size)
            take(self._try(key, lambda start=start, end=end: part(start, end)))  # type: ignore[misc]

    def _writer(self, key: str) -> str | None:
        """Returns who wrote an object, "" where that is not known; None where there is no object."""
        try:
            return str(obstore.get(self._store, key).attributes.get(_WRITER, ""))
        except FileNotFoundError:
            return None

    def _try(self, key: str, request: Callable[[], T]) -> T:
        """Returns what a request does, repeated while the store cannot be reached or asks for patience.

        Every request here may be repeated: what it does twice is what it does once.

        Raises:
            FileNotFoundError: there is no such object.
            StorageFailed: it will not be done, or was not in time.
        """
        limit, pause = time.monotonic() + self._patience, self._pause
        while True:
            try:
                return request()
            except FileNotFoundError as error:
                if is_no_bucket(error):
                    raise failure(self.address, key, error) from error
                raise FileNotFoundError(key) from error
            except (GenericError, _Again) as error:
                if is_final(error) or time.monotonic() + pause > limit:
                    raise failure(self.address, key, error) from error
            except (BaseError, OSError, ValueError) as error:
                raise failure(self.address, key, error) from error
            time.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - so that many who failed together do not return together
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)


class _Again(Exception):
    """What stood in the way of a request is gone."""
