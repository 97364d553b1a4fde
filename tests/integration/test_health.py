"""eyasd.health: the command by which a container asks its daemon, with what it says of each way that this fails."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
import pytest
import trustme
from grpc_health.v1 import health_pb2, health_pb2_grpc

from eyasd import health
from eyasd.app import App, Role

Asked = Callable[..., Awaitable[tuple[int, str]]]


@pytest.fixture
def asked(capsys: pytest.CaptureFixture[str]) -> Asked:
    """Returns the exit status of the command, and all that it says but the address."""

    async def ask(port: int, *options: object, host: str = "127.0.0.1") -> tuple[int, str]:
        capsys.readouterr()  # of the daemon's log
        code = await asyncio.to_thread(health.main, [f"{host}:{port}", *map(str, options)])
        out, err = capsys.readouterr()
        return code, (out + err).replace(f"{host}:{port} is ", "")

    return ask


async def test_a_container_runs_it(app: App) -> None:
    command = [sys.executable, "-m", "eyasd.health", f"127.0.0.1:{app.port}"]
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT)
    said, _ = await process.communicate()
    assert (process.returncode, said.decode()) == (0, f"127.0.0.1:{app.port} is SERVING.\n")


async def test_a_daemon_and_its_models_are_serving_or_not(app: App, asked: Asked) -> None:
    assert await asked(app.port) == (0, "SERVING.\n")
    assert await asked(app.port, "--service", "models/colours") == (0, "models/colours of SERVING.\n")
    nothing = await asked(app.port, "--service", "models/nothing")
    assert nothing == (1, "models/nothing of not known to be SERVING: it has no such service.\n")
    app._server.say_not_serving()
    assert await asked(app.port, "--service", "models/colours") == (1, "models/colours of NOT_SERVING.\n")


async def test_nobody_listens(free_port: int, asked: Asked) -> None:
    assert await asked(free_port) == (1, "not known to be SERVING: nobody listens there.\n")


def test_one_who_says_nothing_is_not_waited_for_for_ever(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(health, "_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        assert health.main([f"127.0.0.1:{silent.getsockname()[1]}"]) == 1
    assert "it did not answer within" in capsys.readouterr().err


async def test_a_certificate_that_has_expired(
    asked: Asked, daemon: Any, authority: trustme.CA, tls_files: dict[str, str], tmp_path: Path
) -> None:
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    old = authority.issue_cert("localhost", not_after=datetime(2024, 1, 1, tzinfo=UTC))
    old.private_key_pem.write_to_path(tls_files["tls_key"])
    old.cert_chain_pems[0].write_to_path(tls_files["tls_certificate"])
    async with daemon(Role.SERVER, api=tls_files) as app:
        code, said = await asked(app.port, "--ca", tmp_path / "ca.pem", "--server-name", "localhost")
    assert (code, said) == (1, "not known to be SERVING: its certificate has expired: renew it.\n")


async def test_tls(asked: Asked, daemon: Any, authority: trustme.CA, tls_files: dict[str, str], tmp_path: Path) -> None:
    ours, another = tmp_path / "ca.pem", tmp_path / "another.pem"
    authority.cert_pem.write_to_path(str(ours))
    trustme.CA().cert_pem.write_to_path(str(another))
    async with daemon(Role.SERVER, api=tls_files) as app:
        assert await asked(app.port, "--ca", ours, host="localhost") == (0, "SERVING.\n")
        assert await asked(app.port, "--ca", ours, "--server-name", "localhost") == (0, "SERVING.\n")
        failing = {
            (): health._ENDED,
            ("--ca", ours): "its certificate is of another name: give one that it has with --server-name.",
            ("--ca", another, "--server-name", "localhost"): "its certificate is not signed by the authority of --ca: ",
            ("--ca", tls_files["tls_key"]): "--ca holds no certificate, or --cert and --key do not belong together: ",
            ("--ca", tmp_path / "none.pem"): f"{tmp_path}/none.pem cannot be read (No such file or directory).",
        }
        for options, why in failing.items():
            code, said = await asked(app.port, *options)
            assert (code, said.count("\n")) == (1, 1)
            assert said.startswith(f"not known to be SERVING: {why}")
    async with daemon(Role.SERVER, api={**tls_files, "tls_client_ca": str(ours)}, access={"certificates": {"*": "admin"}}) as app:
        named = ("--ca", ours, "--server-name", "localhost")
        pair = ("--cert", tls_files["tls_certificate"], "--key", tls_files["tls_key"])
        assert await asked(app.port, *named, *pair) == (0, "SERVING.\n")
        code, said = await asked(app.port, *named)
        assert (code, said) == (1, f"not known to be SERVING: {health._ENDED}\n")
    async with daemon(Role.SERVER) as app:
        assert await asked(app.port, "--ca", ours) == (1, "not known to be SERVING: it speaks no TLS: leave --ca out.\n")


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--server-name", "eyas"], "name the authority to trust with --ca FILE"),
        (["--ca", "ca.pem", "--cert", "cert.pem"], "--cert and --key go together"),
    ],
)
def test_options_that_need_others(options: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        health.main(["127.0.0.1:1", *options])
    assert says in capsys.readouterr().err


async def test_all_that_it_serves_is_listed(channel: grpc.aio.Channel) -> None:
    listed = await health_pb2_grpc.HealthStub(channel).List(health_pb2.HealthListRequest())
    serving = health_pb2.HealthCheckResponse.SERVING
    assert {listed.statuses[name].status for name in ("", "eyas.v1.ClassificationService", "models/colours")} == {serving}
