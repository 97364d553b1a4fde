"""DatasetService."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from functools import partial
from typing import Any, Final

from eyas.v1 import dataset_service_pb2 as pb
from eyas.v1 import dataset_service_pb2_grpc as pb_grpc
from eyasd.api import paging
from eyasd.api.asking import actor_of, host_of, host_of_peer
from eyasd.api.gate import caller
from eyasd.api.messages.datasets import blob_of, blobs_of, dataset_message
from eyasd.api.streaming import GOING_DOWN
from eyasd.api.uploading import Upload, UploadLimits
from eyasd.core.datasets import DatasetRecord
from eyasd.core.errors import InvalidArgument, Overloaded
from eyasd.core.names import DatasetRef, parse_dataset_ref
from eyasd.core.threads import pool
from eyasd.jobs.ledger import Ledger
from eyasd.registry.datasets import Datasets
from eyasd.registry.shares import Share, Shares
from eyasd.telemetry.metrics import Metrics

# Of a disk that takes 10 ms to have a file safe, 16 at a time got 9 times as many a second.
_THREADS: Final = 32
# Each holds some MiB.
_MAX_UPLOADS: Final = 32
_MAX_FOLDERS: Final = 1000


class DatasetService(pb_grpc.DatasetServiceServicer):
    """See protos/eyas/v1/dataset_service.proto."""

    def __init__(
        self,
        datasets: Datasets,
        ledger: Ledger,
        limits: UploadLimits,
        shares: Shares,
        metrics: Metrics,
        on_delete: Callable[[], None],
    ) -> None:
        """Starts the threads that write.

        Args:
            datasets: the registry's.
            ledger: knows which jobs use one.
            limits: of an upload.
            shares: of callers.
            metrics: count uploads.
            on_delete: called when there may be content to collect.
        """
        self._datasets, self._ledger, self._limits, self._metrics, self._on_delete = datasets, ledger, limits, metrics, on_delete
        self._shares = shares
        self._pool = pool(_THREADS, "upload")
        self._uploads: set[Upload] = set()
        self._ending = False

    async def CheckUpload(self, request: pb.CheckUploadRequest, context: Any) -> pb.CheckUploadResponse:  # noqa: N802
        """Says which content is missing."""
        if request.name:
            _name_of(request.name)
        self._datasets.check_limits(request.file_count, request.size_bytes)
        (await self._share(context)).check(request.size_bytes)
        missing = await asyncio.to_thread(self._datasets.blobs.missing, blobs_of(request.blobs))
        return pb.CheckUploadResponse(missing=[pb.MissingBlob(index=place, received_bytes=received) for place, received in missing])

    async def UploadDataset(  # noqa: N802 - gRPC's name
        self,
        requests: AsyncIterator[pb.UploadDatasetRequest],
        context: Any,
    ) -> pb.UploadDatasetResponse:
        """Takes content."""
        share = await self._share(context)
        if len(self._uploads) >= _MAX_UPLOADS:
            raise Overloaded(f"{_MAX_UPLOADS} uploads are under way: try again later.", retry_after=timedelta(seconds=1))
        upload = Upload(requests, self._datasets.blobs, self._pool, self._limits, share.send)
        self._uploads.add(upload)
        self._metrics.uploads.inc()
        try:
            if self._ending:
                upload.end(GOING_DOWN)
            return pb.UploadDatasetResponse(blob_count=await upload.run())
        finally:
            self._uploads.remove(upload)
            self._metrics.uploads.dec()

    async def CreateDataset(self, request: pb.CreateDatasetRequest, context: Any) -> pb.CreateDatasetResponse:  # noqa: N802
        """Makes a version of what was uploaded."""
        name = _name_of(request.name)
        manifest = blob_of(request.manifest, "manifest")
        share = await self._share(context)
        record = await asyncio.to_thread(self._datasets.create, name, manifest, actor_of(context), share.made)
        return pb.CreateDatasetResponse(dataset=dataset_message(name, record))

    async def GetDataset(self, request: pb.GetDatasetRequest, context: Any) -> pb.GetDatasetResponse:  # noqa: N802, ARG002
        """Returns a version."""
        ref = parse_dataset_ref(request.name, "name")
        record = await asyncio.to_thread(self._datasets.get, ref)
        folders = await asyncio.to_thread(self._datasets.folders, record.manifest, _MAX_FOLDERS)
        return pb.GetDatasetResponse(dataset=dataset_message(ref.dataset, record, folders))

    async def ListDatasets(self, request: pb.ListDatasetsRequest, context: Any) -> pb.ListDatasetsResponse:  # noqa: N802, ARG002
        """Lists versions by name, newest first."""
        after, size = paging.decode_token(request.page_token), paging.page_size(request.page_size)
        ref = parse_dataset_ref(after, "page_token") if after else None
        page, more = await asyncio.to_thread(self._page, ref, size)
        token = paging.encode_token(str(DatasetRef(page[-1][0], page[-1][1].version)) if more else None)
        return pb.ListDatasetsResponse(datasets=[dataset_message(name, record) for name, record in page], next_page_token=token)

    async def DeleteDataset(self, request: pb.DeleteDatasetRequest, context: Any) -> pb.DeleteDatasetResponse:  # noqa: N802, ARG002
        """Deletes a version, or all of them."""
        ref = parse_dataset_ref(request.name, "name")
        await asyncio.to_thread(self._datasets.get, ref)  # so that one that does not exist is told of first
        await self._ledger.refuse_if_used(ref)
        await asyncio.to_thread(self._datasets.delete, ref)
        self._on_delete()
        return pb.DeleteDatasetResponse()

    def end_streams(self) -> None:
        """Has every upload end with what has come kept; those that come after do so at once."""
        self._ending = True
        for upload in self._uploads:
            upload.end(GOING_DOWN)

    def close(self) -> None:
        """Waits for what is being written."""
        self._pool.shutdown()

    async def _share(self, context: Any) -> Share:
        identity, host = caller().identity, host_of(context)
        if identity.is_known:
            of = partial(self._shares.of, identity.principal, identity.name, lambda actor: actor == identity.name)
        else:
            of = partial(self._shares.of, host, host, lambda actor: host_of_peer(actor) == host)
        return await asyncio.to_thread(of) if self._shares.most else of()  # which reads nothing then

    def _page(self, after: DatasetRef | None, size: int) -> tuple[list[tuple[str, DatasetRecord]], bool]:
        """Returns the versions of a page, and whether there are more."""
        page: list[tuple[str, DatasetRecord]] = []
        for name in self._datasets.names():
            if after is not None and name < after.dataset:
                continue
            for record in reversed(self._datasets.versions(name)):
                if after is not None and name == after.dataset and record.version >= (after.version or 0):
                    continue
                if len(page) == size:
                    return page, True
                page.append((name, record))
        return page, False


def _name_of(text: str) -> str:
    """Returns the dataset of a new version."""
    ref = parse_dataset_ref(text, "name")
    if ref.version is not None:
        raise InvalidArgument(
            "name", f"{text[:200]!r} names a version, but its number is given to it: write datasets/{ref.dataset}."
        )
    return ref.dataset
