"""What `eyas upload` and `eyas datasets` say, and when a command uploads its dataset by itself."""

from __future__ import annotations

from pathlib import Path

import grpc
import pytest
from google.rpc import error_details_pb2
from tests.integration.client.command.conftest import Eyas, one_sentence

from eyas._carrier import Carrier
from eyas.v1 import dataset_service_pb2, training_service_pb2
from fake_server import FakeServer, Refusal
from replies import job_message

UPLOADED = "datasets/photos/versions/2"
NOT_THERE = Refusal(
    grpc.StatusCode.NOT_FOUND,
    "There is no folder '/photos' on the trainer's machine.",
    (error_details_pb2.ErrorInfo(reason="DATASET_NOT_FOUND", domain="eyas"),),
)


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes the server's address one of another machine."""
    monkeypatch.setattr(Carrier, "is_local", False)


def trained_on(server: FakeServer) -> list[str]:
    return [call.request.dataset for call in server.calls("Train")]


def uploads(server: FakeServer) -> int:
    return len(server.calls("CreateDataset"))


def test_an_upload_says_what_it_is_called_and_what_to_do_with_it(eyas: Eyas, server: FakeServer, photos: Path) -> None:
    status, out, err = eyas("upload", photos, "--name", "photos")
    assert (status, err) == (0, f"Uploaded {UPLOADED}: 3,781 files, 98.0 MB.\n")
    assert f"eyas train {UPLOADED} --model NAME" in out
    asked = server.calls("CheckUpload")[0].request
    assert (asked.name, asked.file_count, asked.size_bytes, len(asked.blobs)) == ("datasets/photos", 1, 5, 1)


def test_what_is_missing_is_sent(eyas: Eyas, server: FakeServer, photos: Path) -> None:
    missing = dataset_service_pb2.CheckUploadResponse(missing=[dataset_service_pb2.MissingBlob(index=0)])
    server.answers("CheckUpload", missing, dataset_service_pb2.CheckUploadResponse())
    server.converses("UploadDataset", lambda _: iter([dataset_service_pb2.UploadDatasetResponse(blob_count=1)]))
    assert eyas("upload", photos)[0] == 0
    (sent,) = server.calls("UploadDataset")
    assert [(piece.offset, piece.content) for piece in sent.request.pieces] == [(0, b"shirt")]


def test_datasets_are_listed_and_shown(eyas: Eyas) -> None:
    _, out, _ = eyas("datasets")
    assert [line.replace("│", "").split()[:3] for line in out.splitlines()[2:]] == [
        [f"datasets/photos/versions/{number}", "3,781", "98.0"] for number in (2, 1)
    ]
    _, out, _ = eyas("datasets", "show", "photos")
    assert "train/shirt/: 3,000 files" in out
    assert "./: 781 files" in out


def test_no_datasets_yet(eyas: Eyas, server: FakeServer) -> None:
    server.answers("ListDatasets", dataset_service_pb2.ListDatasetsResponse())
    assert "eyas upload --help" in eyas("datasets")[1]


@pytest.mark.usefixtures("elsewhere")
def test_a_folder_of_this_machine_is_uploaded_to_a_server_on_another(eyas: Eyas, server: FakeServer, photos: Path) -> None:
    status, _, err = eyas("train", photos, "--model", "clothing", "--no-wait")
    assert status == 0
    assert trained_on(server) == [UPLOADED]
    assert f"Uploaded {UPLOADED}" in err
    eyas("inspect", photos, "--no-wait")
    eyas("evaluate", "clothing", photos)
    eyas("compare", "clothing", "clothing/3", "--data", photos)
    assert [call.request.dataset for method in ("InspectDataset", "Evaluate") for call in server.calls(method)] == [UPLOADED] * 3


@pytest.mark.usefixtures("elsewhere")
@pytest.mark.parametrize(
    ("dataset", "option"),
    [
        ("/on/the/trainer", None),
        ("datasets/photos", None),
        ("s3://bucket/photos", None),
        ("datasets/photos/versions/1", None),
        ("", "--no-upload"),
    ],
)
def test_what_lies_on_the_trainer_or_is_uploaded_is_named_alone(
    eyas: Eyas, server: FakeServer, photos: Path, dataset: str, option: str | None
) -> None:
    status, _, _ = eyas("train", dataset or photos, "--model", "clothing", "--no-wait", *([option] if option else []))
    assert (status, trained_on(server), uploads(server)) == (0, [dataset or str(photos)], 0)


def test_a_server_on_this_machine_reads_the_folder_unless_it_is_not_there(eyas: Eyas, server: FakeServer, photos: Path) -> None:
    eyas("train", photos, "--model", "clothing", "--no-wait")
    assert (trained_on(server), uploads(server)) == ([str(photos)], 0)
    accepted = training_service_pb2.TrainResponse(job=job_message("QUEUED"))
    server.answers("Train", NOT_THERE, accepted)  # it runs in a container
    status, _, _ = eyas("train", photos, "--model", "clothing", "--no-wait")
    assert (status, trained_on(server)[1:], uploads(server)) == (0, [str(photos), UPLOADED], 1)
    server.answers("Train", NOT_THERE)
    for options in ((photos, "--no-upload"), ("/neither/here",)):
        status, _, err = eyas("train", *options, "--model", "clothing")
        assert (status, one_sentence(err)) == (1, NOT_THERE.message)
    server.answers("Train", accepted)
    eyas("train", photos, "--model", "clothing", "--no-wait", "--upload")
    assert (trained_on(server)[-1], uploads(server)) == (UPLOADED, 2)


def test_a_folder_called_as_an_uploaded_one_is_named_with_a_dot(
    eyas: Eyas, server: FakeServer, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(photos)
    (photos / "datasets" / "photos").mkdir(parents=True)
    eyas("train", "./datasets/photos", "--model", "clothing", "--no-wait")
    eyas("train", "datasets/photos", "--model", "clothing", "--no-wait")
    assert trained_on(server) == [str(photos / "datasets" / "photos"), "datasets/photos"]


def test_what_cannot_be_uploaded_is_one_sentence(eyas: Eyas, photos: Path) -> None:
    status, _, err = eyas("upload", photos / "gone")
    assert status == 2
    assert one_sentence(err).startswith("There is nothing at")
