"""What comes half, slowly or too often: whose message is taken, for how long, and how many of them at once."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc

import eyas.aio
from builders import COLOURS, picture
from eyasd.access.roles import parse_grants
from eyasd.access.tokens import line_of, make_token
from eyasd.app import App, Role
from eyasd.registry.models import Models
from http2 import Http2
from waits import until, until_told

CLASSIFY = "/eyas.v1.ClassificationService/Classify"
FIRST_WINDOW = 512 * 1024
MESSAGE = b"\0" + (4_000_000).to_bytes(4, "big") + bytes(3_999_999)  # but for its last byte
RED = picture(COLOURS["red"])
POST = b"POST /v1/models/colours:classify HTTP/1.1\r\nhost: localhost\r\ncontent-type: image/png\r\ncontent-length: 1000000\r\n"


def counted(app: App, name: str, **labels: str) -> float:
    return app._metrics.registry.get_sample_value(name, labels) or 0


async def answer(port: int | None, request: bytes) -> bytes:
    """Sends bytes, and returns the first line of what comes back; b"" where the connection is closed."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(request)
    line = b""
    async with asyncio.timeout(60):
        with suppress(ConnectionError):  # where it is closed before the request was read
            line = await reader.readline()
    writer.close()
    return line


async def test_a_stranger_is_refused_before_his_message_is_taken(daemon: Any, published: Models, tmp_path: Path) -> None:
    tokens = {name: make_token() for name in ("shop", "trainer")}
    roles = {"shop": "classify", "trainer": "train"}
    lines = [line_of(token, name, parse_grants(roles[name]), None) for name, token in tokens.items()]
    (tmp_path / "tokens").write_text("\n".join(lines))

    async with (
        daemon(Role.SERVER, access={"tokens": tmp_path / "tokens"}, api={"http_listen": "127.0.0.1:0"}) as app,
        Http2(app.port) as connection,
    ):
        for number, (token, code) in enumerate([("no", "UNAUTHENTICATED"), (tokens["trainer"], "PERMISSION_DENIED")], 1):
            stream = connection.call(CLASSIFY, (b"authorization", f"Bearer {token}".encode()))
            await connection.over(stream)  # nothing of its message was sent
            stream = connection.call(CLASSIFY, (b"authorization", f"Bearer {token}".encode()))
            assert await connection.send_data(MESSAGE, stream) <= FIRST_WINDOW
            assert counted(app, "eyas_rpcs_total", method="ClassificationService/Classify", code=code) == 2, number
        bearer = (b"authorization", f"Bearer {tokens['shop']}".encode())
        for _ in range(2):  # the first time, and where he is remembered
            assert await connection.send_data(MESSAGE, connection.call(CLASSIFY, bearer)) == len(MESSAGE)
        async with eyas.aio.Client(f"127.0.0.1:{app.port}", token=tokens["shop"], retries=False) as client:
            assert (await client.classify("colours", RED)).label == "red"
        assert await answer(app.http_port, POST + b"authorization: Bearer no\r\n\r\n") == b"HTTP/1.1 401 Unauthorized\r\n"


async def test_so_many_messages_come_and_who_has_most_gives_way(daemon: Any, published: Models) -> None:
    async with (
        daemon(Role.SERVER, api={"arriving_messages": 4}) as app,
        Http2(app.port) as one,
        Http2(app.port) as other,
        eyas.aio.Client(f"127.0.0.1:{app.port}", retries=False) as client,
    ):
        sent: dict[tuple[Http2, int], int] = {}

        async def send(connection: Http2, stream: int) -> None:
            sent[connection, stream] = await connection.send_data(MESSAGE, stream)

        sending = []
        for connection, there in ((one, 3), (other, 4)):  # the last of the places is for who has none
            sending += [asyncio.ensure_future(send(connection, connection.call(CLASSIFY))) for _ in range(10)]
            await until(lambda there=there: sum(map(bool, sent.values())) >= there)
        for _ in range(2):
            assert (await client.classify("colours", RED)).label == "red"
        given_up = counted(app, "eyas_refusals_total", model="other", reason="messages")
        assert given_up >= 1
        assert sum(map(bool, sent.values())) <= 4 + given_up
        for each in sending:
            each.cancel()


async def test_what_does_not_come_whole_in_time_is_given_up(daemon: Any, published: Models) -> None:
    async with (
        daemon(Role.SERVER, api={"arrival_seconds": 0.3, "http_listen": "127.0.0.1:0"}) as app,
        Http2(app.port) as connection,
    ):
        streams = [connection.call(path) for path in (CLASSIFY, CLASSIFY, "/grpc.health.v1.Health/Check")]
        await connection.send_data(b"\0\0\0", streams[0])
        async with asyncio.timeout(60):
            for stream in streams:
                await connection.over(stream)
        late = {"method": "ClassificationService/Classify", "code": "DEADLINE_EXCEEDED"}
        assert counted(app, "eyas_rpcs_total", **late) == 2
        assert counted(app, "eyas_rpc_seconds_sum", method=late["method"]) >= 0.6
        assert await answer(app.http_port, POST + b"\r\nhalf") == b"HTTP/1.1 408 Request Timeout\r\n"
        assert counted(app, "eyas_refusals_total", model="other", reason="late") == 4


async def test_connections_have_an_end(daemon: Any, published: Models) -> None:
    health = b"GET /v1/health HTTP/1.1\r\nhost: localhost\r\n\r\n"
    async with (
        daemon(Role.SERVER, api={"connections": 4, "http_listen": "127.0.0.1:0"}) as app,
        Http2(app.port) as one,
        Http2(app.port),
        Http2(app.port),
        Http2(app.port),
    ):
        async with Http2(app.port) as fifth:
            assert await fifth.ended()
        one.ping()
        assert not await one.ended(0.1)
        held = [await asyncio.open_connection("127.0.0.1", app.http_port) for _ in range(4)]
        for reader, writer in held:
            writer.write(health)
            assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        assert await answer(app.http_port, health) == b""
        for _, writer in held:
            writer.close()
        await until_told(lambda: answer(app.http_port, health))


async def test_streams_have_an_end(daemon: Any, published: Models) -> None:
    async with (
        daemon(Role.SERVER, api={"streams": 4, "stream_idle_seconds": 3}) as app,
        grpc.aio.insecure_channel(f"127.0.0.1:{app.port}") as channel,
    ):
        for path in ("/eyas.v1.ClassificationService/ClassifyStream", "/inference.GRPCInferenceService/ModelStreamInfer"):
            streams = [channel.stream_stream(path)() for _ in range(4)]
            details = Counter([(await stream.code(), (await stream.details()).partition(":")[0]) for stream in streams])
            assert details == {
                (grpc.StatusCode.DEADLINE_EXCEEDED, "Nothing came whole for 3 s"): 3,
                (grpc.StatusCode.RESOURCE_EXHAUSTED, "The server reads 3 streams already (api.streams is 4)"): 1,
            }
        assert counted(app, "eyas_refusals_total", model="other", reason="streams") == 2


async def test_what_is_promised_takes_no_place(daemon: Any, published: Models) -> None:
    """More connections than there are places say that a body comes, and begin it or not; the picture of another comes."""
    async with daemon(Role.SERVER, api={"arriving_messages": 4, "http_listen": "127.0.0.1:0"}) as app:
        held = []
        for start in (b"expect: 100-continue\r\n\r\n", b"\r\n", b"\r\nhalf") * 4:
            reader, writer = await asyncio.open_connection("127.0.0.1", app.http_port)
            writer.write(POST + start)
            if start.startswith(b"expect"):
                assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
            held.append(writer)
        assert app._web is not None
        await until(lambda: len(app._web._silent) == 0)  # each is read
        assert app._web._arrivals.counts == (0, 0)
        small = POST.replace(b"1000000", str(len(RED)).encode()) + b"\r\n" + RED
        assert await answer(app.http_port, small) == b"HTTP/1.1 200 OK\r\n"
        _, large = await asyncio.open_connection("127.0.0.1", app.http_port)
        large.write(POST + b"\r\n" + bytes(100_000))
        await until(lambda: app._web._arrivals.counts == (1, 0))
        for writer in (*held, large):
            writer.close()
