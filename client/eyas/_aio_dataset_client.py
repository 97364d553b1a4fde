"""What the asynchronous client does with uploaded datasets."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator

from eyas import _dataset_calls
from eyas._aio_carrier import Carrier
from eyas._dataset import Dataset
from eyas._dataset_client import DatasetClient as SynchronousClient
from eyas._upload import OnProgress


class DatasetClient(Carrier):
    """The calls of `DatasetService`; see `eyas.Client`."""

    async def upload_dataset(
        self,
        path: str | os.PathLike[str],
        name: str | None = None,
        *,
        follow_links: bool = False,
        on_progress: OnProgress | None = None,
    ) -> Dataset:
        """Uploads a dataset that the trainer cannot read where it lies; returns once it is there, whole.

        It is done in a thread, over a connection of its own: files are read there anyway, and grpc.aio hides how a call ended from
        a write that meets the end.
        """
        there = self._connection
        client = SynchronousClient(
            there.address,
            timeout=there.timeout_seconds,
            retries=there.retries,
            tls=there.tls,
            root_certificates=there.root_certificates,
            certificate=there.certificate,
            private_key=there.private_key,
            token=there.token,
        )
        try:
            return await asyncio.to_thread(client.upload_dataset, path, name, follow_links=follow_links, on_progress=on_progress)
        finally:
            client.close()  # where this was cancelled it ends the thread, too

    async def get_dataset(self, name: str) -> Dataset:
        """Returns a version of a dataset, `NAME/NUMBER`, or the newest of `NAME`, with the folders that its files lie in."""
        return await self._run(_dataset_calls.get_dataset(name))

    def list_datasets(self) -> AsyncIterator[Dataset]:
        """Yields every version of every dataset, by name, and the newest first."""
        return self._pages(_dataset_calls.list_datasets)

    async def delete_dataset(self, name: str) -> None:
        """Deletes a version, `NAME/NUMBER`, or all versions of `NAME`."""
        await self._run(_dataset_calls.delete_dataset(name))
