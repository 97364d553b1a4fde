"""`eyas inspect`."""

from __future__ import annotations

import json
from pathlib import Path

from tests.integration.client.command.conftest import Eyas

from eyas.v1 import job_service_pb2
from fake_server import FakeServer
from replies import inspected_message


def test_an_inspection_is_asked_for_and_shown(eyas: Eyas, server: FakeServer, photos: Path) -> None:
    server.answers("GetJob", job_service_pb2.GetJobResponse(job=inspected_message()))
    status, out, _ = eyas("inspect", photos, "--backbone", "resnet50", "--seed", "7")
    assert status == 0
    request = server.calls("InspectDataset")[0].request
    assert (request.dataset, request.backbone, request.seed) == (str(photos), "resnet50", 7)
    for words in ("/photos: 19 pictures", "in 2 groups", "3 of 1,900 labels look wrong"):
        assert words in out
    _, out, _ = eyas("jobs", "watch", "ins", "--json")
    assert json.loads(out)["dataset_report"]["suspects"]["pictures"][0]["suggested_label"] == "shoes"
