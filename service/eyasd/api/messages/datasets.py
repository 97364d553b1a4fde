"""Uploaded datasets <-> messages of the contract."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from eyas.v1 import dataset_pb2
from eyas.v1 import dataset_service_pb2 as pb
from eyasd.api.messages.times import timestamp
from eyasd.core.datasets import Blob, DatasetRecord
from eyasd.core.errors import InvalidArgument
from eyasd.core.names import DatasetRef

MAX_BLOBS: Final = 10_000
_DIGEST_BYTES: Final = 32


def dataset_message(name: str, record: DatasetRecord, folders: Iterable[tuple[str, int]] = ()) -> dataset_pb2.Dataset:
    """Returns the message."""
    return dataset_pb2.Dataset(
        name=str(DatasetRef(name, record.version)),
        digest=record.manifest.sha256,
        file_count=record.files,
        size_bytes=record.size_bytes,
        create_time=timestamp(record.time),
        actor=record.actor,
        folders=[dataset_pb2.DatasetFolder(path=path, file_count=count) for path, count in folders],
    )


def blob_of(message: pb.Blob, field: str) -> Blob:
    """Returns the value. Raises InvalidArgument."""
    if len(message.sha256) != _DIGEST_BYTES:
        raise InvalidArgument(field, f"A digest has {len(message.sha256)} bytes; the SHA-256 of content has {_DIGEST_BYTES}.")
    if message.size_bytes < 0:
        raise InvalidArgument(field, f"The size of content is {message.size_bytes}; it must be 0 or more.")
    return Blob(message.sha256.hex(), message.size_bytes)


def blobs_of(messages: Sequence[pb.Blob]) -> list[Blob]:
    """Returns the values. Raises InvalidArgument."""
    if len(messages) > MAX_BLOBS:
        raise InvalidArgument("blobs", f"The request names {len(messages):,} blobs: ask for at most {MAX_BLOBS:,} at a time.")
    return [blob_of(message, "blobs") for message in messages]
