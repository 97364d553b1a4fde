"""Several acceptors on one port, as one daemon: they answer alike, are counted as one, and come back when they are killed."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import grpc
import pytest
import structlog
import trustme
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tritonclient.grpc import service_pb2 as inference
from tritonclient.grpc import service_pb2_grpc as inference_grpc

from builders import picture, write_bundle
from collector import Collector, collecting
from eyas.v1 import classification_service_pb2 as pb
from eyas.v1 import feedback_service_pb2, model_pb2, model_service_pb2
from eyas.v1.classification_service_pb2_grpc import ClassificationServiceStub
from eyas.v1.feedback_service_pb2_grpc import FeedbackServiceStub
from eyas.v1.model_service_pb2_grpc import ModelServiceStub
from eyasd import daemon
from eyasd.access.roles import parse_grants
from eyasd.access.tokens import line_of, make_token
from eyasd.app import App, Role
from eyasd.config import Settings, read_settings
from eyasd.core.device import Transport
from eyasd.core.errors import StartupFailed
from eyasd.daemon import serve
from eyasd.registry.models import Models
from eyasd.serving.network.providers import CPU, CUDA
from eyasd.supervisor import Supervisor
from processes import children, listed
from waits import until_told

CLASSIFY = pb.ClassifyRequest(model="models/colours", images=[pb.Image(content=picture())])


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as made:
        yield made


@pytest.fixture
def settings(data_dir: Path, collector: Collector, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("EYASD_SERVING__FEEDBACK_KEY", "a key to be hushed up")
    monkeypatch.setattr("eyasd.supervisor._ANSWER_SECONDS", 60.0)  # a busy machine's acceptor is not left out of the page
    overrides = {
        "data_dir": data_dir,
        "api": {"listen": "127.0.0.1:0", "lame_duck_seconds": 0, "grace_seconds": 5, "token": "hush", "http_listen": "127.0.0.1:0"},
        "telemetry": {"metrics_listen": "127.0.0.1:0", "otlp_endpoint": f"http://127.0.0.1:{collector.port}"},
        "serving": {"acceptors": 2, "poll_interval_seconds": 0.05},
    }
    return read_settings(None, overrides)


@pytest.fixture
async def supervisor(
    settings: Settings, published: Models, log: structlog.typing.FilteringBoundLogger
) -> AsyncIterator[Supervisor]:
    made = Supervisor(settings, log)
    await made.start()
    try:
        yield made
    finally:
        await made.stop()
    assert children("eyasd.") == []


async def connect(stack: AsyncExitStack, port: int) -> list[grpc.aio.Channel]:
    """Returns channels of which each acceptor has some; the kernel shares them out by chance."""
    options = (("grpc.use_local_subchannel_pool", 1),)
    return [await stack.enter_async_context(grpc.aio.insecure_channel(f"127.0.0.1:{port}", options)) for _ in range(16)]


async def version(channel: grpc.aio.Channel) -> str:
    response = await ClassificationServiceStub(channel).Classify(CLASSIFY, metadata=(("authorization", "Bearer hush"),))
    return str(response.model_version)


async def shown(supervisor: Supervisor, name: str) -> dict[str, float]:
    """Returns the samples of a metric on the page of the supervisor, by their labels."""
    url = f"http://127.0.0.1:{supervisor.metrics_port}/metrics"
    page = await asyncio.to_thread(lambda: urllib.request.urlopen(url).read().decode())
    lines = [line.rsplit(" ", 1) for line in page.splitlines() if line.startswith((f"{name}{{", f"{name} "))]
    return {series.removeprefix(name): float(value) for series, value in lines}


async def answered(supervisor: Supervisor) -> float:
    """Returns how many pictures were, according to /metrics."""
    return sum((await shown(supervisor, "eyas_images_total")).values())


async def states(channel: grpc.aio.Channel) -> list[str]:
    response = await ModelServiceStub(channel).ListModelVersions(
        model_service_pb2.ListModelVersionsRequest(parent="models/colours"), metadata=(("authorization", "Bearer hush"),)
    )
    return [model_pb2.ServingState.Name(one.serving_state).removeprefix("SERVING_STATE_") for one in response.versions]


async def test_several_acceptors_are_one_daemon(
    supervisor: Supervisor, published: Models, collector: Collector, tmp_path: Path
) -> None:
    async with AsyncExitStack() as stack:
        channels = await connect(stack, supervisor.port)
        assert {await version(channel) for channel in channels} == {"models/colours/versions/1"}
        acceptors, engines = children("eyasd.acceptor"), children("eyasd.serving.engine")
        assert (len(acceptors), len(engines)) == (2, 1)
        assert not [pid for pid in acceptors if "hush" in listed(pid, to_all=True)]
        assert not [pid for pid in engines if "hush" in listed(pid)]
        assert await answered(supervisor) == 16
        for channel in channels:
            assert await states(channel) == ["READY"]
            health = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service="models/colours"))
            assert health.status == health_pb2.HealthCheckResponse.SERVING
        assert len(children("eyasd.serving.engine")) == 1
        protocol = inference_grpc.GRPCInferenceServiceStub(channels[0])
        bearer = (("authorization", "Bearer hush"),)
        offered = await protocol.ServerMetadata(inference.ServerMetadataRequest(), metadata=bearer)
        assert "statistics" not in offered.extensions  # an acceptor knows its own
        with pytest.raises(grpc.aio.AioRpcError, match="UNIMPLEMENTED"):
            await protocol.ModelStatistics(inference.ModelStatisticsRequest(), metadata=bearer)
        spans = await asyncio.to_thread(collector.wait, lambda spans: sum(one.name == "inference" for one in spans) >= 16)
        batches = [span for span in spans if span.name == "inference"]
        assert {span.resource["process.pid"] for span in batches} == set(children("eyasd.acceptor"))
        assert {span.attributes["eyas.engine.pid"] for span in batches} == set(children("eyasd.serving.engine"))

        answer = await ClassificationServiceStub(channels[0]).Classify(CLASSIFY, metadata=bearer)
        report = feedback_service_pb2.Feedback(prediction_id=answer.results[0].classification.prediction_id, true_labels=["red"])
        reports = [
            FeedbackServiceStub(channel).ReportFeedback(
                feedback_service_pb2.ReportFeedbackRequest(feedback=[report]), metadata=bearer
            )
            for channel in channels
        ]
        outcomes = [response.results[0].outcome for response in await asyncio.gather(*reports)]
        assert sorted(outcomes) == [feedback_service_pb2.FEEDBACK_OUTCOME_RIGHT] + 15 * [
            feedback_service_pb2.FEEDBACK_OUTCOME_REPEATED
        ]

        published.publish("colours", write_bundle(tmp_path / "b2", job="job2"), "job2")
        published.aliases.set("colours", "production", 2, actor="test", reason="")
        while {await version(channel) for channel in channels} != {"models/colours/versions/2"}:
            await asyncio.sleep(0.05)
        while len(children("eyasd.serving.engine")) > 1:  # the old one has gone when no acceptor wants it
            await asyncio.sleep(0.05)

    # What each of them saw is one, what each did is a sum, and of a version that is gone only what it did is left.
    assert await shown(supervisor, "eyas_loaded_version_info") == {'{model="colours",version="2"}': 1}
    assert await shown(supervisor, "eyas_version_swap_seconds_count") == {'{model="colours"}': 1}
    assert (await shown(supervisor, "eyas_version_load_seconds_count")) == {'{model="colours"}': 2}
    totals = {series: value for series, value in (await shown(supervisor, "eyas_stage_seconds_count")).items() if "total" in series}
    assert set(totals) == {f'{{model="colours",stage="total",version="{number}"}}' for number in (1, 2)}
    assert (await shown(supervisor, "eyas_saturation_ratio"))[""] > 0
    (engine,) = children("eyasd.serving.engine")
    os.kill(engine, signal.SIGKILL)
    while (await shown(supervisor, "eyas_engine_restarts_total")).get('{model="colours"}') != 1:
        await asyncio.sleep(0.05)
    assert sum((await shown(supervisor, "eyas_stage_seconds_count")).values()) == 5 * sum(totals.values())

    before, (first, second) = await answered(supervisor), children("eyasd.acceptor")
    os.kill(first, signal.SIGKILL)
    while len(found := children("eyasd.acceptor")) < 2 or first in found:
        await asyncio.sleep(0.05)
    assert second in found
    for number in (0, 1):
        await supervisor._acceptors[number].ready
    for _ in range(4):
        health = await asyncio.to_thread(urllib.request.urlopen, f"http://127.0.0.1:{supervisor.http_port}/v1/health")
        assert health.status == 200
    assert await answered(supervisor) == before  # what the lost one counted was told before, and stays
    assert await shown(supervisor, "eyas_loaded_version_info") == {'{model="colours",version="2"}': 1}
    assert {
        series: value for series, value in (await shown(supervisor, "eyas_stage_seconds_count")).items() if "total" in series
    } == totals
    assert (await shown(supervisor, "eyas_in_flight_requests"))[""] == 0
    async with AsyncExitStack() as stack:
        for channel in await connect(stack, supervisor.port):
            assert await version(channel) == "models/colours/versions/2"
    assert await answered(supervisor) == before + 16


async def test_a_start_that_is_broken_off_ends_what_was_started_and_says_nothing(
    settings: Settings, log: structlog.typing.FilteringBoundLogger, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    never_ready = tmp_path / "acceptor"
    never_ready.write_text("#!/bin/sh\nexec sleep 600\n")
    never_ready.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(never_ready))
    complaints: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: complaints.append(context))
    supervisor = Supervisor(settings, log)
    starting = asyncio.create_task(supervisor.start())
    while len(started := children("sleep")) < 2:
        await asyncio.sleep(0.01)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    for pid in started:
        os.kill(pid, signal.SIGKILL)
    await supervisor.stop()
    assert children("sleep") == []
    assert complaints == []


async def test_a_port_that_somebody_has_stops_the_start(
    app: App, settings: Settings, log: structlog.typing.FilteringBoundLogger
) -> None:
    taken = settings.model_copy(update={"api": settings.api.model_copy(update={"listen": f"127.0.0.1:{app.port}"})})
    with pytest.raises(StartupFailed, match="cannot be listened on"):
        Supervisor(taken, log)


async def test_a_trainer_has_no_acceptors(settings: Settings, log: structlog.typing.FilteringBoundLogger) -> None:
    with pytest.raises(StartupFailed, match=r"serving.acceptors is 2, and `eyasd all` has 1"):
        await serve(Role.ALL, settings, log)


def test_a_gpu_has_two_acceptors_for_three_cores(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    def planned(role: Role, provider: str, **serving: object) -> int:
        monkeypatch.setattr(daemon, "choose_provider", lambda device: provider)
        mine = settings.serving.model_copy(update={"acceptors": 0, "engines": Transport.PROCESS, **serving})
        return daemon.plan_acceptors(role, settings.model_copy(update={"serving": mine})).serving.acceptors

    monkeypatch.setattr(daemon, "cpu_count", lambda: 12)
    assert planned(Role.SERVER, CUDA) == 8
    assert planned(Role.SERVER, CUDA, acceptors=3) == 3
    assert planned(Role.SERVER, CPU) == planned(Role.ALL, CUDA) == planned(Role.SERVER, CUDA, engines=Transport.THREAD) == 1
    monkeypatch.setattr(daemon, "cpu_count", lambda: 1)
    assert planned(Role.SERVER, CUDA) == 1


async def test_every_acceptor_reads_credentials_again(
    settings: Settings, published: Models, log: structlog.typing.FilteringBoundLogger, tmp_path: Path
) -> None:
    first, second, old, new = trustme.CA(), trustme.CA(), make_token(), make_token()

    def write(authority: trustme.CA, token: str) -> None:
        issued = authority.issue_cert("localhost")
        (tmp_path / "key.pem").write_bytes(issued.private_key_pem.bytes())
        (tmp_path / "chain.pem").write_bytes(b"".join(part.bytes() for part in issued.cert_chain_pems))
        (tmp_path / "tokens").write_text(line_of(token, "shop", parse_grants("classify"), None))

    async def accepted(port: int, authority: trustme.CA, token: str) -> int:
        """Returns how many of 16 connections, which the kernel shares out, are let in."""
        options = (("grpc.use_local_subchannel_pool", 1),)
        credentials = grpc.ssl_channel_credentials(authority.cert_pem.bytes())
        found = 0
        for _ in range(16):
            async with grpc.aio.secure_channel(f"localhost:{port}", credentials, options) as channel:
                call = ClassificationServiceStub(channel).Classify(CLASSIFY, metadata=(("authorization", f"Bearer {token}"),))
                found += await call.code() is grpc.StatusCode.OK
        return found

    write(first, old)
    tls = {"tls_key": tmp_path / "key.pem", "tls_certificate": tmp_path / "chain.pem", "token": None, "listen": "localhost:0"}
    api = settings.api.model_copy(update=tls)
    access = settings.access.model_copy(update={"tokens": tmp_path / "tokens"})
    supervisor = Supervisor(settings.model_copy(update={"api": api, "access": access}), log)
    await supervisor.start()
    try:
        assert await accepted(supervisor.port, first, old) == 16
        write(second, new)

        async def all_accept_it() -> bool:
            return await accepted(supervisor.port, second, new) == 16

        await until_told(all_accept_it)
        assert await accepted(supervisor.port, first, new) == 0
        assert await accepted(supervisor.port, second, old) == 0
        reloads = await shown(supervisor, "eyas_credential_reloads_total")
        assert reloads['{outcome="done",what="tokens"}'] == 2
    finally:
        await supervisor.stop()
