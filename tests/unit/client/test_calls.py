"""The calls as values: what is sent where."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from google.protobuf.descriptor_pool import Default as DescriptorPool

import eyas
from eyas import _calls, _capture_calls, _convert, _dataset_calls, _feedback, _model_calls
from eyas._calls import Call
from eyas.v1 import dataset_service_pb2, evaluation_pb2, model_service_pb2
from fake_server import SERVICES
from replies import job_message


def training(**values: Any) -> Call[eyas.Job]:
    asked: dict[str, Any] = {
        "preset": "fast",
        "budget": None,
        "alias": None,
        "base_version": None,
        "priority": eyas.Priority.NORMAL,
        "request_id": None,
        "settings": {},
    }
    return _calls.train("/photos", "clothing", **(asked | values))


CALLS: list[Call[Any]] = [
    training(),
    _calls.evaluate("clothing", "/photos", (), None, None),
    _calls.inspect("/photos", None, 0, None),
    _calls.classify("clothing", [b"x"], 1),
    _calls.classify_stream("clothing", 1),
    *_feedback.calls([("id", "shirt")]),
    _capture_calls.get_capture_policy("clothing"),
    _capture_calls.set_capture_policy(
        "clothing", enabled=True, reasons=["wrong"], percent=None, max_margin=None, max_images=None, keep_days=None
    ),
    _capture_calls.list_captured("clothing", (), None, "", ""),
    _capture_calls.get_captured("clothing", "0" * 24),
    *_capture_calls.label_captured("clothing", {"0" * 24: "shirt"}),
    *_capture_calls.delete_captured("clothing", ["0" * 24]),
    _calls.get_job("abc"),
    _calls.cancel_job("abc"),
    _calls.pause_job("abc"),
    _calls.resume_job("abc"),
    _calls.list_jobs(""),
    _calls.watch_job("abc", 1),
    _dataset_calls.check_upload("photos", (), 1, 2),
    _dataset_calls.upload_dataset(),
    _dataset_calls.create_dataset("photos", dataset_service_pb2.Blob()),
    _dataset_calls.get_dataset("photos/1"),
    _dataset_calls.list_datasets(""),
    _dataset_calls.delete_dataset("datasets/photos"),
    _model_calls.list_models(""),
    _model_calls.get_model("clothing"),
    _model_calls.list_model_versions("clothing", ""),
    _model_calls.set_alias("clothing", "production", 3, "", force=False),
    _model_calls.rollback_alias("clothing", "production", "", None),
    _model_calls.list_alias_records("clothing", "production", None, ""),
    _model_calls.get_policy("clothing"),
    _model_calls.delete_model_version("clothing", 3),
    _model_calls.get_report("clothing"),
    _model_calls.get_model_version("clothing", verify=True),
    _calls.retrace("clothing/3", None, None),
    _model_calls.get_traffic("clothing"),
    _model_calls.set_traffic("clothing", None, None, "", None),
    _model_calls.list_traffic_records("clothing", ""),
    _model_calls.set_policy("clothing", ["production"], {"accuracy": 0.9}, {}, None),
]


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.method)
def test_a_call_is_one_of_the_contract(call: Call[Any]) -> None:
    method = DescriptorPool().FindMethodByName(call.method.strip("/").replace("/", "."))
    assert (method.input_type, method.output_type) == (call.request.DESCRIPTOR, call.response.DESCRIPTOR)


def test_no_method_of_the_contract_is_forgotten() -> None:
    pods = {"/eyas.v1.JobService/ReportProgress"}  # not for people
    assert {call.method for call in CALLS} | pods == {f"/{s.full_name}/{m.name}" for s in SERVICES for m in s.methods}


def test_every_request_that_makes_a_job_can_be_repeated() -> None:
    makers = (training, lambda: _calls.evaluate("m", "/d", (), None, ""), lambda: _calls.inspect("/d", None, 0, None))
    ids = {call.request.request_id for make in makers for call in (make(), make())}  # type: ignore[attr-defined]
    assert len(ids) == 6
    assert all(0 < len(one) <= 64 for one in ids)
    assert training(request_id="mine").request.request_id == "mine"  # type: ignore[attr-defined]


def test_a_training_says_what_was_asked() -> None:
    request: Any = training(preset="best", budget=90, alias="canary", settings={"optimizer": "sgd"}).request
    assert (request.model, request.dataset, request.alias) == ("models/clothing", "/photos", "canary")
    assert _convert.settings(request.spec) | {"budget": 0} == {"preset": "best", "budget": 0, "optimizer": "sgd"}
    assert request.spec.budget.seconds == 90


def test_a_split_is_scored_where_the_training_found_it() -> None:
    request: Any = _calls.evaluate("clothing/3", None, (), "validation", None).request
    assert (request.dataset, request.split) == ("", evaluation_pb2.SPLIT_VALIDATION)
    assert _calls.evaluate("clothing/3", "/d", (), None, None).request.split == 0  # type: ignore[attr-defined]
    with pytest.raises(eyas.InvalidArgument, match="'dev' is not a split: use one of train, validation, test"):
        _calls.evaluate("clothing/3", None, (), "dev", None)


def test_the_name_of_another_version_is_not_taken_for_a_list_of_letters() -> None:
    for others in ("clothing/2", ["clothing/2"]):
        request: Any = _calls.evaluate("clothing/3", "/d", others, None, None).request
        assert list(request.other_models) == ["models/clothing/versions/2"]


@pytest.mark.parametrize(
    ("dataset", "split", "asked"), [(None, None, 3), ("/d", None, 0), (None, "train", 1), ("/d", "validation", 2)]
)
def test_versions_are_compared_on_the_test_split_where_nothing_else_is_said(
    dataset: str | None, split: str | None, asked: int
) -> None:
    request: Any = _calls.compare("clothing/3", "clothing/4", dataset, split, None).request
    assert (request.dataset, request.split) == (dataset or "", asked)


def test_an_alias_is_set_within_its_model() -> None:
    request: Any = _model_calls.set_alias("clothing", "production", 3, "better", force=True).request
    assert (request.name, request.version) == ("models/clothing/aliases/production", "models/clothing/versions/3")
    assert request.force


def test_a_policy_is_sent_as_bounds_of_figures() -> None:
    call = _model_calls.set_policy("clothing", ["stable"], {"accuracy": 0.9}, {"log_loss": 0.3, "accuracy": 0.99}, 0.0)
    asked: Any = call.request
    bounds = [(bound.figure, bound.at_least, bound.HasField("at_most")) for bound in asked.policy.bounds]
    assert bounds == [("accuracy", 0.9, True), ("log_loss", 0.0, True)]
    assert call.convert(model_service_pb2.SetPolicyResponse(policy=asked.policy)) == eyas.Policy(
        ("stable",), {"accuracy": 0.9}, {"accuracy": 0.99, "log_loss": 0.3}, 0.0, record=0, update_time=None, actor=""
    )


def test_a_rollback_says_what_it_wants_to_get_rid_of() -> None:
    anything: Any = _model_calls.rollback_alias("clothing", "production", "bad", None).request
    assert (anything.name, anything.reason, anything.expected_version) == ("models/clothing/aliases/production", "bad", "")
    expecting: Any = _model_calls.rollback_alias("clothing", "production", "", 3).request
    assert expecting.expected_version == "models/clothing/versions/3"


def test_a_moment_of_a_history_is_sent_in_utc() -> None:
    assert not _model_calls.list_alias_records("clothing", "canary", None, "").request.HasField("time")  # type: ignore[attr-defined]
    moment = datetime(2026, 11, 25, 20, tzinfo=timezone(timedelta(hours=2)))
    request: Any = _model_calls.list_alias_records("clothing", "canary", moment, "next").request
    assert (request.parent, request.page_token) == ("models/clothing/aliases/canary", "next")
    assert request.time.ToDatetime(UTC) == moment


def test_how_a_job_ended() -> None:
    done = _convert.job(job_message())
    assert _calls.concluded(done) is done
    with pytest.raises(eyas.JobCancelled, match="Job abc was cancelled"):
        _calls.concluded(_convert.job(job_message("CANCELLED")))
    failed = job_message("FAILED")
    failed.error.code, failed.error.message = 9, "There are too few pictures."
    with pytest.raises(eyas.JobFailed, match="too few pictures") as caught:
        _calls.concluded(_convert.job(failed))
    assert caught.value.metadata["job"] == "abc"


def test_labels_and_deletions_of_many_captured_pictures_are_several_calls() -> None:
    ids = [f"{number:024x}" for number in range(2500)]
    requests: list[Any] = [call.request for call in _capture_calls.label_captured("clothing", dict.fromkeys(ids, "shirt"))]
    assert [len(request.pictures) for request in requests] == [1000, 1000, 500]
    assert (requests[0].pictures[0].name, list(requests[0].pictures[0].labels)) == (f"models/clothing/captured/{ids[0]}", ["shirt"])
    requests = [call.request for call in _capture_calls.delete_captured("clothing", ids)]
    assert [name for request in requests for name in request.names] == [f"models/clothing/captured/{one}" for one in ids]
    with pytest.raises(eyas.InvalidArgument, match="'dull' is no reason to keep a picture: use one of wrong, shadow"):
        _capture_calls.list_captured("clothing", ["dull"], None, "", "")
