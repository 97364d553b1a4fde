"""What the synchronous client does with uploaded datasets."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc

from eyas import _dataset_calls
from eyas._carrier import Carrier
from eyas._dataset import Dataset
from eyas._errors import EyasError, from_rpc
from eyas._upload import CREATE_TIMEOUT_SECONDS, STREAM_TIMEOUT_SECONDS, OnProgress, Upload
from eyas._window import Window


class DatasetClient(Carrier):
    """The calls of `DatasetService`."""

    def upload_dataset(
        self,
        path: str | os.PathLike[str],
        name: str | None = None,
        *,
        follow_links: bool = False,
        on_progress: OnProgress | None = None,
    ) -> Dataset:
        """Uploads a dataset that the trainer cannot read where it lies; returns once it is there, whole.

        Only what the server lacks is sent, so an upload that was cut short goes on where it was when it is asked for again, and the
        same files are the same version. A connection that breaks off is made again while a server answers within a minute.

        Args:
            path: a folder as `train` takes it, or an archive, on this machine. Hidden files are left out.
            name: of the dataset; None is that of the folder or archive, as far as it can be a name.
            follow_links: whether symbolic links may lead out of the folder; else one that does is refused, lest something be
                uploaded that nobody meant.
            on_progress: called with an `UploadProgress` as the upload goes on, in another thread than this.

        Raises:
            InvalidArgument: something cannot be uploaded, or the name cannot be one; the message says what to do.
            FailedPrecondition: the dataset, or all datasets together, would be larger than the operator allows.
        """
        with Upload(Path(path), name, on_progress, follow_links=follow_links, retries=self._connection.retries) as upload:
            while True:
                for window in upload.windows():
                    self._send(upload, window)
                try:
                    return self._run(upload.call(), CREATE_TIMEOUT_SECONDS)
                except EyasError as error:
                    upload.again(error)

    def get_dataset(self, name: str) -> Dataset:
        """Returns a version of a dataset, `NAME/NUMBER`, or the newest of `NAME`, with the folders that its files lie in."""
        return self._run(_dataset_calls.get_dataset(name))

    def list_datasets(self) -> Iterator[Dataset]:
        """Yields every version of every dataset, by name, and the newest first."""
        return self._pages(_dataset_calls.list_datasets)

    def delete_dataset(self, name: str) -> None:
        """Deletes a version, `NAME/NUMBER`, or all versions of `NAME`.

        Raises:
            FailedPrecondition: a job that has not ended uses it.
        """
        self._run(_dataset_calls.delete_dataset(name))

    def _send(self, upload: Upload, window: Window) -> None:
        """Sends what is missing of a window, over as many streams as it takes."""
        call = _dataset_calls.upload_dataset()
        method: Any = self._channel.stream_unary(call.method, lambda m: m.SerializeToString(), call.response.FromString)
        while True:
            try:
                if not upload.answer(window, self._run(upload.question(window))):
                    return
                try:
                    method(window.messages(), timeout=STREAM_TIMEOUT_SECONDS, metadata=self._connection.metadata)
                except grpc.RpcError as rpc:
                    window.end_stream()
                    raise from_rpc(rpc, self._connection.address) from None
                upload.end_stream(window)
            except EyasError as error:
                pause = upload.pause_seconds(error)
            else:
                continue
            time.sleep(pause)
