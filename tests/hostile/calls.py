"""Hostile requests, sent to every method that a server has, and what it answered.

From tests/, with `PYTHONPATH` of the two roots: `python -m hostile.calls CALLS --seed N`, CALLS of each method. What a server has
it says by itself, by reflection, so that a new method is tried at once.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Final

import grpc
import structlog
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.descriptor_pool import Default
from grpc_reflection.v1alpha import reflection_pb2

from builders import picture, write_bundle
from eyas.v1 import classification_service_pb2 as pb
from eyasd.api.errors import CODES
from eyasd.api.inference.messages import POOL
from eyasd.app import App, Role
from eyasd.config import read_settings
from eyasd.registry.models import Models
from eyasd.storage.local import LocalStore
from hostile.messages import Maker

# A server that is well says nothing of these, whatever it is asked: its own mistakes, its disk's, and that it is away.
_FOUND: Final = {grpc.StatusCode.INTERNAL, grpc.StatusCode.DATA_LOSS, grpc.StatusCode.UNAVAILABLE}
FORESEEN: Final = {grpc.StatusCode.OK, *CODES.values()} - _FOUND
_HANG_SECONDS: Final = 60.0
_MOST_SEEDS: Final = 200
_QUOTED: Final = re.compile(r"'.*'|\d+")  # of a sentence: what the request said
_AT_ONCE: Final = 8
_REFLECTION: Final = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
# No hostile request knows it, so that none can take it away.
_KEPT: Final = "kept"
KNOWN: Final = (
    "colours",
    "models/colours",
    "models/colours/versions/1",
    "models/colours/versions/2",
    "models/colours/aliases/production",
    "models/colours/aliases/canary",
    "models/colours/capture",
    "models/colours/captured/1",
    "models/colours/policy",
    "models/colours/traffic",
    "models/colours/versions/1/report",
    "colours@production",
    "production",
    "1",
    "datasets/photos",
    "datasets/photos/versions/1",
    "jobs/nobody",
    "red",
    "images",
    "UINT8",
    "BYTES",
    "probabilities",
    "request-1",
)


@dataclass
class Tally:
    """What was sent and what came of it.

    Attributes:
        calls: of each method, how often each code came.
        found: what should not have been answered, or was not answered in time: the method, how it ended, and what was sent.
    """

    calls: dict[str, Counter[str]] = field(default_factory=dict)
    found: list[tuple[str, str, list[bytes]]] = field(default_factory=list)

    def count(self, path: str, code: grpc.StatusCode | None, told: str, sent: list[bytes]) -> None:
        self.calls.setdefault(path, Counter())["hang" if code is None else code.name] += 1
        if code not in FORESEEN:
            self.found.append((path, f"{code and code.name}: {told}", sent))

    @property
    def total(self) -> int:
        return sum(sum(codes.values()) for codes in self.calls.values())


@asynccontextmanager
async def daemon(folder: Path, **rooms: dict[str, Any]) -> AsyncIterator[App]:
    """A daemon with all its services, which serves `colours` and `kept`; what it trains is played."""
    models = Models(LocalStore(folder / "data" / "models"))
    bundle = write_bundle(folder / "bundle")
    for name, version in (("colours", 1), ("colours", 2), (_KEPT, 1)):
        models.publish(name, bundle, f"job{version}")
        models.aliases.set(name, "production", version, actor="test", reason="")
    tests = Path(__file__).parents[1]
    paths = [str(tests / "fake_program"), str(tests), *filter(None, [os.environ.get("PYTHONPATH")])]
    before, os.environ["PYTHONPATH"] = os.environ.get("PYTHONPATH"), os.pathsep.join(paths)
    api = {"listen": "127.0.0.1:0", "http_listen": "127.0.0.1:0", "lame_duck_seconds": 0, "grace_seconds": 1}
    overrides = {
        "data_dir": folder / "data",
        "api": api | rooms.pop("api", {}),
        "telemetry": {"metrics_listen": "127.0.0.1:0"},
        "serving": {"engines": "thread"},
        **rooms,
    }
    app = App(Role.ALL, read_settings(None, overrides), structlog.get_logger())
    await app.start()
    try:
        yield app
    finally:
        await app.stop()
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before


async def methods(channel: grpc.aio.Channel) -> list[MethodDescriptor]:
    """Returns every method that the server says it has."""
    ask = reflection_pb2.ServerReflectionRequest(list_services="")
    call = channel.stream_stream(
        _REFLECTION,
        request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )(iter([ask]))
    answer = await call.read()
    call.cancel()
    found: list[MethodDescriptor] = []
    for service in answer.list_services_response.service:
        pool = POOL if service.name.startswith("inference.") else Default()
        found += pool.FindServiceByName(service.name).methods
    return found


async def is_well(channel: grpc.aio.Channel) -> bool:
    """Returns whether a good call gets its answer."""
    request = pb.ClassifyRequest(model=f"models/{_KEPT}/aliases/production", images=[pb.Image(content=picture())])
    answer = pb.ClassifyResponse.FromString(
        await channel.unary_unary("/eyas.v1.ClassificationService/Classify")(request.SerializeToString(), timeout=_HANG_SECONDS)
    )
    return [result.classification.predictions[0].label for result in answer.results] == ["red"]


async def attack(port: int, calls: int, seed: int, only: Sequence[str] = ()) -> Tally:
    """Sends `calls` requests to each method, or to those whose paths hold a word of `only`."""
    tally = Tally()
    maker = Maker(Random(seed), KNOWN, (picture(), picture(form="JPEG"), picture()[:50]))
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        # Threads of their own: a daemon in this process needs those of the loop to answer.
        with grpc.insecure_channel(f"127.0.0.1:{port}") as plain, ThreadPoolExecutor(_AT_ONCE) as pool:
            for method in await methods(channel):
                path = f"/{method.containing_service.full_name}/{method.name}"
                if not only or any(word in path for word in only):
                    await _attack(method, path, calls, maker, tally, plain, pool)
                    if not await is_well(channel):
                        tally.found.append((path, "a good call afterwards got another answer", []))
    return tally


async def _attack(
    method: MethodDescriptor, path: str, calls: int, maker: Maker, tally: Tally, channel: grpc.Channel, pool: Executor
) -> None:
    loop = asyncio.get_running_loop()
    seeds: dict[str, list[bytes]] = {}
    for begun in range(0, calls, _AT_ONCE):
        known = list(seeds.values())
        batch = [_requests(maker, method, known) for _ in range(min(_AT_ONCE, calls - begun))]
        ends = await asyncio.gather(*(loop.run_in_executor(pool, _call, channel, method, path, one) for one in batch))
        for (code, told), requests in zip(ends, batch, strict=True):
            tally.count(path, code, told, requests)
            # What is answered as nothing was before has got somewhere, and is worth being varied.
            if len(seeds) < _MOST_SEEDS:
                seeds.setdefault(f"{code} {_QUOTED.sub('', told)}", requests)


def _requests(maker: Maker, method: MethodDescriptor, known: list[list[bytes]]) -> list[bytes]:
    count = 3 if method.client_streaming else 1
    return [maker.request(method.input_type, [one[number] for one in known]) for number in range(count)]


def _call(channel: grpc.Channel, method: MethodDescriptor, path: str, requests: list[bytes]) -> tuple[grpc.StatusCode | None, str]:
    """Makes one call in a thread: of a stream that ends early, grpc.aio tells another code than came.

    Returns:
        How it ended, None if it did not; of a stream that lasts, such as one that watches, its first answer will do.
    """
    try:
        if method.client_streaming:
            list(channel.stream_stream(path)(iter(requests), timeout=_HANG_SECONDS))
        elif method.server_streaming:
            call = channel.unary_stream(path)(requests[0], timeout=_HANG_SECONDS)
            next(call, None)
            call.cancel()
        else:
            channel.unary_unary(path)(requests[0], timeout=_HANG_SECONDS)
    except grpc.RpcError as error:
        ended: Any = error
        code, told = ended.code(), ended.details() or ""
        return (None if told == "Deadline Exceeded" else code), told
    return grpc.StatusCode.OK, ""


async def _main(arguments: argparse.Namespace) -> int:
    structlog.configure(
        processors=[structlog.processors.format_exc_info, structlog.processors.JSONRenderer()],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    with tempfile.TemporaryDirectory() as folder:
        async with daemon(Path(folder)) as app:
            began = time.monotonic()
            tally = await attack(app.port, arguments.calls, arguments.seed, arguments.only)
    for path, codes in tally.calls.items():
        print(path, dict(codes))  # noqa: T201
    for path, how, sent in tally.found[:20]:
        print("FOUND", path, how, [one[:200].hex() for one in sent])  # noqa: T201
    print(f"{tally.total} calls in {time.monotonic() - began:.0f} s, {len(tally.found)} found")  # noqa: T201
    return bool(tally.found)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("calls", type=int, help="of each method")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", action="append", default=[], help="methods whose paths hold this")
    sys.exit(asyncio.run(_main(parser.parse_args())))
