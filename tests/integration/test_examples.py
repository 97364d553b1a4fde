"""What stands in examples/, run as its reader would: against real servers, with a token and TLS, over a name that leads to two."""

from __future__ import annotations

import ast
import asyncio
import base64
import json
import os
import re
import runpy
import shutil
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest
import trustme
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from google.protobuf.descriptor_pb2 import FileDescriptorProto

import eyas
import ports
from builders import COLOURS, noise, picture, write_bundle
from discovery import NameServer
from eyas.v1 import classification_service_pb2
from eyasd.api.asking import ask
from eyasd.app import App
from eyasd.core.errors import Overloaded
from eyasd.registry.models import Models

from .conftest import Daemon

EXAMPLES = Path(__file__).parents[2] / "examples"
BIN = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
GO, NPM = shutil.which("go", path=BIN), shutil.which("npm")
NAME, TOKEN = "eyas-server-headless", "falcon"


@dataclass(frozen=True)
class Servers:
    """Two servers of one name.

    Attributes:
        address: that leads to both.
        apps: which they are.
        environment: of a program that calls them.
        ca: PEM file of their authority.
    """

    address: str
    apps: tuple[App, App]
    environment: dict[str, str]
    ca: Path

    def answered(self) -> list[float]:
        """Returns how many pictures each server has labelled."""
        return [
            sum(
                sample.value
                for metric in app._metrics.registry.collect()
                for sample in metric.samples
                if sample.name == "eyas_requests_total" and sample.labels["code"] == "OK"
            )
            for app in self.apps
        ]


class Full:
    """Stands before the servers: refuses the first picture that comes, and says when there is room again.

    Attributes:
        asked: when each picture came, in seconds.
    """

    RETRY_AFTER: Final = timedelta(seconds=0.5)

    def __init__(self) -> None:
        self.asked: list[float] = []

    async def __call__(self, *asked: Any) -> Any:
        self.asked.append(time.monotonic())
        if len(self.asked) == 1:
            raise Overloaded("There is no room.", self.RETRY_AFTER)
        return await ask(*asked)


@pytest.fixture
def clothing(repository: Models, tmp_path: Path) -> None:
    repository.publish("clothing", write_bundle(tmp_path / "bundle"), "job1")
    repository.aliases.set("clothing", "production", 1, actor="test", reason="")


@pytest.fixture
def pictures(tmp_path: Path) -> dict[str, bytes]:
    """Files of three colours, several of each, and one that is no picture."""
    files = {f"{number}-{name}.png": picture(colour) for number in range(4) for name, colour in COLOURS.items()}
    files["broken.png"] = b"no picture"
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    return files


@pytest.fixture
async def servers(daemon: Daemon, clothing: None, authority: trustme.CA, tmp_path: Path) -> AsyncIterator[Servers]:
    port, ca = ports.free_port(), tmp_path / "ca.pem"
    issued = authority.issue_cert(NAME, "localhost")
    authority.cert_pem.write_to_path(str(ca))
    issued.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    issued.cert_chain_pems[0].write_to_path(str(tmp_path / "chain.pem"))
    tls = {"tls_key": str(tmp_path / "key.pem"), "tls_certificate": str(tmp_path / "chain.pem")}
    hosts = ["127.0.0.1", "127.0.0.2"]
    async with AsyncExitStack() as stack:
        apps = [
            await stack.enter_async_context(daemon("server", api={"listen": f"{host}:{port}", "token": TOKEN, **tls}))
            for host in hosts
        ]
        names = await stack.enter_async_context(NameServer())
        names.addresses, address = hosts, names.target(port)
        environment = {**os.environ, "EYAS_ADDRESS": address, "EYAS_TOKEN": TOKEN, "EYAS_CA": str(ca), "EYAS_MODEL": "clothing"}
        yield Servers(address, (apps[0], apps[1]), environment, ca)


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> Full:
    made = Full()
    monkeypatch.setattr("eyasd.api.classify.ask", made)
    return made


async def run(*command: str | Path, status: int = 0, **options: Any) -> str:
    """Returns what a command prints, once it has ended with the status."""
    process = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)
    out, err = await process.communicate()
    assert process.returncode == status, f"{command[0]} ended with {process.returncode}: {out.decode()}{err.decode()}"
    return out.decode()


async def labelled_by(command: list[str | Path], servers: Servers, pictures: dict[str, bytes], folder: Path) -> None:
    """Holds that a client names every picture's label, says what is wrong with the one that is none, and asks both servers."""
    while not all(servers.answered()):  # a run may be over before it has reached the second
        out = await run(*command, "--ca", servers.ca, "clothing", *pictures, status=1, env=servers.environment, cwd=folder)
        lines = dict(line.split("\t", 1) for line in out.splitlines())
        assert lines.keys() == pictures.keys()
        broken = lines.pop("broken.png")
        assert "INVALID_ARGUMENT" in broken or "InvalidArgument" in broken
        assert "not a picture" in broken
        assert {name: line.split("\t")[0] for name, line in lines.items()} == {name: name[2:-4] for name in lines}


async def refused_in_a_sentence(command: list[str | Path], servers: Servers, folder: Path) -> None:
    """Holds that a client keeps its token to itself where nothing would hide it."""
    environment = servers.environment | {"EYAS_ADDRESS": f"dns:///{NAME}:50051"}
    process = await asyncio.create_subprocess_exec(
        *command, "clothing", "0-red.png", stderr=subprocess.PIPE, env=environment, cwd=folder
    )
    _, err = await process.communicate()
    assert process.returncode != 0
    assert len(err.decode().splitlines()) == 1
    assert "transport level security" in err.decode() or "in the clear" in err.decode()


@pytest.fixture(scope="session")
def go_client(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if GO is None:
        pytest.skip("There is no Go.")
    offline = {**os.environ, "GOPROXY": "off", "GOTOOLCHAIN": "local"}
    listed = subprocess.run(
        [GO, "list", "-deps", "."], cwd=EXAMPLES / "go", env=offline, capture_output=True, check=False, text=True
    )
    if listed.returncode:
        pytest.skip(f"Go lacks the modules: run `go mod download` in examples/go ({listed.stderr.strip().splitlines()[-1]}).")
    program = tmp_path_factory.mktemp("go") / "classify"
    subprocess.run([GO, "build", "-o", program, "."], cwd=EXAMPLES / "go", env=offline, check=True)
    return program


@pytest.fixture(scope="session")
def node_client(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if NPM is None:
        pytest.skip("There is no npm.")
    folder = tmp_path_factory.mktemp("node") / "node"
    shutil.copytree(EXAMPLES / "node", folder, ignore=shutil.ignore_patterns("node_modules", "dist"))
    fetched = subprocess.run(
        [NPM, "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=folder, capture_output=True, check=False, text=True
    )
    if away := re.search(r"\b(ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT)\b", fetched.stderr):
        pytest.skip(f"npm cannot fetch the packages ({away[1]}).")
    assert fetched.returncode == 0, fetched.stderr
    compiled = subprocess.run([folder / "node_modules/.bin/tsc"], cwd=folder, capture_output=True, check=False, text=True)
    assert compiled.returncode == 0, compiled.stdout  # what tsc says of the types
    return folder / "dist/main.js"


async def test_the_go_client(go_client: Path, servers: Servers, full: Full, pictures: dict[str, bytes], tmp_path: Path) -> None:
    await labelled_by([go_client], servers, pictures, tmp_path)
    assert full.asked[-1] - full.asked[0] >= full.RETRY_AFTER.total_seconds()
    await refused_in_a_sentence([go_client], servers, tmp_path)


async def test_the_node_client(node_client: Path, servers: Servers, full: Full, pictures: dict[str, bytes], tmp_path: Path) -> None:
    servers.environment["GRPC_NODE_USE_ALTERNATIVE_RESOLVER"] = "true"  # which asks the name server of the address
    await labelled_by(["node", node_client], servers, pictures, tmp_path)
    assert full.asked[-1] - full.asked[0] >= full.RETRY_AFTER.total_seconds()
    await refused_in_a_sentence(["node", node_client], servers, tmp_path)


async def test_the_service_labels_uploads_and_answers_what_it_has_begun(
    servers: Servers, pictures: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    port, held, release = ports.free_port(), asyncio.Event(), asyncio.Event()
    process = await asyncio.create_subprocess_exec(
        sys.executable, EXAMPLES / "upload_service.py", env=servers.environment | {"PORT": str(port)}
    )

    async def hold(*asked: Any) -> Any:
        held.set()
        await release.wait()
        return await ask(*asked)

    async def listens() -> bool:
        assert process.returncode is None
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except ConnectionError:
            return False
        writer.close()
        return True

    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as session:

        async def labels() -> None:
            form = aiohttp.FormData()
            for name, content in pictures.items():
                form.add_field("photo", content, filename=name)
            async with session.post("/labels", data=form) as response:
                assert response.status == 200
                told = {row.pop("file"): row for row in await response.json()}
            assert "not a picture" in told.pop("broken.png")["error"]
            assert {name: row["label"] for name, row in told.items()} == {name: name[2:-4] for name in told}

        try:
            while not await listens():
                await asyncio.sleep(0.05)
            async with session.post("/labels", data=b"") as response:
                assert response.status == 400
                assert "send a form of files" in await response.text()
            while not all(servers.answered()):
                await labels()
            monkeypatch.setattr("eyasd.api.classify.ask", hold)
            last = asyncio.create_task(labels())
            await held.wait()
            process.terminate()
            while await listens():
                await asyncio.sleep(0.05)
            release.set()
            await last
            assert await process.wait() == 0
        finally:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()


@pytest.mark.parametrize(
    ("error", "status", "retry_after"),
    [
        (eyas.Overloaded("full"), 503, "1"),
        (eyas.Unavailable("away"), 503, "1"),
        (eyas.DeadlineExceeded("late"), 504, None),
        (eyas.Unauthenticated("no token"), 502, None),
    ],
)
async def test_the_service_says_whether_to_come_back(error: eyas.EyasError, status: int, retry_after: str | None) -> None:
    async def fail(_: web.Request) -> web.Response:
        raise error

    statuses = runpy.run_path(str(EXAMPLES / "upload_service.py"))["statuses"]
    response = await statuses(make_mocked_request("POST", "/labels"), fail)
    assert (response.status, response.headers.get("Retry-After")) == (status, retry_after)
    assert error.message not in response.text


async def test_the_lines_for_grpcurl(daemon: Daemon, servers: Servers, tmp_path: Path) -> None:
    (tmp_path / "shirt.jpg").write_bytes(noise(1, (800, 600), "JPEG"))  # more than an argument may have
    plain, secret = re.findall(r"```sh\n(.*?)```", (EXAMPLES / "README.md").read_text(), re.DOTALL)
    port = servers.address.rpartition(":")[2]
    async with daemon("server") as app:
        lines = plain.replace(":50051", f":{app.port}")
        out = await run("bash", "-euo", "pipefail", "-c", lines, cwd=tmp_path, env={**os.environ, "PATH": BIN})
    listed, described, health, answer = re.split(r"(?=^eyas\.v1\.ClassifyRequest is|^\{)", out, flags=re.MULTILINE)
    assert "eyas.v1.ClassificationService" in listed.splitlines()
    assert "repeated .eyas.v1.Image images = 2;" in described
    assert json.loads(health) == {"status": "SERVING"}
    (result,) = json.loads(answer)["results"]
    assert {row["label"] for row in result["classification"]["predictions"]} == set(COLOURS)
    lines = secret.replace(":50051", f":{port}")
    out = await run("bash", "-euo", "pipefail", "-c", lines, cwd=tmp_path, env=servers.environment | {"PATH": BIN})
    assert out.splitlines() == ["eyas.v1.ClassificationService.Classify", "eyas.v1.ClassificationService.ClassifyStream"]


@pytest.mark.parametrize("language", ["go", "node"])
def test_the_generated_code_is_of_this_contract(language: str) -> None:
    if language == "go":
        (written,) = re.findall(
            r'_rawDesc = "" \+\n((?:\t".*"(?: \+)?\n)+)', (EXAMPLES / "go/eyasv1/classification_service.pb.go").read_text()
        )
        generated = b"".join(ast.literal_eval("b" + line.strip("\t\n +")) for line in written.splitlines())
    else:
        (written,) = re.findall(
            r'fileDesc\("([^"]+)"', (EXAMPLES / "node/src/gen/eyas/v1/classification_service_pb.ts").read_text()
        )
        generated = base64.b64decode(written + "==")
    contract = classification_service_pb2.DESCRIPTOR.serialized_pb
    assert bare(generated) == bare(contract), "It is old: run `make clients`."


def bare(serialized: bytes) -> FileDescriptorProto:
    """Returns a file's descriptor without what one generator writes there, and another elsewhere or nowhere."""
    file = FileDescriptorProto.FromString(serialized)
    file.ClearField("dependency")
    for message in file.message_type:
        for field in message.field:
            field.ClearField("json_name")
    return file
