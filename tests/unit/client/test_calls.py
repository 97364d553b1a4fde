"""The calls as values: what is sent where, and how many pictures travel together."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.descriptor_pool import Default as DescriptorPool
from hypothesis import given
from hypothesis import strategies as st

import eyas
from eyas import _calls, _convert
from eyas._calls import Call
from eyas.v1 import evaluation_pb2, model_service_pb2
from fake_server import SERVICES, job_message


def training(**values: Any) -> Call[eyas.Job]:
    asked: dict[str, Any] = {
        "preset": "fast",
        "budget": None,
        "alias": None,
        "base_version": None,
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
    _calls.get_job("abc"),
    _calls.cancel_job("abc"),
    _calls.list_jobs(""),
    _calls.watch_job("abc", 1),
    _calls.list_models(""),
    _calls.get_model("clothing"),
    _calls.list_model_versions("clothing", ""),
    _calls.set_alias("clothing", "production", 3, "", force=False),
    _calls.rollback_alias("clothing", "production", "", None),
    _calls.list_alias_records("clothing", "production", None, ""),
    _calls.get_policy("clothing"),
    _calls.delete_model_version("clothing", 3),
    _calls.get_report("clothing"),
    _calls.get_model_version("clothing", verify=True),
    _calls.retrace("clothing/3", None, None),
    _calls.get_traffic("clothing"),
    _calls.set_traffic("clothing", None, None, "", None),
    _calls.list_traffic_records("clothing", ""),
    _calls.set_policy("clothing", ["production"], {"accuracy": 0.9}, {}, None),
]


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.method)
def test_a_call_is_one_of_the_contract(call: Call[Any]) -> None:
    method = DescriptorPool().FindMethodByName(call.method.strip("/").replace("/", "."))
    assert (method.input_type, method.output_type) == (call.request.DESCRIPTOR, call.response.DESCRIPTOR)


def test_no_method_of_the_contract_is_forgotten() -> None:
    assert {call.method for call in CALLS} == {f"/{s.full_name}/{m.name}" for s in SERVICES for m in s.methods}


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
    request: Any = _calls.set_alias("clothing", "production", 3, "better", force=True).request
    assert (request.name, request.version) == ("models/clothing/aliases/production", "models/clothing/versions/3")
    assert request.force


def test_a_policy_is_sent_as_bounds_of_figures() -> None:
    call = _calls.set_policy("clothing", ["stable"], {"accuracy": 0.9}, {"log_loss": 0.3, "accuracy": 0.99}, 0.0)
    asked: Any = call.request
    bounds = [(bound.figure, bound.at_least, bound.HasField("at_most")) for bound in asked.policy.bounds]
    assert bounds == [("accuracy", 0.9, True), ("log_loss", 0.0, True)]
    assert call.convert(model_service_pb2.SetPolicyResponse(policy=asked.policy)) == eyas.Policy(
        ("stable",), {"accuracy": 0.9}, {"accuracy": 0.99, "log_loss": 0.3}, 0.0, record=0, update_time=None, actor=""
    )


def test_a_rollback_says_what_it_wants_to_get_rid_of() -> None:
    anything: Any = _calls.rollback_alias("clothing", "production", "bad", None).request
    assert (anything.name, anything.reason, anything.expected_version) == ("models/clothing/aliases/production", "bad", "")
    expecting: Any = _calls.rollback_alias("clothing", "production", "", 3).request
    assert expecting.expected_version == "models/clothing/versions/3"


def test_a_moment_of_a_history_is_sent_in_utc() -> None:
    assert not _calls.list_alias_records("clothing", "canary", None, "").request.HasField("time")  # type: ignore[attr-defined]
    moment = datetime(2026, 11, 25, 20, tzinfo=timezone(timedelta(hours=2)))
    request: Any = _calls.list_alias_records("clothing", "canary", moment, "next").request
    assert (request.parent, request.page_token) == ("models/clothing/aliases/canary", "next")
    assert request.time.ToDatetime(UTC) == moment


# Sizes in bytes up to the limit of a message: few bytes of memory stand for them, as only their length is looked at.
class Picture(bytes):
    """Bytes that claim to be more than they are."""

    claimed: int

    def __len__(self) -> int:
        return self.claimed


def picture(size: int) -> Picture:
    made = Picture()
    made.claimed = size
    return made


LIMIT = 30 * 2**20


@given(st.lists(st.sampled_from([0, 1, 100_000, 5_000_000, LIMIT // 2, LIMIT - 1, LIMIT, LIMIT + 1, 2**31]), max_size=300))
def test_every_picture_travels_once_in_order_and_within_the_limits(sizes: list[int]) -> None:
    images = [picture(size) for size in sizes]
    results: list[Any] = [None] * len(images)
    sent: list[int] = []
    for places, contents in _calls.batches(images, results):
        assert 1 <= len(places) == len(contents) <= 64
        assert sum(map(len, contents)) <= LIMIT
        assert all(images[place] is content for place, content in zip(places, contents, strict=True))
        sent += places
    refused = [place for place, result in enumerate(results) if result is not None]
    assert sent == sorted(sent)
    assert sorted(sent + refused) == list(range(len(images)))
    assert refused == [place for place, size in enumerate(sizes) if size > LIMIT]
    assert all(
        isinstance(results[place], eyas.UndecodableImage) and results[place].reason == "IMAGE_TOO_LARGE" for place in refused
    )


def test_a_file_is_read_when_its_request_is_due(tmp_path: Path) -> None:
    paths = [tmp_path / f"{number}.jpg" for number in range(65)]
    for path in paths[:64]:
        path.write_bytes(b"x")
    results: list[Any] = [None] * 65
    batches = _calls.batches(paths, results)
    paths[64].write_bytes(b"late")
    assert len(next(batches)[0]) == 64
    assert next(batches) == ([64], [b"late"])


def test_a_file_that_is_not_there_fails_alone(tmp_path: Path) -> None:
    (tmp_path / "b.jpg").write_bytes(b"x")
    results: list[Any] = [None] * 3
    sent = list(_calls.batches([tmp_path / "a.jpg", str(tmp_path / "b.jpg"), tmp_path], results))
    assert sent == [([1], [b"x"])]
    assert "a.jpg cannot be read: No such file or directory." in results[0].message
    assert results[2].reason == "UNREADABLE_FILE"


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
