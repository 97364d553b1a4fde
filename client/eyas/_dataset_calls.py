"""The calls of `DatasetService` as values, see `_calls`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from eyas._calls import Call, Page
from eyas._dataset import Dataset, dataset, dataset_resource
from eyas.v1 import dataset_service_pb2 as pb


def check_upload(name: str, blobs: Sequence[pb.Blob], file_count: int, size_bytes: int) -> Call[Mapping[int, int]]:
    """CheckUpload; the answer is the place of each blob that is missing, with the bytes of it that have come."""
    request = pb.CheckUploadRequest(name=dataset_resource(name), blobs=blobs, file_count=file_count, size_bytes=size_bytes)
    return Call(
        "/eyas.v1.DatasetService/CheckUpload",
        request,
        pb.CheckUploadResponse,
        lambda r: {one.index: one.received_bytes for one in r.missing},
    )


def upload_dataset() -> Call[int]:
    """UploadDataset; `request` is a message without content, and the answer how many blobs are whole."""
    method = "/eyas.v1.DatasetService/UploadDataset"
    return Call(method, pb.UploadDatasetRequest(), pb.UploadDatasetResponse, lambda r: int(r.blob_count))


def create_dataset(name: str, manifest: pb.Blob) -> Call[Dataset]:
    """CreateDataset."""
    request = pb.CreateDatasetRequest(name=dataset_resource(name), manifest=manifest)
    return Call("/eyas.v1.DatasetService/CreateDataset", request, pb.CreateDatasetResponse, lambda r: dataset(r.dataset))


def get_dataset(name: str) -> Call[Dataset]:
    """GetDataset."""
    request = pb.GetDatasetRequest(name=dataset_resource(name))
    return Call("/eyas.v1.DatasetService/GetDataset", request, pb.GetDatasetResponse, lambda r: dataset(r.dataset))


def list_datasets(token: str) -> Call[Page[Dataset]]:
    """ListDatasets, one page."""
    request = pb.ListDatasetsRequest(page_token=token)
    return Call(
        "/eyas.v1.DatasetService/ListDatasets",
        request,
        pb.ListDatasetsResponse,
        lambda r: (list(map(dataset, r.datasets)), r.next_page_token),
    )


def delete_dataset(name: str) -> Call[None]:
    """DeleteDataset."""
    request = pb.DeleteDatasetRequest(name=dataset_resource(name))
    return Call("/eyas.v1.DatasetService/DeleteDataset", request, pb.DeleteDatasetResponse, lambda _: None)
