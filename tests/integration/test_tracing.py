"""Traces from a caller through the daemon and its engines to a real collector, and what lines in the log say of the same calls."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import urllib.request
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import eyas
from builders import COLOURS, picture, write_bundle
from collector import Collector, Received, collecting
from eyas.v1 import classification_service_pb2 as pb
from eyas.v1 import classification_service_pb2_grpc as pb_grpc
from eyasd.app import App, Role
from eyasd.core import kin
from eyasd.registry.models import Models

TESTS = Path(__file__).parents[1]
RED = picture(COLOURS["red"])
TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT = (("traceparent", f"00-{TRACE}-{SPAN}-01"), ("x-request-id", "request-1"))
CLASSIFY = "eyas.v1.ClassificationService/Classify"


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as made:
        yield made


def traced(collector: Collector, **further: Any) -> dict[str, Any]:
    return {"metrics_listen": "127.0.0.1:0", "otlp_endpoint": f"http://127.0.0.1:{collector.port}", **further}


@pytest.fixture
async def app(daemon: Any, published: Models, collector: Collector) -> AsyncIterator[App]:
    headers = {"otlp_headers": "authorization=Bearer%20collector-secret", "service_name": "birds"}
    async with daemon(telemetry=traced(collector, **headers), api={"http_listen": "127.0.0.1:0"}) as running:
        yield running


async def classify(app: App, images: int = 1, metadata: Any = ()) -> Any:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{app.port}") as channel:
        request = pb.ClassifyRequest(model="models/colours", images=[pb.Image(content=RED)] * images)
        call = pb_grpc.ClassificationServiceStub(channel).Classify(request, metadata=metadata)
        await call
        return dict(await call.trailing_metadata())


def by_name(spans: list[Received]) -> dict[str, list[Received]]:
    found: dict[str, list[Received]] = {}
    for span in spans:
        found.setdefault(span.name, []).append(span)
    return found


async def arrived(collector: Collector, name: str, count: int = 1) -> dict[str, list[Received]]:
    spans = await asyncio.to_thread(collector.wait, lambda spans: sum(one.name == name for one in spans) >= count)
    return by_name(spans)


async def test_a_call_is_one_trace_from_its_caller_to_the_batch(app: App, collector: Collector) -> None:
    trailing = await classify(app, images=3, metadata=PARENT)
    assert trailing["x-request-id"] == "request-1"
    spans = await arrived(collector, CLASSIFY)
    (root,) = spans[CLASSIFY]
    assert (root.trace, root.parent, root.kind, root.service, root.error) == (TRACE, SPAN, 2, "birds", None)
    assert root.resource["eyas.role"] == "all"
    shown = {"rpc.system": "grpc", "rpc.service": "eyas.v1.ClassificationService", "rpc.method": "Classify"}
    shown |= {"rpc.grpc.status_code": 0, "eyas.model": "colours", "eyas.version": 1, "eyas.images": 3}
    shown |= {"eyas.request_id": "request-1", "network.peer.address": "127.0.0.1"}
    assert root.attributes == shown
    parts = [span for name in ("admission", "decode", "queue", "inference", "reply") for span in spans[name]]
    assert len(parts) == 1 + 3 * 3 + 1
    for part in parts:
        assert (part.trace, part.parent) == (TRACE, root.id)
        assert root.start - 1e-4 <= part.start <= part.end <= root.end + 1e-4
    for decode, queue, inference in zip(spans["decode"], spans["queue"], spans["inference"], strict=True):
        assert decode.end == pytest.approx(queue.start, abs=1e-6)
        assert queue.end == pytest.approx(inference.start, abs=1e-6)
        assert decode.attributes["eyas.bytes"] == len(RED)
        assert inference.end > inference.start
    batches: dict[str, list[Received]] = {}
    for inference in spans["inference"]:
        assert inference.attributes["eyas.precision"] == "fp32"
        assert inference.attributes["eyas.provider"] == "CPUExecutionProvider"
        assert inference.attributes["eyas.engine.pid"] > 0
        batches.setdefault(inference.attributes["eyas.batch.id"], []).append(inference)
    for batch in batches.values():
        assert {one.attributes["eyas.batch.images"] for one in batch} == {len(batch)}
        first = batch[0]
        assert [one.links for one in batch] == [[], *[[(TRACE, first.id)]] * (len(batch) - 1)]
    assert collector.headers[0]["authorization"] == "Bearer collector-secret"
    request = urllib.request.Request(
        f"http://127.0.0.1:{app.metrics_port}/metrics", headers={"accept": "application/openmetrics-text"}
    )
    page = await asyncio.to_thread(lambda: urllib.request.urlopen(request).read().decode())
    told = [line for line in page.splitlines() if f'trace_id="{TRACE}"' in line]
    assert {line.partition("_bucket")[0] for line in told} == {"eyas_rpc_seconds", "eyas_stage_seconds"}


async def test_pictures_of_different_callers_in_one_batch_are_linked(daemon: Any, published: Models, collector: Collector) -> None:
    async with daemon(telemetry=traced(collector)) as app:
        await asyncio.gather(*(classify(app) for _ in range(24)))
        spans = await arrived(collector, CLASSIFY, 24)
    assert len({one.trace for one in spans["inference"]}) == 24
    shared = [one for one in spans["inference"] if one.attributes["eyas.batch.images"] > 1]
    assert shared
    known = {(one.trace, one.id): one for one in spans["inference"]}
    for one in shared:
        for link in one.links:
            assert known[link].attributes["eyas.batch.id"] == one.attributes["eyas.batch.id"]
    assert sum(len(one.links) for one in shared) == len(shared) - len({one.attributes["eyas.batch.id"] for one in shared})


async def test_errors_and_the_http_door(app: App, collector: Collector) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{app.port}") as channel:
            stub = pb_grpc.ClassificationServiceStub(channel)
            await stub.Classify(pb.ClassifyRequest(model="models/none", images=[pb.Image(content=RED)]), metadata=PARENT)
    assert ("x-request-id", "request-1") in tuple(refused.value.trailing_metadata() or ())
    headers = {"traceparent": f"00-{'a' * 32}-{SPAN}-01", "x-request-id": "not well-formed"}
    async with aiohttp.ClientSession(f"http://127.0.0.1:{app.http_port}", headers=headers) as web:
        async with web.post("/v1/models/colours:classify", data=RED, headers={"content-type": "image/png"}) as response:
            assert response.status == 200
            assert re.fullmatch(r"[0-9a-f]{16}", response.headers["x-request-id"])
        async with web.post("/v1/models/none:classify", data=RED, headers={"content-type": "image/png"}) as response:
            assert response.status == 404
            request_ids = [one["requestId"] for one in (await response.json())["details"] if "requestId" in one]
            assert request_ids == [response.headers["x-request-id"]]
    spans = await arrived(collector, "POST /v1/models/{model}:classify", 2)
    (root,) = spans[CLASSIFY]
    assert root.error is None  # it is the caller's, says the convention
    assert (root.attributes["rpc.grpc.status_code"], root.attributes["error.type"]) == (5, "NOT_FOUND")
    good, bad = spans["POST /v1/models/{model}:classify"]
    assert [one.trace for one in (good, bad)] == ["a" * 32] * 2
    assert [one.attributes["http.response.status_code"] for one in (good, bad)] == [200, 404]
    assert any(one.trace == "a" * 32 and one.parent == good.id for one in spans["inference"])


async def test_a_stream_has_as_many_spans_as_it_may(app: App, collector: Collector) -> None:
    async with eyas.aio.Client(f"127.0.0.1:{app.port}") as client:
        answers = [answer async for _, answer in client.classify_stream("colours", [RED] * 80)]
    assert len(answers) == 80
    spans = await arrived(collector, "eyas.v1.ClassificationService/ClassifyStream")
    (root,) = spans["eyas.v1.ClassificationService/ClassifyStream"]
    assert root.attributes["eyas.images"] == 80
    assert root.attributes["eyas.spans_left_out"] > 0
    assert sum(len(found) for found in spans.values()) == 129


async def test_a_shadow_has_a_trace_of_its_own_that_names_the_call(
    daemon: Any, published: Models, collector: Collector, tmp_path: Path
) -> None:
    published.publish("colours", write_bundle(tmp_path / "second", job="job2"), "job2")
    async with daemon(telemetry=traced(collector), serving={"poll_interval_seconds": 0.05}) as app:
        async with eyas.aio.Client(f"127.0.0.1:{app.port}") as client:
            await client.set_traffic("colours", shadow=eyas.Shadow("colours/2", 100))
            while not collector.spans or not any(one.name == "shadow" for one in collector.spans):
                await classify(app)
                await asyncio.sleep(0.1)
        spans = await arrived(collector, "shadow")
    shadow = spans["shadow"][0]
    ((trace, span),) = shadow.links
    assert (trace, span) in {(one.trace, one.id) for one in spans[CLASSIFY]}
    assert shadow.trace != trace
    inside = [one for one in spans["inference"] if one.trace == shadow.trace]
    assert [one.attributes["eyas.version"] for one in inside] == [2]
    assert {one.parent for one in inside} == {shadow.id}


async def test_the_ratio_decides_where_no_caller_has(daemon: Any, published: Models, collector: Collector) -> None:
    async with daemon(Role.SERVER, telemetry=traced(collector, trace_ratio=0.0)) as app:
        await classify(app)
        await classify(app, metadata=PARENT)
    assert {one.trace for one in collector.spans} == {TRACE}  # what waits is sent before the daemon ends


async def test_a_collector_that_is_away_slow_or_dying_disturbs_nobody(
    daemon: Any, published: Models, free_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eyasd.telemetry.otlp._EXPORT_SECONDS", 60.0)  # who waited for the collector would wait that long
    telemetry = {"metrics_listen": "127.0.0.1:0", "otlp_endpoint": f"http://127.0.0.1:{free_port}"}
    async with daemon(Role.SERVER, telemetry=telemetry) as app:
        dropped = app.metrics.spans_dropped.labels()
        loop = asyncio.get_running_loop()
        start = loop.time()
        await asyncio.gather(*(classify(app) for _ in range(20)))
        assert loop.time() - start < 30
        with collecting(free_port) as collector:
            collector.seconds = 0.3
            await asyncio.gather(*(classify(app) for _ in range(20)))
            await arrived(collector, CLASSIFY)
        await classify(app)
        closing = loop.time()
    assert loop.time() - closing < 30
    assert dropped.value > 0


def programs() -> list[int]:
    """Returns the training programs that this process has started."""
    commands = {process: Path(f"/proc/{process}/cmdline").read_bytes().split(b"\0") for process in kin.descendants(os.getpid())}
    return [process for process, command in commands.items() if command[1:3] == [b"-m", b"eyasd.training"]]


async def test_a_training_is_one_trace_from_its_caller_through_a_killed_attempt_to_its_version(
    daemon: Any, collector: Collector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", f"{TESTS / 'fake_program'}:{TESTS}:{os.environ.get('PYTHONPATH', '')}")
    monkeypatch.setenv("EYAS_TEST_GO", str(tmp_path / "go"))
    monkeypatch.setenv("EYAS_TEST_RUNS", str(tmp_path / "runs"))
    (tmp_path / "photos").mkdir()
    telemetry = traced(collector, trace_ratio=1e-9)  # calls that make jobs are traced all the same
    async with daemon(Role.TRAINER, telemetry=telemetry) as app, eyas.aio.Client(f"127.0.0.1:{app.port}") as client:
        job = await client.train(str(tmp_path / "photos"), "colours", preset="fast")
        while not (tmp_path / "runs").exists():
            await asyncio.sleep(0.05)
        for process in programs():
            os.kill(process, signal.SIGKILL)
        (tmp_path / "go").touch()
        await client.wait(job.id)
    spans = by_name(collector.spans)
    (asked,), (whole,) = spans["eyas.v1.TrainingService/Train"], spans["job training"]
    assert asked.attributes["eyas.job"] == job.id
    assert {one.trace for one in collector.spans} == {asked.trace}
    assert (whole.parent, whole.kind) == (asked.id, 5)
    assert (whole.attributes["eyas.attempts"], whole.attributes["eyas.version"]) == (2, 1)
    killed, followed = spans["attempt"]
    assert "signal 9" in (killed.error or "")
    assert followed.error is None
    assert [one.parent for one in spans["fine-tune"]] == [killed.id, followed.id]
    assert asked.start <= whole.start <= killed.start <= killed.end <= followed.start <= followed.end <= whole.end


@pytest.fixture
def callers(monkeypatch: pytest.MonkeyPatch) -> InMemorySpanExporter:
    """The spans of an application that uses OpenTelemetry."""
    made, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(made))
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    return made


async def test_a_call_is_part_of_its_callers_trace(app: App, collector: Collector, callers: InMemorySpanExporter) -> None:
    def work() -> None:
        with eyas.Client(f"127.0.0.1:{app.port}") as client, trace.get_tracer("app").start_as_current_span("work"):
            client.classify("colours", RED)
            client.classify_many("colours", [RED] * 2)
            list(client.classify_stream("colours", [RED]))
            with pytest.raises(eyas.NotFound) as refused:
                client.classify("none", RED)
            assert re.fullmatch(r"[0-9a-f]{16}", refused.value.request_id)

    await asyncio.to_thread(work)
    async with eyas.aio.Client(f"127.0.0.1:{app.port}", tracing=True) as client:
        await client.classify("colours", RED)
        await client.get_model("colours")
    async with eyas.aio.Client(f"127.0.0.1:{app.port}") as client:
        await client.list_models().__anext__()  # no span is current
    made = [span for span in callers.get_finished_spans() if span.context]
    calls = [span for span in made if span.name == CLASSIFY]
    assert [span.kind.name for span in calls] == ["CLIENT"] * 4
    assert [(span.attributes or {})["rpc.grpc.status_code"] for span in calls] == [0, 0, 5, 0]
    assert [span.status.is_ok for span in calls] == [True, True, False, True]
    spans = await arrived(collector, CLASSIFY, 4)
    ids = {f"{span.context.span_id:016x}": f"{span.context.trace_id:032x}" for span in calls if span.context}
    assert {one.parent: one.trace for one in spans[CLASSIFY]} == ids
    (work_span,) = (span for span in made if span.name == "work")
    (stream,) = spans["eyas.v1.ClassificationService/ClassifyStream"]
    assert work_span.context is not None
    assert stream.parent == f"{work_span.context.span_id:016x}"
    assert len({one.trace for one in spans["inference"]}) == 2
    (listed,) = spans["eyas.v1.ModelService/ListModels"]
    assert listed.parent == ""
