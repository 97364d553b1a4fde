"""What may be done to the ports that speak HTTP/1, of the JSON door and of the page of metrics, as no library would send it."""

from __future__ import annotations

import asyncio
from typing import Final

from hostile.torture import Attack, bomb, send

_POST: Final = b"POST /v1/models/kept:classify HTTP/1.1\r\nhost: localhost\r\n"
_MB: Final = 1024 * 1024


def _bodies() -> list[bytes]:
    json = b"content-type: application/json\r\n"
    form = b"content-type: multipart/form-data; boundary="
    deep = b"[" * 200_000
    parts = b"--b\r\ncontent-disposition: form-data; name=a\r\n\r\nx\r\n" * 20_000
    base64 = b'{"images": [{"content": "' + b"A" * (31 * _MB) + b'"}]}'
    return [
        _with(json, deep),
        _with(json, b'{"images": ' + deep),
        _with(json, b'{"images": [{"content": 1e999}], "images": NaN}'),
        _with(json, b'{"images": [' + b'{"content": ""},' * 100_000 + b'{"content": ""}]}'),
        _with(json, base64),
        _with(json, b"\xff\xfe\xfa"),
        _with(json, b'"' + b"\\ud800" * 1_000 + b'"'),
        _with(json + b"content-encoding: gzip\r\n", bomb()),
        _with(json + b"content-encoding: deflate\r\n", b"\xff" * 100),
        _with(form + b"b\r\n", parts),
        _with(form + b"b\r\n", b"--b\r\n" + b"x: y\r\n" * 200_000),
        _with(form + b"\r\n", b"--\r\n"),
        _with(form + b"b" * 5_000 + b"\r\n", b"--b\r\n\r\n"),
        _with(form + b'"\xff"\r\n', b"x"),
        _with(b"content-type: multipart/form-data\r\n", b"x"),
        _with(b"content-type: image/png\r\n", bytes(33 * _MB)),
        _POST + json + b"transfer-encoding: chunked\r\n\r\n" + b"ffffffffffffffff\r\nx",
        _POST + json + b"transfer-encoding: chunked\r\n\r\n" + b"1;" + b"x" * 100_000 + b"\r\na\r\n",
        _POST + json + b"transfer-encoding: chunked\r\n\r\n" + b"1\r\na\r\n" * 200_000,
        _POST + json + b"transfer-encoding: chunked\r\ncontent-length: 3\r\n\r\n0\r\n\r\nGET /v1/health HTTP/1.1\r\n\r\n",
        _POST + json + b"content-length: -1\r\n\r\n",
        _POST + json + b"content-length: 99999999999999999999\r\n\r\nx",
        b"POST /v1/models/" + b"%2e" * 20_000 + b":classify HTTP/1.1\r\nhost: localhost\r\n\r\n",
        b"GET /" + b"\xff\0" + b" HTTP/9.9\r\n\r\n",
        b"GET /v1/health HTTP/1.1\r\n" + b"x: y\r\n" * 50_000 + b"\r\n",
        b"GET /v1/health HTTP/1.1\r\nx: " + b"y" * _MB + b"\r\n\r\n",
        b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03",
    ]


def _with(headers: bytes, body: bytes) -> bytes:
    return _POST + headers + f"content-length: {len(body)}\r\n\r\n".encode() + body


async def bodies(port: int, times: int) -> int:
    """Bombs of JSON, base64, gzip, chunks and forms, boundaries and lengths that are wrong."""
    several = _bodies()
    for _ in range(times):
        for one in several:
            await send(port, one)
    return times * len(several)


async def slow(port: int, times: int) -> int:
    """Connections that say a byte, or half a request, and no more."""
    return await _hold(port, times, (b"G", _POST, _POST + b"content-length: 9\r\n\r\n", b""))


HTTP: Final[dict[Attack, tuple[int, int]]] = {bodies: (1, 50), slow: (100, 500)}


# Of the page of metrics.


async def pages(port: int, times: int) -> int:
    """Requests that are none, and those of pages that there are not."""
    several = (
        b"GET /metrics" + b"x" * 100_000 + b" HTTP/1.1\r\n\r\n",
        b"POST /metrics HTTP/1.1\r\ncontent-length: 99999999999\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\n" + b"x: y\r\n" * 1_000 + b"\r\n",
        b"GET /metrics?name[]=" + b"a" * 60_000 + b" HTTP/1.1\r\n\r\n",
        b"GET /../../etc/passwd HTTP/1.1\r\n\r\n",
        b"\xff\xfe\0\r\n\r\n",
        b"GET",
    )
    for _ in range(times):
        for one in several:
            await send(port, one)
    return times * len(several)


METRICS: Final[dict[Attack, tuple[int, int]]] = {pages: (1, 200), slow: (50, 500)}


async def _hold(port: int, times: int, starts: tuple[bytes, ...]) -> int:
    writers = []
    for number in range(times):
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(starts[number % len(starts)])
        writers.append(writer)
    await asyncio.sleep(0.5)
    for writer in writers:
        writer.close()
    return times
