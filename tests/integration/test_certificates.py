"""Certificates over real sockets, of servers and of callers: who they say it is, and how others take their place under load."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import trustme

import eyas
from builders import COLOURS, picture
from eyasd.registry.models import Models
from waits import until, until_told

RED = picture(COLOURS["red"])


def write_tls(folder: Path, authority: trustme.CA, clients: trustme.CA) -> dict[str, str]:
    issued = authority.issue_cert("localhost")
    (folder / "key.pem").write_bytes(issued.private_key_pem.bytes())
    (folder / "chain.pem").write_bytes(b"".join(part.bytes() for part in issued.cert_chain_pems))
    (folder / "clients.pem").write_bytes(clients.cert_pem.bytes())
    return {
        "tls_key": str(folder / "key.pem"),
        "tls_certificate": str(folder / "chain.pem"),
        "tls_client_ca": str(folder / "clients.pem"),
    }


def of(authority: trustme.CA, issued: trustme.LeafCert) -> dict[str, Any]:
    chain = b"".join(part.bytes() for part in issued.cert_chain_pems)
    return {
        "tls": True,
        "root_certificates": authority.cert_pem.bytes(),
        "certificate": chain,
        "private_key": issued.private_key_pem.bytes(),
        "timeout": 20,
        "retries": False,
    }


async def over_https(port: int, authority: trustme.CA, issued: trustme.LeafCert | None, name: str) -> int:
    """Returns the status of a request; 0 where there was no connection."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    if issued is not None:
        issued.configure_cert(context)
    try:
        async with aiohttp.ClientSession() as web:
            url = f"https://localhost:{port}/v1/{name}:classify"
            async with web.post(url, data=RED, headers={"content-type": "image/png"}, ssl=context) as response:
                await response.read()
                return response.status
    except (aiohttp.ClientError, OSError):
        return 0


async def test_certificates_say_who_calls_and_are_exchanged_under_load(daemon: Any, published: Models, tmp_path: Path) -> None:
    first, second, clients, others = (trustme.CA() for _ in range(4))
    tls = write_tls(tmp_path, first, clients)
    shop, stranger = clients.issue_cert("web.shop.internal", common_name="web"), others.issue_cert("web.shop.internal")
    unknown = clients.issue_cert("unknown.internal")
    roles = {"*.shop.internal": "classify:colours"}
    async with daemon(api={**tls, "http_listen": "127.0.0.1:0"}, access={"certificates": roles}) as app:
        address = f"localhost:{app.port}"
        stop, answered = asyncio.Event(), 0

        async def ask() -> None:
            """Keeps one connection, which an exchange must not disturb."""
            nonlocal answered
            async with eyas.aio.Client(address, **of(first, shop)) as client:
                while not stop.is_set():
                    await client.classify("colours", RED)
                    answered += 1

        async with asyncio.TaskGroup() as group:
            group.create_task(ask())
            async with eyas.aio.Client(address, **of(first, unknown)) as client:
                with pytest.raises(eyas.PermissionDenied, match=r"^unknown\.internal may not do this: .* and there is no role"):
                    await client.classify("colours", RED)
            async with eyas.aio.Client(address, **of(first, stranger)) as client:
                with pytest.raises(eyas.Unavailable):
                    await client.classify("colours", RED)
            async with eyas.aio.Client(address, tls=True, root_certificates=first.cert_pem.bytes(), retries=False) as client:
                with pytest.raises(eyas.Unavailable):
                    await client.classify("colours", RED)
            https = [(shop, "models/colours", 200), (shop, "models/hats", 403), (unknown, "models/colours", 403)]
            for issued, name, status in https:
                assert await over_https(app.http_port, first, issued, name) == status
            assert await over_https(app.http_port, first, stranger, "models/colours") == 0
            assert await over_https(app.http_port, first, None, "models/colours") == 0

            # Another certificate of another authority, and clients of another one: seen by whoever connects from now on.
            write_tls(tmp_path, second, others)

            async def taken() -> bool:
                async with eyas.aio.Client(address, **of(second, stranger)) as client:
                    try:
                        await client.classify("colours", RED)
                    except eyas.Unavailable:
                        return False
                return True

            await until_told(taken)

            async def taken_by_http() -> bool:
                return await over_https(app.http_port, second, stranger, "models/colours") == 200

            await until_told(taken_by_http)
            assert await over_https(app.http_port, second, shop, "models/colours") == 0
            async with eyas.aio.Client(address, **of(second, shop)) as client:
                with pytest.raises(eyas.Unavailable):
                    await client.classify("colours", RED)
            # Files that do not belong together change nothing.
            (tmp_path / "key.pem").write_bytes(first.issue_cert("localhost").private_key_pem.bytes())

            def refused_files() -> bool:
                assert app._certificates is not None
                assert app._certificates.current  # as a new connection looks at them
                return app.metrics.credential_reloads.labels("tls", "failed").value > 0

            await until(refused_files)
            assert await taken()
            seen = answered
            await until(lambda: answered > seen + 3)
            stop.set()
