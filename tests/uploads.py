"""Uploaded datasets for tests: content, lists of files, and a registry that holds them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from eyasd.core.datasets import HEADER, Blob, DatasetFile, DatasetRecord
from eyasd.registry.blobs import Blobs
from eyasd.registry.datasets import DatasetLimits, Datasets
from eyasd.storage.address import open_store


def open_uploads(
    folder: Path, address: str | None = None, *, max_bytes: int = 10**9, max_dataset_bytes: int = 10**9, max_files: int = 1000
) -> Datasets:
    """The datasets that were uploaded to a daemon whose data folder this is."""
    blobs = Blobs(open_store(address, folder / "datasets"), folder / "uploads", max_bytes)
    return Datasets(blobs, DatasetLimits(max_bytes=max_dataset_bytes, max_files=max_files))


def blob(content: bytes) -> Blob:
    return Blob(hashlib.sha256(content).hexdigest(), len(content))


def manifest_lines(files: Iterable[DatasetFile]) -> Iterator[bytes]:
    """Yields the lines of a list of files, as a client writes them; the daemon only reads such."""
    yield HEADER
    for file in sorted(files, key=lambda file: file.path.encode().replace(b"/", b"\0")):
        yield f"{file.blob.sha256} {file.blob.size_bytes} {file.path}\n".encode()


def manifest(files: Mapping[str, bytes]) -> bytes:
    return b"".join(manifest_lines(DatasetFile(path, blob(content)) for path, content in files.items()))


def put(datasets: Datasets, files: Mapping[str, bytes]) -> Blob:
    """Uploads content and the list of it, and returns the list."""
    listed = manifest(files)
    for content in (*files.values(), listed):
        datasets.blobs.put(blob(content), content)
    return blob(listed)


def upload(datasets: Datasets, name: str, files: Mapping[str, bytes]) -> DatasetRecord:
    return datasets.create(name, put(datasets, files), "test")
