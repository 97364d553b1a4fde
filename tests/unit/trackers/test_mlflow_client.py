"""trackers.mlflow.client: a server that means harm, or another one in its place, is asked nowhere else, and holds nobody up."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import structlog

from builders import write_bundle
from eyasd.registry.models import Models
from eyasd.trackers.follower import TrackerAway, TrackerRefuses
from eyasd.trackers.mlflow import client as module
from eyasd.trackers.mlflow import mirror
from eyasd.trackers.mlflow.client import Client
from eyasd.trackers.mlflow.mirror import Mirror
from eyasd.trackers.mlflow.runs import Runs

Answer = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def server(answer: Answer) -> AsyncIterator[tuple[str, list[bytes]]]:
    """A server that answers each request as it is told, and what was asked of it, by its address."""
    asked: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with_body = await reader.readuntil(b"\r\n\r\n")
        asked.append(with_body)
        try:
            await answer(with_body, writer)
        except ConnectionError:
            pass
        finally:
            writer.close()

    made = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with made:
        yield f"http://127.0.0.1:{made.sockets[0].getsockname()[1]}", asked


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[Client]:
    made = Client(url, "", "secret")
    try:
        yield made
    finally:
        await made.close()


def response(content: bytes, status: str = "200 OK", *headers: str) -> bytes:
    lines = (f"HTTP/1.1 {status}", f"Content-Length: {len(content)}", "Connection: close", *headers)
    return "".join(f"{line}\r\n" for line in lines).encode() + b"\r\n" + content


def always(said: bytes) -> Answer:
    async def answer(_: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(said)
        await writer.drain()

    return answer


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_no_redirect_is_followed_so_the_token_stays_here(status: int) -> None:
    async with server(always(response(b"{}"))) as (elsewhere, stolen):
        for place in (
            f"{elsewhere}/api/2.0/mlflow/runs/get",
            "/api/2.0/mlflow/runs/get",
            "http://169.254.169.254/latest/meta-data",
        ):
            async with server(always(response(b"", f"{status} Gone", f"Location: {place}"))) as (url, asked), opened(url) as client:
                for call in (client.get("runs/get"), client.post("runs/create", {}), client.upload("1/a", io.BytesIO())):
                    with pytest.raises(
                        TrackerAway, match=f"answered {status}, a redirect, which is not followed: is trackers.mlfl"
                    ):
                        await call
                assert len(asked) == 3
        assert stolen == []


@pytest.mark.parametrize("bomb", ["length", "no length", "chunks", "gzip"])
async def test_an_answer_that_does_not_end_or_grows_is_read_up_to_its_bound(bomb: str) -> None:
    async def answer(_: bytes, writer: asyncio.StreamWriter) -> None:
        if bomb == "gzip":
            writer.write(response(gzip.compress(b" " * 50_000_000, 1), "200 OK", "Content-Encoding: gzip"))
            return
        header = {"length": f"Content-Length: {10**15}", "no length": "X-Y: z", "chunks": "Transfer-Encoding: chunked"}[bomb]
        writer.write(f"HTTP/1.1 200 OK\r\n{header}\r\nConnection: close\r\n\r\n".encode())
        piece = b" " * 65_536
        while not writer.is_closing():
            writer.write(b"10000\r\n" + piece + b"\r\n" if bomb == "chunks" else piece)
            await writer.drain()

    async with server(answer) as (url, asked), opened(url) as client:
        with pytest.raises(TrackerAway, match="more than 8,388,608 bytes" if bomb != "gzip" else "it answered 200"):
            await client.get("runs/get", run_id="1")
    assert b"accept-encoding: identity" in asked[0].lower()


async def test_an_answer_that_comes_byte_by_byte_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_SECONDS", 0.2)

    async def answer(_: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n")
        while not writer.is_closing():
            writer.write(b" ")
            await writer.drain()
            await asyncio.sleep(0.02)

    async with server(answer) as (url, _), opened(url) as client:
        with pytest.raises(TrackerAway, match="TimeoutError"):
            await client.get("runs/get", run_id="1")


@pytest.mark.parametrize(
    "said", [b"[" * 100_000, b'{"a": ' * 100_000, b"9" * 5000, b"\xff\xfe", b"null", b"{", response(b"{}")[:9]]
)
async def test_what_is_no_answer_is_an_outage(said: bytes) -> None:
    async with server(always(response(said) if len(said) != 9 else said)) as (url, _), opened(url) as client:
        with pytest.raises(TrackerAway):
            await client.get("runs/get", run_id="1")


@pytest.mark.parametrize("place", ["../../other/api", "1/%2e%2e/%2e%2e/x", "1//x", "/etc", ".", "%2e%2e%2fx", ""])
async def test_artifacts_go_nowhere_but_below_those_of_the_server(place: str) -> None:
    async with server(always(response(b"{}"))) as (url, asked), opened(url) as client:
        with pytest.raises(TrackerRefuses, match="no place below its own"):
            await client.upload(f"{place}/report.html", io.BytesIO(b"x"))
        await client.upload("1/a run?x#y/report.html", io.BytesIO(b"x"))
    (request,) = asked
    assert request.startswith(b"PUT /api/2.0/mlflow-artifacts/artifacts/1/a%20run%3Fx%23y/report.html HTTP")


async def test_a_list_without_an_end_is_left(
    monkeypatch: pytest.MonkeyPatch, models: Models, tmp_path: Path, log: structlog.typing.FilteringBoundLogger
) -> None:
    models.publish("colours", write_bundle(tmp_path / "bundle"), "job1")
    monkeypatch.setattr(mirror, "_MOST_PAGES", 5)
    page = json.dumps({"registered_model": {}, "model_versions": [], "next_page_token": "again"}).encode()
    async with server(always(response(page))) as (url, asked), opened(url) as client:
        with pytest.raises(TrackerAway, match="more than 5 pages of versions of colours"):
            await Mirror(client, Runs(client, "{model}"), models, f"file://{tmp_path}", log).look()
    assert len(asked) == 6
