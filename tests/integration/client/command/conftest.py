"""The `eyas` command in this process, against a fake server on a real socket."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from eyas._command import main
from eyas.v1 import (
    capture_pb2,
    capture_service_pb2,
    dataset_service_pb2,
    job_service_pb2,
    model_pb2,
    model_service_pb2,
    training_service_pb2,
)
from fake_server import FakeServer
from replies import (
    TRAINING_UPDATES,
    alias_message,
    captured_message,
    classified,
    dataset_message,
    inspected_message,
    job_message,
    judged,
    model_message,
    report_message,
    traffic_message,
    version_message,
    waiting_message,
)

Eyas = Callable[..., tuple[int, str, str]]


@pytest.fixture
def server(server: FakeServer) -> FakeServer:
    """A server on which everything goes well."""
    queued = job_message("QUEUED")
    server.answers("Train", training_service_pb2.TrainResponse(job=queued))
    server.answers("Evaluate", training_service_pb2.EvaluateResponse(job=queued))
    server.answers("InspectDataset", training_service_pb2.InspectDatasetResponse(job=inspected_message("QUEUED")))
    server.answers("Classify", classified)
    server.answers("ReportFeedback", judged)
    server.answers("GetJob", job_service_pb2.GetJobResponse(job=job_message()))
    server.answers("ListJobs", job_service_pb2.ListJobsResponse(jobs=[job_message(), job_message("RUNNING", "def")]))
    server.answers("WatchJob", TRAINING_UPDATES)
    server.answers("CancelJob", job_service_pb2.CancelJobResponse(job=job_message("CANCELLED")))
    server.answers("PauseJob", job_service_pb2.PauseJobResponse(job=waiting_message("INTERRUPTED")))
    server.answers("ResumeJob", job_service_pb2.ResumeJobResponse(job=waiting_message("QUEUED")))
    server.answers("ListModels", model_service_pb2.ListModelsResponse(models=[model_message()]))
    server.answers("GetModel", model_service_pb2.GetModelResponse(model=model_message()))
    server.answers("ListModelVersions", model_service_pb2.ListModelVersionsResponse(versions=[version_message()]))
    server.answers("SetAlias", model_service_pb2.SetAliasResponse(alias=alias_message(reason="better")))
    undone = alias_message(2, "bad on hats")
    undone.record, undone.previous_version, undone.undone_record = 3, "models/clothing/versions/3", 2
    demanded = model_pb2.Policy(aliases=["production"], max_label_drop=0.05, no_significant_loss=True, record=2, actor="ipv4:1")
    demanded.bounds.add(figure="accuracy", at_least=0.9)
    demanded.bounds.add(figure="log_loss", at_most=0.3)
    server.answers("GetReport", report_message())
    found = model_service_pb2.GetModelVersionResponse(version=version_message(lineage=True))
    server.answers("GetModelVersion", found)
    server.answers("DeleteModelVersion", model_service_pb2.DeleteModelVersionResponse())
    server.answers("GetPolicy", model_service_pb2.GetPolicyResponse(policy=model_pb2.Policy(aliases=["production"])))
    server.answers("SetPolicy", model_service_pb2.SetPolicyResponse(policy=demanded))
    routed = traffic_message()
    server.answers("GetTraffic", model_service_pb2.GetTrafficResponse(traffic=routed))
    server.answers("SetTraffic", model_service_pb2.SetTrafficResponse(traffic=routed))
    server.answers("ListTrafficRecords", model_service_pb2.ListTrafficRecordsResponse(records=[routed]))
    server.answers("RollbackAlias", model_service_pb2.RollbackAliasResponse(alias=undone))
    followed = capture_pb2.CapturePolicy(
        name="models/clothing/capture",
        enabled=True,
        reasons=["CAPTURE_REASON_WRONG", "CAPTURE_REASON_LOW_MARGIN", "CAPTURE_REASON_SAMPLE"],
        percent=2,
        max_margin=0.2,
        max_images=1000,
        keep_days=30,
    )
    server.answers("GetCapturePolicy", capture_service_pb2.GetCapturePolicyResponse(policy=followed))
    server.answers("SetCapturePolicy", capture_service_pb2.SetCapturePolicyResponse(policy=followed))
    kept = [captured_message(1), captured_message(2, "hat")]
    server.answers("ListCapturedPictures", capture_service_pb2.ListCapturedPicturesResponse(pictures=kept))
    with_file = capture_service_pb2.GetCapturedPictureResponse(picture=kept[0], content=b"\xff\xd8\xff\xe0")
    server.answers("GetCapturedPicture", with_file)
    labelled = capture_service_pb2.LabelCapturedPicturesResponse(labelled_count=2, new_labels=["scarf"])
    server.answers("LabelCapturedPictures", labelled)
    server.answers("DeleteCapturedPictures", capture_service_pb2.DeleteCapturedPicturesResponse(deleted_count=1))
    server.answers("CheckUpload", dataset_service_pb2.CheckUploadResponse())
    server.answers("CreateDataset", dataset_service_pb2.CreateDatasetResponse(dataset=dataset_message()))
    server.answers("GetDataset", dataset_service_pb2.GetDatasetResponse(dataset=dataset_message()))
    server.answers("ListDatasets", dataset_service_pb2.ListDatasetsResponse(datasets=[dataset_message(), dataset_message(1)]))
    server.answers("DeleteDataset", dataset_service_pb2.DeleteDatasetResponse())
    server.answers("ListAliasRecords", model_service_pb2.ListAliasRecordsResponse(records=[undone, alias_message(reason="better")]))
    return server


@pytest.fixture
def eyas(server: FakeServer, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Eyas:
    """Runs the command in this process: `status, out, err = eyas("jobs", "--json")`."""
    monkeypatch.setenv("EYAS_ADDRESS", server.address)
    monkeypatch.delenv("EYAS_TOKEN", raising=False)

    def run(*arguments: object) -> tuple[int, str, str]:
        status = main.run([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


def one_sentence(err: str) -> str:
    """Returns what the command said in the end, and makes sure that it was one line and no traceback."""
    assert "Traceback" not in err
    (line,) = [line for line in err.splitlines() if line.startswith("eyas: ")]
    assert err.rstrip().endswith(line)
    return line.removeprefix("eyas: ")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    (tmp_path / "a.jpg").write_bytes(b"shirt")
    return tmp_path
