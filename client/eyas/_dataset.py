"""Uploaded datasets as a user holds them, and how the contract's messages become them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from eyas.v1 import dataset_pb2


@dataclass(frozen=True, slots=True)
class DatasetFolder:
    """A folder of an uploaded dataset, "" for the dataset itself, and how many files lie in it."""

    path: str
    file_count: int


@dataclass(frozen=True, slots=True)
class Dataset:
    """A version of an uploaded dataset; never changes.

    Attributes:
        name: `datasets/NAME/versions/NUMBER`, which `train`, `evaluate` and `inspect` take.
        digest: of its files and their paths: equal for equal datasets.
        file_count: of its files.
        size_bytes: of all of them together.
        create_time: when it was made.
        actor: who made it.
        folders: where files lie, at most 1000; of `get_dataset` alone.
    """

    name: str
    digest: str
    file_count: int
    size_bytes: int
    create_time: datetime
    actor: str
    folders: tuple[DatasetFolder, ...] = ()


@dataclass(frozen=True, slots=True)
class UploadProgress:
    """How far an upload is.

    Attributes:
        files: that are on the server, those included that were there before.
        file_count: of all files.
        done_bytes: of the files that are on the server.
        size_bytes: of all files.
        sent_bytes: that were sent, what had to be sent again included.
    """

    files: int
    file_count: int
    done_bytes: int
    size_bytes: int
    sent_bytes: int


def dataset(message: dataset_pb2.Dataset) -> Dataset:
    """Returns the value."""
    return Dataset(
        name=message.name,
        digest=message.digest,
        file_count=message.file_count,
        size_bytes=message.size_bytes,
        create_time=message.create_time.ToDatetime(UTC),
        actor=message.actor,
        folders=tuple(DatasetFolder(folder.path, folder.file_count) for folder in message.folders),
    )


def dataset_resource(name: str) -> str:
    """Returns the resource name of `NAME` or `NAME/VERSION`; a resource name is returned as it is."""
    if name.startswith("datasets/"):
        return name
    dataset, slash, version = name.partition("/")
    return f"datasets/{dataset}/versions/{version}" if slash else f"datasets/{dataset}"
