"""Whatever callers send, and whatever goes wrong: no log and no trace tells secrets, pictures, or what callers call their files."""

from __future__ import annotations

import base64
import contextlib
import io
import json
import os
import re
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import numpy as np
import pytest
import structlog
import tritonclient.grpc.aio as triton
from tritonclient.utils import InferenceServerException

import eyas
from builders import COLOURS, picture
from collector import Collector, collecting
from eyas.v1 import classification_service_pb2 as pb
from eyas.v1 import classification_service_pb2_grpc as pb_grpc
from eyas.v1 import job_service_pb2, job_service_pb2_grpc
from eyasd.app import App
from eyasd.registry.models import Models
from eyasd.telemetry import logging

TESTS = Path(__file__).parents[1]
# Every secret begins with it, and every path of a caller holds it.
MARK = "hunter2"
TOKEN, HEADERS, REPORT_KEY = f"{MARK}-token", f"x-api-key={MARK}-collector", f"{MARK}-report-key-of-many-characters"
RED = picture(COLOURS["red"])
SIGNED = f"https://{MARK}-user:{MARK}-password@bucket.example/photos?X-Amz-Credential={MARK}-id&X-Amz-Signature={MARK}-signature"


@pytest.fixture
def log(written: io.StringIO) -> structlog.typing.FilteringBoundLogger:
    return logging.logger()


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as made:
        yield made


@pytest.fixture
async def app(
    daemon: Any, published: Models, collector: Collector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[App]:
    monkeypatch.setenv("PYTHONPATH", f"{TESTS / 'fake_program'}:{TESTS}:{os.environ.get('PYTHONPATH', '')}")
    monkeypatch.setenv("EYAS_TEST_GO", str(TESTS))
    monkeypatch.setenv("EYAS_TEST_RUNS", str(tmp_path / "runs"))
    telemetry = {
        "metrics_listen": "127.0.0.1:0",
        "otlp_endpoint": f"http://127.0.0.1:{collector.port}",
        "otlp_headers": HEADERS,
    }
    api = {"http_listen": "127.0.0.1:0", "token": TOKEN}
    training = {"data_roots": [str(tmp_path)]}
    async with daemon(telemetry=telemetry, api=api, jobs={"report_key": REPORT_KEY}, training=training) as running:
        yield running


Ask = Callable[[App, eyas.aio.Client, Path], Coroutine[Any, Any, object]]


async def classifications(app: App, client: eyas.aio.Client, folder: Path) -> None:
    await client.classify("colours", RED, routing_key=f"{MARK}-customer")
    answers = [answer async for _, answer in client.classify_stream("colours", [RED, b"no picture " + MARK.encode()])]
    assert isinstance(answers[1], eyas.UndecodableImage)
    for model in ("colours/7", f"models/{MARK}/a/b.jpg", f"/home/{MARK}"):
        with contextlib.suppress(eyas.EyasError):
            await client.classify(model, RED)


async def wrong_tokens(app: App, client: eyas.aio.Client, folder: Path) -> None:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{app.port}") as channel:
        for metadata in (
            (("authorization", f"Bearer {MARK}-wrong"),),
            (("cookie", f"session={MARK}"), ("x-key-bin", MARK.encode())),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await pb_grpc.ClassificationServiceStub(channel).Classify(pb.ClassifyRequest(), metadata=metadata)
            assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
        report = job_service_pb2_grpc.JobServiceStub(channel).ReportProgress(
            iter([job_service_pb2.ReportProgressRequest(first=1, lines=[MARK])]),
            metadata=(("authorization", f"Bearer j.1.{MARK}"),),
        )
        with pytest.raises(grpc.aio.AioRpcError):
            await report.read()


async def over_http(app: App, client: eyas.aio.Client, folder: Path) -> None:
    form = aiohttp.FormData()
    form.add_field("image", b"no picture", filename=f"/home/{MARK}/me.png", content_type="image/png")
    bodies: list[dict[str, Any]] = [
        {"data": form},
        {"json": {"images": [{"content": base64.b64encode(RED).decode()}]}},
        {"json": {"images": [{"content": f"{MARK} is not base64"}]}},
        {"data": MARK, "headers": {"content-type": "text/plain"}},
    ]
    for token in (TOKEN, f"{MARK}-wrong"):
        headers = {"authorization": f"Bearer {token}", "cookie": MARK, "x-request-id": f"{MARK} with spaces"}
        async with aiohttp.ClientSession(f"http://127.0.0.1:{app.http_port}", headers=headers) as web:
            for body in bodies[: None if token == TOKEN else 1]:
                path = f"/v1/models/colours:classify?routing_key={MARK}&api_key={MARK}"
                async with web.post(path, **body) as response:
                    await response.read()


async def other_protocol(app: App, client: eyas.aio.Client, folder: Path) -> None:
    tensor = triton.InferInput("encoded", [1], "BYTES")
    tensor.set_data_from_numpy(np.array([RED], np.object_))
    async with triton.InferenceServerClient(f"127.0.0.1:{app.port}") as server:
        with pytest.raises(InferenceServerException):
            await server.infer("colours", [tensor], headers={"authorization": f"Bearer {MARK}"}, request_id=MARK)
        await server.infer("colours", [tensor], headers={"authorization": f"Bearer {TOKEN}"}, parameters={"routing_key": MARK})


async def trainings(app: App, client: eyas.aio.Client, folder: Path) -> None:
    photos = folder / f"{MARK} photos"
    (photos / "red").mkdir(parents=True)
    (photos / "red" / f"{MARK}.png").write_bytes(RED)
    wrong = [f"/nowhere/{MARK}/photos", SIGNED, SIGNED.replace("https", "s3"), f"relative/{MARK}", f"file://{MARK}/photos"]
    for dataset in (*wrong, f"s3://bucket-of-{MARK}/photos?X-Amz-Signature={MARK}-signature"):
        with contextlib.suppress(eyas.EyasError):
            await client.wait((await client.train(dataset, "colours", preset="fast")).id)
    job = await client.train(str(photos), "trained", preset="fast", request_id="request-1")
    assert (await client.wait(job.id)).state is eyas.JobState.SUCCEEDED


async def uploads(app: App, client: eyas.aio.Client, folder: Path) -> None:
    photos = folder / f"{MARK} uploads"
    (photos / "red").mkdir(parents=True)
    (photos / "red" / f"{MARK}.png").write_bytes(RED)
    uploaded = await client.upload_dataset(photos, "photos")
    await client.get_dataset(uploaded.name)
    with contextlib.suppress(eyas.EyasError):
        await client.get_dataset(f"/home/{MARK}")


async def feedback_and_capture(app: App, client: eyas.aio.Client, folder: Path) -> None:
    answer = await client.classify("colours", RED)
    await client.report_feedback_many([(answer, "red"), (f"{MARK}forged", "red"), (f"{answer.prediction_id[:-9]}{MARK}xx", "red")])
    await client.set_capture_policy("colours", enabled=True, percent=100.0)
    with contextlib.suppress(eyas.EyasError):
        await client.get_captured("colours", f"/home/{MARK}")


async def surprises(app: App, client: eyas.aio.Client, folder: Path) -> None:
    classifier: Any = app._classifier

    async def fail(question: Any) -> None:
        secret, held = f"{MARK}-local", question.images[0]
        raise RuntimeError(f"GET {SIGNED} failed with authorization: Bearer {MARK}-token", len(secret), len(held))

    classifier.classify, before = fail, classifier.classify
    try:
        with pytest.raises(eyas.ServerError, match="under the id [0-9a-f]{16}") as refused:
            await client.classify("colours", RED)
        assert MARK not in refused.value.message
    finally:
        classifier.classify = before


@pytest.mark.parametrize(
    "ask",
    [classifications, wrong_tokens, over_http, other_protocol, trainings, uploads, feedback_and_capture, surprises],
    ids=lambda ask: ask.__name__,
)
async def test_nothing_is_told_that_should_not_be(
    ask: Ask, app: App, collector: Collector, written: io.StringIO, tmp_path: Path
) -> None:
    async with eyas.aio.Client(f"127.0.0.1:{app.port}", token=TOKEN, retries=False) as client:
        await ask(app, client, tmp_path)
    await app.stop()
    structlog.get_logger().error("the end")  # takes all lines along
    told = [written.getvalue().encode(), *collector.raw]
    assert b'"rpc"' in told[0]
    assert len(told) > 1
    for text in told:
        assert MARK.encode() not in text, text[max(0, text.index(MARK.encode()) - 500) :][:700].decode(errors="replace")
        for form in (RED[:16], RED[-16:], base64.b64encode(RED)[8:40], RED.hex()[16:64].encode(), repr(RED)[20:60].encode()):
            assert form not in text
    assert any(MARK in value for headers in collector.headers for value in headers.values())  # which is how the collector knows us


async def test_a_call_has_one_line_that_says_what_it_was(app: App, written: io.StringIO) -> None:
    async with eyas.aio.Client(f"127.0.0.1:{app.port}", token=TOKEN, retries=False) as client:
        first, bad = await client.classify_many("colours", [RED, b"no picture"])
        assert isinstance(bad, eyas.UndecodableImage)
        assert isinstance(first, eyas.Classification)
        streamed = [answer async for _, answer in client.classify_stream("colours", [RED] * 12, ordered=False)]
        with pytest.raises(eyas.NotFound) as refused:
            await client.get_job("none")
    structlog.get_logger().error("the end")
    lines = [json.loads(line) for line in written.getvalue().splitlines()]
    classify, stream, get_job = [line for line in lines if line["event"] == "rpc"]
    assert (classify["method"], classify["code"], classify["error"]) == ("ClassificationService/Classify", "OK", None)
    assert (classify["model"], classify["version"], classify["images"], classify["failed"]) == ("colours", 1, 2, 1)
    assert len(RED) < classify["bytes"] < len(RED) + 100
    assert classify["predictions"] == [first.prediction_id]
    assert re.fullmatch(r"[0-9a-f]{32}", classify["trace_id"])
    assert (stream["method"], stream["images"], stream.get("failed")) == ("ClassificationService/ClassifyStream", 12, None)
    # Those that were known first, which need not be those of the first pictures.
    assert stream["predictions"] == [one.prediction_id for one in streamed if isinstance(one, eyas.Classification)][:8]
    assert stream["bytes"] > 12 * len(RED)
    assert (get_job["code"], get_job["request_id"]) == ("NOT_FOUND", refused.value.request_id)
    assert "model" not in get_job


async def test_a_callers_credentials_are_not_told_to_him_either(app: App) -> None:
    async with eyas.aio.Client(f"127.0.0.1:{app.port}", token=TOKEN, retries=False) as client:
        for dataset in (SIGNED, SIGNED.replace("https", "s3"), SIGNED.replace("https", "file"), f"s3://b/x?X-Amz-Signature={MARK}"):
            with pytest.raises(eyas.EyasError) as refused:
                await client.train(dataset, "colours", preset="fast")
            shown = [refused.value.message, *refused.value.metadata.values()]
            shown += [one.description for one in getattr(refused.value, "violations", ())]
            assert not [text for text in shown if MARK in text]
