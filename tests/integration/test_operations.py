"""What operators rely on: restarts under load, connections that end, health, attacks on the transport."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

import eyas
from builders import picture, write_bundle
from clock import Spent
from eyas.v1 import classification_service_pb2 as pb
from eyas.v1.classification_service_pb2_grpc import ClassificationServiceStub
from eyasd.api import transport
from eyasd.api.interceptors import CallInterceptor
from eyasd.app import App, Role
from eyasd.registry.models import Models
from eyasd.serving.fleet import Fleet
from http2 import DATA, RST_STREAM, Http2
from waits import until

_MOST_SECONDS = 20.0
CLASSIFY = "/eyas.v1.ClassificationService/Classify"
SERVING, NOT_SERVING, UNKNOWN = (
    health_pb2.HealthCheckResponse.SERVING,
    health_pb2.HealthCheckResponse.NOT_SERVING,
    health_pb2.HealthCheckResponse.SERVICE_UNKNOWN,
)


def asked(app: App) -> float:
    return app._metrics.registry.get_sample_value("eyas_images_total", {"model": "colours", "outcome": "OK"}) or 0


async def test_a_rolling_restart_under_load_loses_no_request(daemon: Any, published: Models, free_ports: tuple[int, int]) -> None:
    settings = [{"listen": f"127.0.0.1:{port}", "lame_duck_seconds": 0.3} for port in free_ports]
    address = "ipv4:" + ",".join(f"127.0.0.1:{port}" for port in free_ports)
    answered, streamed, ending = 0, 0, asyncio.Event()

    async def ask(client: eyas.aio.Client) -> None:
        nonlocal answered
        while not ending.is_set():
            await client.classify("colours", picture())
            answered += 1

    async def stream(client: eyas.aio.Client) -> None:
        nonlocal streamed

        def pictures() -> Any:
            while not ending.is_set():
                yield picture()

        async for _, result in client.classify_stream("colours", pictures()):
            assert isinstance(result, eyas.Classification)
            streamed += 1

    running = [daemon(Role.SERVER, api=api) for api in settings]
    apps = [await one.__aenter__() for one in running]
    async with eyas.aio.Client(address, retries=False) as client, eyas.aio.Client(address) as streaming:
        loads = [asyncio.create_task(ask(client)) for _ in range(4)]
        loads.append(asyncio.create_task(stream(streaming)))
        for turn in (0, 1):

            def both_are_asked(turn: int = turn) -> bool:
                assert not any(load.done() for load in loads), [load.exception() for load in loads if load.done()]
                return min(answered, streamed) > 20 * (turn + 1) and all(asked(app) > 20 for app in apps)

            await until(both_are_asked)
            await running[turn].__aexit__(None, None, None)
            running[turn] = daemon(Role.SERVER, api=settings[turn])
            apps[turn] = await running[turn].__aenter__()
        ending.set()
        await asyncio.gather(*loads)
    for one in running:
        await one.__aexit__(None, None, None)


async def test_a_daemon_that_loads_is_asked_nothing_though_its_port_is_taken(
    daemon: Any, published: Models, free_ports: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = free_ports
    settle, loaded = Fleet.settle, asyncio.Event()

    async def slow(fleet: Fleet) -> None:
        await settle(fleet)
        await loaded.wait()

    turns = (("grpc.service_config", '{"loadBalancingConfig": [{"round_robin": {}}]}'),)  # and health is asked of nobody
    channel = grpc.aio.insecure_channel(f"ipv4:127.0.0.1:{first},127.0.0.1:{second}", turns)
    request = pb.ClassifyRequest(model="models/colours", images=[pb.Image(content=picture())])
    async with daemon(Role.SERVER, api={"listen": f"127.0.0.1:{first}"}), channel:
        monkeypatch.setattr(Fleet, "settle", slow)
        later = daemon(Role.SERVER, api={"listen": f"127.0.0.1:{second}"})
        starting = asyncio.create_task(later.__aenter__())
        await until(lambda: is_listened_on(second))
        for _ in range(20):
            await ClassificationServiceStub(channel).Classify(request, timeout=60)
        assert not starting.done()
        loaded.set()
        app = await starting
        while not asked(app):
            await ClassificationServiceStub(channel).Classify(request, timeout=60)
        await later.__aexit__(None, None, None)


def is_listened_on(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


async def test_no_call_fails_when_a_connection_has_become_too_old(
    daemon: Any, published: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    peers: set[str] = set()
    report = CallInterceptor.report

    def noting(self: Any, *call: Any) -> None:
        peers.add(call[3])
        report(self, *call)

    monkeypatch.setattr(CallInterceptor, "report", noting)
    async with (
        daemon(Role.SERVER, api={"connection_age_seconds": 0.1}) as app,
        eyas.aio.Client(f"127.0.0.1:{app.port}", retries=False) as client,
    ):

        async def ask() -> None:
            while len(peers) < 4:
                await client.classify("colours", picture())

        await asyncio.gather(*(ask() for _ in range(4)))


async def test_watch_sees_a_model_come_and_go(daemon: Any, published: Models, tmp_path: Path) -> None:
    async with (
        daemon(Role.SERVER, serving={"poll_interval_seconds": 0.05}, api={"lame_duck_seconds": 0.1, "grace_seconds": 200}) as app,
        grpc.aio.insecure_channel(f"127.0.0.1:{app.port}") as channel,
    ):
        states = aiter(health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service="models/later")))
        assert (await anext(states)).status == UNKNOWN  # a watch waits for what does not exist yet; a check says NOT_FOUND
        published.publish("later", write_bundle(tmp_path / "later"), "job1")
        published.aliases.set("later", "production", 1, actor="test", reason="")
        seen = [(await anext(states)).status]
        if seen == [NOT_SERVING]:  # while it is loaded
            seen.append((await anext(states)).status)
        assert seen[-1] == SERVING
        async with asyncio.timeout(100):  # less than the grace, which nobody needs
            stopping = asyncio.create_task(app.stop())
            assert (await anext(states)).status == NOT_SERVING
            with pytest.raises(grpc.aio.AioRpcError, match="The server has gone down"):
                await anext(states)
            await stopping


async def good_calls(app: App, seconds: float) -> tuple[int, float]:
    """Calls one after the other, each of which must be answered; returns how many there were, and what the longest spent.

    One that had to wait for half a message to be given up would not come in time.
    """
    assert app._settings.api.arrival_seconds > _MOST_SECONDS
    longest, count, spent = 0.0, 0, Spent()
    async with eyas.aio.Client(f"127.0.0.1:{app.port}", retries=False, timeout=_MOST_SECONDS) as client:
        while not count or spent.seconds < seconds:
            one = Spent()
            await client.classify("colours", picture())
            longest, count = max(longest, one.seconds), count + 1
    return count, longest


async def test_messages_that_are_sent_half_hold_up_nobody(app: App) -> None:
    async with Http2(app.port) as attacker:
        for _ in range(100):
            attacker.send(DATA, b"\0", stream=attacker.call(CLASSIFY))
        await attacker.drain()
        count, longest = await good_calls(app, 0.5)
    assert count > 10
    assert longest < 1


async def test_streams_whose_messages_are_sent_half_are_given_up(daemon: Any, published: Models) -> None:
    async with daemon(Role.SERVER, api={"stream_idle_seconds": 0.3}) as app, Http2(app.port) as attacker:
        for _ in range(20):
            attacker.send(DATA, b"\0", stream=attacker.call("/eyas.v1.ClassificationService/ClassifyStream"))
        await attacker.drain()
        value = app._metrics.registry.get_sample_value
        late = {"method": "ClassificationService/ClassifyStream", "code": "DEADLINE_EXCEEDED"}
        await until(lambda: value("eyas_rpcs_total", late) == 20)
        await until(lambda: value("eyas_open_streams") == 0)


async def test_calls_that_are_opened_and_reset_hold_up_nobody(app: App) -> None:
    async with Http2(app.port) as attacker:
        calling = asyncio.create_task(good_calls(app, 0.5))
        for number in range(3000):
            attacker.send(RST_STREAM, (8).to_bytes(4, "big"), stream=attacker.call(CLASSIFY))
            if number % 50 == 0:
                await attacker.drain()
                await asyncio.sleep(0)
        count, longest = await calling
    assert count > 10
    assert longest < 1


async def test_more_calls_than_a_connection_takes_wait_for_their_turn(channel: grpc.aio.Channel) -> None:
    live = channel.unary_unary("/inference.GRPCInferenceService/ServerLive")
    for _ in range(3):
        await asyncio.gather(*(live(b"", timeout=30) for _ in range(300)))


async def test_metadata_has_a_limit(app: App, channel: grpc.aio.Channel) -> None:
    call = channel.unary_unary(CLASSIFY)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call(b"", metadata=(("large", "x" * 20_000),))
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert (await good_calls(app, 0.05))[0]


async def test_clients_that_ping_as_clients_do_are_not_sent_away(
    daemon: Any, published: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    every = dict(transport._LIMITS)
    least = every["grpc.http2.min_ping_interval_without_data_ms"]
    assert least < 10_000
    # The same rule, a hundred times as fast: one pings half as often as he may, without a call, one at once.
    quick = every | {"grpc.http2.min_ping_interval_without_data_ms": least // 100}
    monkeypatch.setattr(transport, "_LIMITS", tuple(quick.items()))
    async with daemon(Role.SERVER) as app, Http2(app.port) as patient, Http2(app.port) as eager:
        for _ in range(6):
            patient.pong.clear()
            patient.ping()
            for _ in range(2):
                eager.ping()
            await until(patient.pong.is_set)  # the server may have been late to read it
            await asyncio.sleep(2 * least / 100 / 1000)
        assert patient.goaway is None
        await until(lambda: eager.goaway)
        assert eager.goaway == b"too_many_pings"
