"""api.recording: what is taken down of a change, whatever is in it."""

from __future__ import annotations

import json

from google.protobuf.duration_pb2 import Duration

from eyas.v1 import training_service_pb2, training_spec_pb2
from eyasd.api.recording import record


def test_a_change_is_taken_down_though_its_numbers_are_none() -> None:
    spec = training_spec_pb2.TrainingSpec(budget=Duration(nanos=-(2**31)), learning_rate=float("nan"), dropout=float("-inf"))
    request = training_service_pb2.TrainRequest(model="colours", spec=spec)
    told = record("TrainingService/Train", "ipv4:127.0.0.1:1", "", "id", request)
    json.dumps(told, allow_nan=False)
    assert told["what"]["spec"] == {"budget": {"nanos": -(2**31)}, "learning_rate": "nan", "dropout": "-inf"}
    request.spec.budget.FromSeconds(600)
    assert record("m", "p", "", "id", request)["what"]["spec"]["budget"] == "600s"
