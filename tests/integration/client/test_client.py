"""Both clients against a real socket: what they send, what they make of the answers, what they repeat."""

from __future__ import annotations

import asyncio
import inspect
import threading
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest

import eyas
from eyas.v1 import classification_service_pb2 as classification_pb2
from eyas.v1 import job_service_pb2, model_service_pb2, training_service_pb2
from fake_server import FakeServer, Refusal
from replies import (
    NOW,
    alias_message,
    classified,
    compared_message,
    inspected_message,
    job_message,
    model_message,
    progress_message,
    report_message,
    update,
    version_message,
    waiting_message,
)

Caller = Callable[..., Awaitable[Any]]
GONE = Refusal(grpc.StatusCode.UNAVAILABLE, "going down")
JOB = job_service_pb2.GetJobResponse(job=job_message())


async def test_a_picture_is_labelled(server: FakeServer, call: Caller, tmp_path: Path) -> None:
    server.answers("Classify", classified)
    (tmp_path / "shirt.jpg").write_bytes(b"shirt")
    result = await call(
        "classify", "clothing@canary", tmp_path / "shirt.jpg", top_k=3, allow_unknown=True, explain=True, priority="high"
    )
    assert result.predictions == (eyas.Prediction("shirt", 1, 0.75, applies=True),)
    assert (result.label, result.version, result.timing.inference) == ("shirt", "clothing/3", timedelta(milliseconds=2))
    (received,) = server.received
    assert (received.request.model, received.request.top_k) == ("models/clothing/aliases/canary", 3)
    assert received.request.allow_unknown
    assert received.request.priority == classification_pb2.PRIORITY_HIGH
    assert result.explanation == b"PNG of shirt"
    assert [image.content for image in received.request.images] == [b"shirt"]


async def test_each_client_has_a_connection_of_its_own(server: FakeServer, call: Caller) -> None:
    server.answers("GetJob", JOB)
    with eyas.Client(server.address) as other:
        for _ in range(2):
            await call("get_job", "abc")
            await asyncio.to_thread(other.get_job, "abc")
    peers = [received.peer for received in server.received]
    assert peers[:2] == peers[2:]
    assert len(set(peers)) == 2


async def test_a_picture_that_is_none_is_an_error(server: FakeServer, call: Caller) -> None:
    server.answers("Classify", classified)
    with pytest.raises(eyas.UndecodableImage, match="cut short") as caught:
        await call("classify", "clothing", b"bad")
    assert (caught.value.reason, caught.value.metadata) == ("UNDECODABLE_IMAGE", {"bytes": "3"})


async def test_many_pictures_come_back_in_order_each_with_its_own_answer(server: FakeServer, call: Caller, tmp_path: Path) -> None:
    server.answers("Classify", classified)
    images: list[Any] = [b"bad" if number % 50 == 7 else str(number).encode() for number in range(400)]
    images[100] = tmp_path / "missing.jpg"
    results = await call("classify_many", "clothing", images, allow_unknown=True)
    assert all(received.request.allow_unknown for received in server.received)
    assert len(results) == 400
    for number, result in enumerate(results):
        if number == 100:
            assert result.reason == "UNREADABLE_FILE"
        elif number % 50 == 7:
            assert isinstance(result, eyas.UndecodableImage)
        else:
            assert result.label == str(number)
    assert sorted(len(received.request.images) for received in server.received) == [15, 64, 64, 64, 64, 64, 64]


async def test_pictures_that_come_back_explained_travel_in_smaller_companies(server: FakeServer, call: Caller) -> None:
    server.answers("Classify", classified)
    results = await call("classify_many", "clothing", [str(number).encode() for number in range(20)], explain=True)
    assert [result.explanation for result in results] == [f"PNG of {number}".encode() for number in range(20)]
    assert sorted(len(received.request.images) for received in server.received) == [4, 8, 8]


async def test_no_more_than_four_requests_are_under_way(server: FakeServer, call: Caller) -> None:
    lock, under_way, most = threading.Lock(), 0, 0
    four = threading.Barrier(4)  # of the twelve that there are in all

    def slowly(request: Any) -> Any:
        nonlocal under_way, most
        with lock:
            under_way += 1
            most = max(most, under_way)
        four.wait(60)
        time.sleep(0.02)  # in which a fifth would come
        with lock:
            under_way -= 1
        return classified(request)

    server.answers("Classify", slowly)
    await call("classify_many", "clothing", [b"x"] * 64 * 12)
    assert most == 4


async def test_no_pictures_are_no_request(server: FakeServer, call: Caller) -> None:
    assert await call("classify_many", "clothing", []) == []
    assert server.received == []


async def test_a_request_that_fails_as_a_whole_is_raised(server: FakeServer, call: Caller) -> None:
    server.answers("Classify", Refusal(grpc.StatusCode.NOT_FOUND, "There is no model 'x'."))
    with pytest.raises(eyas.NotFound, match="no model 'x'"):
        await call("classify_many", "x", [b"x"] * 1000)
    assert len(server.received) <= 8  # the rest was not sent


async def test_pictures_of_many_megabytes_are_sent_and_repeated(server: FakeServer, call: Caller) -> None:
    server.answers("Classify", GONE, GONE, classified)
    result = await call("classify", "clothing", b"large" + bytes(29 * 2**20))
    assert result.label.startswith("large")
    assert len(server.received) == 3


async def test_a_message_over_the_limit_says_what_to_do(server: FakeServer, call: Caller) -> None:
    server.answers("SetAlias", model_service_pb2.SetAliasResponse(alias=alias_message()))
    with pytest.raises(eyas.InvalidArgument, match="32 MiB") as caught:
        await call("set_alias", "clothing", "production", 3, reason="x" * 33 * 2**20)
    assert caught.value.reason == "MESSAGE_TOO_LARGE"


async def test_a_training_is_asked_for(server: FakeServer, call: Caller) -> None:
    server.answers("Train", training_service_pb2.TrainResponse(job=job_message("QUEUED")))
    job = await call(
        "train",
        "/photos",
        "clothing",
        preset="fast",
        budget=timedelta(minutes=10),
        alias="canary",
        base_version="garments@production",
        optimizer="sgd",
    )
    assert (job.id, job.state) == ("abc", eyas.JobState.QUEUED)
    request = server.received[0].request
    assert (request.model, request.dataset, request.alias) == ("models/clothing", "/photos", "canary")
    assert (request.spec.preset, request.spec.budget.seconds, request.spec.optimizer) == (1, 600, 3)
    assert request.base_version == "models/garments/aliases/production"


async def test_a_repeated_training_has_the_same_request_id(server: FakeServer, call: Caller) -> None:
    server.answers("Train", GONE, training_service_pb2.TrainResponse(job=job_message("QUEUED")))
    server.answers("Evaluate", GONE, training_service_pb2.EvaluateResponse(job=job_message("QUEUED")))
    server.answers("InspectDataset", GONE, training_service_pb2.InspectDatasetResponse(job=inspected_message("QUEUED")))
    await call("train", "/photos", "clothing")
    await call("evaluate", "clothing/3", Path("/photos"))
    await call("inspect", Path("/photos"), seed=3)
    for method in ("Train", "Evaluate", "InspectDataset"):
        first, second = server.calls(method)
        assert first.request == second.request
        assert first.request.request_id


async def test_versions_are_compared(server: FakeServer, call: Caller) -> None:
    server.answers("Evaluate", training_service_pb2.EvaluateResponse(job=compared_message()))
    job = await call("evaluate", "clothing/3", "/photos", others=["clothing@canary", "garments"])
    request = server.received[-1].request
    assert list(request.other_models) == ["models/clothing/aliases/canary", "models/garments"]
    assert (job.version, job.other_versions) == ("clothing/3", ("clothing/2",))
    latency = timedelta(microseconds=12_340)
    assert job.comparisons[0].first_cost == eyas.VersionCost(13_000_000, latency, latency / 2)
    assert await call("compare", "clothing/3", "clothing/2", "/photos") == job
    request = server.received[-1].request
    assert (request.model, list(request.other_models)) == ("models/clothing/versions/3", ["models/clothing/versions/2"])


REPEATED = [
    ("GetJob", JOB, ("get_job", "abc")),
    ("ListJobs", job_service_pb2.ListJobsResponse(jobs=[job_message()]), ("list_jobs",)),
    ("CancelJob", job_service_pb2.CancelJobResponse(job=job_message()), ("cancel_job", "jobs/abc")),
    ("ListModels", model_service_pb2.ListModelsResponse(models=[model_message()]), ("list_models",)),
    ("GetModel", model_service_pb2.GetModelResponse(model=model_message()), ("get_model", "clothing")),
    (
        "ListModelVersions",
        model_service_pb2.ListModelVersionsResponse(versions=[version_message()]),
        ("list_model_versions", "clothing"),
    ),
    ("GetReport", report_message(), ("get_report", "clothing@production")),
]


@pytest.mark.parametrize(("method", "answer", "called"), REPEATED, ids=lambda value: value if isinstance(value, str) else "")
async def test_what_changes_nothing_is_repeated(server: FakeServer, call: Caller, method: str, answer: Any, called: Any) -> None:
    server.answers(method, GONE, answer)
    assert await call(*called)
    assert len(server.calls(method)) == 2


async def test_repeats_end(server: FakeServer, call: Caller) -> None:
    server.answers("GetJob", GONE)
    with pytest.raises(eyas.Unavailable):
        await call("get_job", "abc")
    assert len(server.received) == 5


@pytest.mark.parametrize("code", ["INTERNAL", "RESOURCE_EXHAUSTED", "ABORTED", "DEADLINE_EXCEEDED"])
async def test_other_failures_are_not_repeated(server: FakeServer, call: Caller, code: str) -> None:
    server.answers("GetJob", Refusal(grpc.StatusCode[code], "no"), JOB)
    with pytest.raises(eyas.EyasError):
        await call("get_job", "abc")
    assert len(server.received) == 1


async def test_an_alias_is_never_set_twice(server: FakeServer, call: Caller) -> None:
    server.answers("SetAlias", GONE, model_service_pb2.SetAliasResponse(alias=alias_message()))
    with pytest.raises(eyas.Unavailable):
        await call("set_alias", "clothing", "production", 3)
    assert len(server.received) == 1


async def test_a_job_is_paused_and_resumed_once_each(server: FakeServer, call: Caller) -> None:
    server.answers("PauseJob", job_service_pb2.PauseJobResponse(job=waiting_message("INTERRUPTED")))
    server.answers("ResumeJob", job_service_pb2.ResumeJobResponse(job=waiting_message("QUEUED")), GONE)
    paused, resumed = await call("pause_job", "abc"), await call("resume_job", "abc")
    assert (paused.state, paused.owner, paused.priority) == (eyas.JobState.INTERRUPTED, "ann", eyas.Priority.LOW)
    assert (paused.waiting_reason, paused.resume_time) == ("It is paused; `eyas jobs resume abc` lets it go on.", None)
    assert (resumed.state, resumed.expected_start_time) == (eyas.JobState.QUEUED, NOW + timedelta(minutes=30))
    assert [received.request.name for received in server.received] == ["jobs/abc", "jobs/abc"]
    with pytest.raises(eyas.Unavailable):
        await call("resume_job", "abc")
    assert len(server.received) == 3


async def test_an_alias_is_never_rolled_back_twice(server: FakeServer, call: Caller) -> None:
    server.answers("RollbackAlias", GONE, model_service_pb2.RollbackAliasResponse(alias=alias_message()))
    with pytest.raises(eyas.Unavailable):
        await call("rollback_alias", "clothing")
    assert len(server.received) == 1


def test_repeats_can_be_turned_off(server: FakeServer) -> None:
    server.answers("GetJob", GONE, JOB)
    with eyas.Client(server.address, retries=False) as client, pytest.raises(eyas.Unavailable):
        client.get_job("abc")
    assert len(server.received) == 1


async def test_lists_are_read_to_their_last_page(server: FakeServer, call: Caller) -> None:
    pages = [
        job_service_pb2.ListJobsResponse(jobs=[job_message(job=job)], next_page_token=token)
        for job, token in (("j0", "a"), ("j1", "b"), ("j2", ""))
    ]
    server.answers("ListJobs", *pages)
    assert [job.id for job in await call("list_jobs")] == ["j0", "j1", "j2"]
    assert [received.request.page_token for received in server.received] == ["", "a", "b"]


async def test_every_call_has_a_deadline(server: FakeServer, call: Caller) -> None:
    server.answers("GetJob", JOB)
    server.answers("Classify", classified)
    await call("get_job", "abc")
    await call("classify", "clothing", b"x", timeout=timedelta(hours=1))
    first, second = (received.seconds_left for received in server.received)
    assert first is not None
    assert second is not None
    assert 15 < first < 31
    assert 3500 < second < 3700  # gRPC rounds it up


async def test_a_deadline_that_passes(server: FakeServer, call: Caller) -> None:
    given_up = threading.Event()

    def late(request: classification_pb2.ClassifyRequest) -> Any:
        given_up.wait(60)
        return classified(request)

    server.answers("Classify", late)
    with pytest.raises(eyas.DeadlineExceeded, match="did not answer in time"):
        await call("classify", "clothing", b"x", timeout=0.1)
    given_up.set()


async def test_the_token_travels_with_every_call(server: FakeServer) -> None:
    server.answers("GetJob", JOB)
    server.answers("WatchJob", [])
    async with eyas.aio.Client(server.address, token="hush") as aio_client:
        await aio_client.get_job("abc")
        assert [event async for event in aio_client.watch_job("abc")] == []
    with eyas.Client(server.address, token="hush") as client:
        await asyncio.to_thread(client.get_job, "abc")
    assert [received.metadata["authorization"] for received in server.received] == ["Bearer hush"] * 3


EVENTS = [
    update(1, job=job_message("QUEUED")),
    update(2, message="Few pictures."),
    update(3, progress=progress_message()),
    update(4, job=job_message()),
]


async def test_a_job_is_watched_to_its_end(server: FakeServer, call: Caller) -> None:
    server.answers("WatchJob", EVENTS)
    events = await call("watch_job", "abc")
    assert [event.sequence for event in events] == [1, 2, 3, 4]
    assert events[-1].job.state.ended
    assert server.received[0].seconds_left is None or server.received[0].seconds_left > 3600


@pytest.mark.parametrize("code", ["UNAVAILABLE", "CANCELLED"])
async def test_a_watch_that_breaks_off_goes_on_where_it_was(server: FakeServer, call: Caller, code: str) -> None:
    broken = Refusal(grpc.StatusCode[code], "going down")
    server.answers("WatchJob", [*EVENTS[:2], broken], [broken], [*EVENTS[2:]])
    assert [event.sequence for event in await call("watch_job", "abc")] == [1, 2, 3, 4]
    assert [received.request.from_sequence for received in server.received] == [1, 3, 3]


async def test_a_watch_outlives_a_restart_of_the_server(call: Caller, server: FakeServer) -> None:
    watched = threading.Event()
    server.answers("WatchJob", [EVENTS[0], watched.set, lambda: time.sleep(10)])
    watching = asyncio.ensure_future(call("watch_job", "abc"))
    await asyncio.to_thread(watched.wait, 100)
    await asyncio.to_thread(server.stop)
    with FakeServer(server.port) as restarted:
        restarted.answers("WatchJob", EVENTS[1:])
        assert [event.sequence for event in await watching] == [1, 2, 3, 4]
        assert restarted.received[0].request.from_sequence == 2


async def test_a_watch_of_no_job_is_an_error(server: FakeServer, call: Caller) -> None:
    server.answers("WatchJob", [Refusal(grpc.StatusCode.NOT_FOUND, "There is no job 'x'.")])
    with pytest.raises(eyas.NotFound):
        await call("watch_job", "x")


async def test_a_watch_that_is_left_early_is_ended(server: FakeServer) -> None:
    left = threading.Event()
    server.answers("WatchJob", [EVENTS[0], lambda: left.wait(100), *EVENTS[1:]])
    async with eyas.aio.Client(server.address) as client:
        events = client.watch_job("abc")
        assert (await anext(events)).sequence == 1  # type: ignore[arg-type] # an async generator
        await events.aclose()  # type: ignore[attr-defined]
        left.set()


async def test_waiting_for_a_job(server: FakeServer, call: Caller) -> None:
    server.answers("WatchJob", EVENTS)
    server.answers("GetJob", JOB)
    job = await call("wait", "abc")
    assert job.version == "clothing/3"


async def test_waiting_for_a_job_that_fails(server: FakeServer, call: Caller) -> None:
    failed = job_message("FAILED")
    failed.error.code, failed.error.message = 9, "There are too few pictures."
    server.answers("WatchJob", [update(1, job=failed)])
    server.answers("GetJob", job_service_pb2.GetJobResponse(job=failed))
    with pytest.raises(eyas.JobFailed, match="too few pictures"):
        await call("wait", "abc")


def test_a_server_that_is_not_running() -> None:
    with eyas.Client("127.0.0.1:1") as client, pytest.raises(eyas.Unavailable) as caught:
        client.get_job("abc")
    assert str(caught.value) == (
        "No Eyas server answers at 127.0.0.1:1 (connection refused); start one with `eyasd all`, or name another with --address "
        "or EYAS_ADDRESS."
    )


async def test_a_method_that_the_server_does_not_offer(server: FakeServer, call: Caller) -> None:
    with pytest.raises(eyas.Unsupported, match="`eyasd trainer` trains"):
        await call("get_job", "abc")


def test_both_clients_have_the_same_methods_and_parameters() -> None:
    def face(client: type) -> dict[str, list[str]]:
        return {
            name: list(inspect.signature(member).parameters)
            for name, member in inspect.getmembers(client, inspect.isfunction)
            if not name.startswith("_") or name == "__init__"
        }

    assert face(eyas.Client) == face(eyas.aio.Client)


def test_what_is_public_is_sorted_and_there() -> None:
    assert eyas.__all__ == sorted(eyas.__all__)
    assert all(hasattr(eyas, name) for name in eyas.__all__)
