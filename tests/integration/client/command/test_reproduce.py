"""`eyas reproduce`."""

from __future__ import annotations

import json
from pathlib import Path

import grpc
from google.rpc import error_details_pb2
from tests.integration.client.command.conftest import Eyas

from eyas.v1 import job_service_pb2, model_service_pb2
from fake_server import FakeServer, Refusal
from replies import job_message, retraced_message, version_message


def test_a_version_is_told_how_to_be_made_again_and_checked(eyas: Eyas, server: FakeServer) -> None:
    server.answers("GetJob", job_service_pb2.GetJobResponse(job=retraced_message()))
    status, out, err = eyas("reproduce", "clothing@production")
    command, *rest = out.splitlines()
    assert command == "eyas train /photos --model clothing --preset fast --budget 10m --seed 7"
    assert [line.split()[1] for line in rest[:7]] == ["ok"] * 7
    assert rest[-1] == "clothing/3 can be reproduced: nothing that decides it has changed."
    assert (status, "eyas: " in err) == (0, False)
    asked, retraced = server.calls("GetModelVersion")[0].request, server.calls("InspectDataset")[0].request
    assert (asked.name, asked.verify) == ("models/clothing/aliases/production", True)
    assert (retraced.version, retraced.dataset) == ("models/clothing/versions/3", "/photos")
    assert not server.calls("Train")


def test_a_version_that_would_be_another_one_ends_with_1(eyas: Eyas, server: FakeServer, tmp_path: Path) -> None:
    damaged = version_message(lineage=True)
    damaged.files[0].problem = "model.onnx of clothing/3 is missing."
    server.answers("GetModelVersion", model_service_pb2.GetModelVersionResponse(version=damaged))
    server.answers(
        "InspectDataset",
        Refusal(
            grpc.StatusCode.NOT_FOUND,
            "There is no folder '/photos'.",
            (error_details_pb2.ErrorInfo(reason="DATASET_NOT_FOUND", domain="eyas"),),
        ),
    )
    status, out, err = eyas("reproduce", "clothing/3", "--dataset", tmp_path, "--json")
    document = json.loads(out)
    assert (status, err, document["reproducible"]) == (1, "", False)
    assert f"eyas train {tmp_path} --model" in document["command"]
    assert [check["name"] for check in document["checks"] if check["verdict"] == "differs"] == ["dataset", "model.onnx"]
    assert document["conclusion"].startswith(
        "clothing/3 cannot be reproduced as it was; changed since then: dataset and model.onnx."
    )


def test_a_version_is_made_again_and_compared(eyas: Eyas, server: FakeServer) -> None:
    server.answers(
        "GetJob", job_service_pb2.GetJobResponse(job=retraced_message()), job_service_pb2.GetJobResponse(job=job_message())
    )
    versions = [version_message(number, lineage=True) for number in (3, 4)]
    server.answers("GetModelVersion", *(model_service_pb2.GetModelVersionResponse(version=version) for version in versions))
    status, out, _ = eyas("reproduce", "clothing/3", "--run", "--json")
    document = json.loads(out)
    assert (status, document["again"]["name"]) == (0, "clothing/4")
    assert document["checks"][-1]["detail"] == "model.onnx of clothing/4 is the same, byte for byte."
    request = server.calls("Train")[0].request
    assert (request.dataset, request.spec.seed, request.spec.budget.seconds, request.alias) == ("/photos", 7, 600, "")
