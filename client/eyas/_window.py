"""Some files of an upload that are looked at together: what is in them, which of that is missing, and the messages that send it.

A file that is another one when it is sent than when it was looked at is looked at once more.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

from eyas._errors import InvalidArgument
from eyas._local_files import LocalFile
from eyas.v1 import dataset_service_pb2 as pb

# A message takes 2 s at 1 Mbit/s, and a server ends a stream when none has come for a minute.
PIECE_BYTES: Final = 256 * 1024
# Servers end a stream after 4 minutes.
_STREAM_SECONDS: Final = 120.0
_CHANGES: Final = 3


class Entry:
    """A file to upload.

    Attributes:
        file: where it is.
        size_bytes: of what is in it, once that was looked at.
    """

    # There may be millions, so a message is made of each only when it is needed.
    __slots__ = ("_changes", "_sha256", "file", "size_bytes")

    def __init__(self, file: LocalFile) -> None:
        self.file = file
        self.size_bytes = 0
        self._sha256: bytes | None = None  # None: what is in it is to be found out, again if it has changed
        self._changes = 0

    def look(self) -> pb.Blob:
        """Returns what is in it, from the file where that is not known. Raises InvalidArgument where it cannot be read."""
        if self._sha256 is None:
            digest, self.size_bytes = hashlib.sha256(), 0
            for piece in self._read():
                digest.update(piece)
                self.size_bytes += len(piece)
            self._sha256 = digest.digest()
        return pb.Blob(sha256=self._sha256, size_bytes=self.size_bytes)

    def pieces(self, received: int) -> Iterator[pb.BlobPiece]:
        """Yields what is to be sent of it.

        Args:
            received: how many bytes the server has.

        Raises:
            InvalidArgument: it cannot be read any more, or does not come to rest.
        """
        blob, digest, end = self.look(), hashlib.sha256(), 0
        last: pb.BlobPiece | None = None
        for content in self._read():
            start, end = end, end + len(content)
            digest.update(content)
            if end > blob.size_bytes:
                break
            if end > received or end == blob.size_bytes:
                if last is not None:
                    yield last
                offset = max(start, received)
                last = pb.BlobPiece(blob=blob, offset=offset, content=content[offset - start :])
        if (digest.digest(), end) == (blob.sha256, blob.size_bytes):
            yield last or pb.BlobPiece(blob=blob)  # an empty file has one piece, too
            return
        self._changes += 1
        if self._changes >= _CHANGES:
            raise InvalidArgument(f"{self.file.place!r} is being changed again and again: upload it when nobody writes to it.")
        self._sha256 = None

    def _read(self) -> Iterator[bytes]:
        try:
            with Path(self.file.place).open("rb") as file:
                while piece := file.read(PIECE_BYTES):
                    yield piece
        except FileNotFoundError as error:
            raise InvalidArgument(
                f"{self.file.place!r} was there when the upload began, and is not any more: begin again."
            ) from error
        except OSError as error:
            raise InvalidArgument(f"{self.file.place!r} cannot be read: {error.strerror}.") from error


class Window:
    """Files that are looked at together."""

    def __init__(self, entries: Sequence[Entry], on_sent: Callable[[int], object]) -> None:
        """Looks at none of them yet.

        Args:
            entries: the files.
            on_sent: told how many bytes are on their way now.
        """
        self.entries = entries
        self._on_sent = on_sent
        self._asked: list[Entry] = []
        self._missing: list[tuple[Entry, int]] = []
        self._stream = 0
        self._failure: Exception | None = None

    @property
    def missing_bytes(self) -> int:
        """How many bytes the server lacked when it was asked last."""
        return sum(entry.size_bytes - received for entry, received in self._missing)

    def blobs(self) -> list[pb.Blob]:
        """Returns what is in the files, what several hold alike once; reads those that have not been, or have changed."""
        asked: dict[bytes, Entry] = {}
        for entry in self.entries:
            asked.setdefault(entry.look().sha256, entry)
        self._asked = list(asked.values())
        return [entry.look() for entry in self._asked]

    def answer(self, missing: Mapping[int, int]) -> bool:
        """Takes which of `blobs` are missing, and how much of each is there; returns whether any is."""
        self._missing = [(self._asked[place], received) for place, received in missing.items()]
        return bool(missing)

    def messages(self) -> Iterator[pb.UploadDatasetRequest]:
        """Yields what is sent in one stream; what goes wrong ends it, and is raised by `end_stream`, as gRPC would hide it."""
        stream, begun = self._stream, time.monotonic()
        message = pb.UploadDatasetRequest()
        size_bytes = 0
        try:
            for entry, received in self._missing:
                for piece in entry.pieces(received):
                    if size_bytes + len(piece.content) > PIECE_BYTES and message.pieces:
                        self._on_sent(size_bytes)
                        yield message
                        message, size_bytes = pb.UploadDatasetRequest(), 0
                        if stream != self._stream or time.monotonic() - begun > _STREAM_SECONDS:
                            return
                    message.pieces.append(piece)
                    size_bytes += len(piece.content)
            if message.pieces:
                self._on_sent(size_bytes)
                yield message
        except Exception as error:  # noqa: BLE001 - it is raised where the stream is waited for
            self._failure = error

    def end_stream(self) -> None:
        """A stream has ended, and nothing more is sent in it. Raises what went wrong on this side."""
        self._stream += 1
        if self._failure is not None:
            raise self._failure
