"""Hostile requests, sent to every method that a server has, and what it answered.

From tests/, with `PYTHONPATH` of the two roots: `python -m hostile.calls CALLS --seed N`, CALLS of each method. What a server has
it says by itself, by reflection, so that a new method is tried at once. Of each method the first requests are good ones (`seeds`),
from which others are varied.
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
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from threading import Timer
from typing import Any, Final, NamedTuple
from unittest import mock

import grpc
import structlog
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.descriptor_pool import Default
from grpc_reflection.v1alpha import reflection_pb2

from builders import picture
from eyas.v1 import classification_service_pb2 as pb
from eyasd.api.errors import CODES
from eyasd.api.inference.messages import POOL
from eyasd.api.training import REPORT_PROGRESS
from eyasd.app import App, Role
from eyasd.config import read_settings
from eyasd.jobs.permits import Permits, kept_key
from hostile.messages import Maker
from hostile.seeds import KEPT, STREAMED, Planted, seeds

# A server that is well says nothing of these, whatever it is asked: its own mistakes, its disk's, and that it is away.
_FOUND: Final = {grpc.StatusCode.INTERNAL, grpc.StatusCode.DATA_LOSS, grpc.StatusCode.UNAVAILABLE}
FORESEEN: Final = {grpc.StatusCode.OK, *CODES.values()} - _FOUND
_HANG_SECONDS: Final = 60.0
_QUIET_SECONDS: Final = 1.0
_MOST_SEEDS: Final = 200
_QUOTED: Final = re.compile(r"'.*'|\d+")  # of a sentence: what the request said
_AT_ONCE: Final = 8
Well = Callable[[grpc.aio.Channel], Awaitable[bool]]
_REFLECTION: Final = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
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

    @property
    def never_done(self) -> list[str]:
        """The methods that have done nothing that they were asked to."""
        return [path for path, codes in self.calls.items() if not codes["OK"]]


@dataclass(frozen=True)
class Versed:
    """What a caller knows of a daemon.

    Attributes:
        seeds: good requests, by the path of the method.
        names: of what there is.
        token: with which the attempt of a job reports; "" is none.
    """

    seeds: Mapping[str, list[list[bytes]]]
    names: Sequence[str]
    token: str


STRANGER: Final = Versed({}, (), "")


class Besieged(NamedTuple):
    """A daemon, and what its callers know of it."""

    app: App
    versed: Versed


@asynccontextmanager
async def daemon(folder: Path) -> AsyncIterator[Besieged]:
    """A daemon with all its services, which serves `colours`, `tags` and `kept`; what it trains is played."""
    planted = Planted(folder)
    tests = Path(__file__).parents[1]
    paths = [str(tests / "fake_program"), str(tests), *filter(None, [os.environ.get("PYTHONPATH")])]
    played = {"PYTHONPATH": os.pathsep.join(paths), "EYAS_TEST_RUNS": str(folder / "runs"), "EYAS_TEST_GO": str(folder / "go")}
    overrides: dict[str, Any] = {
        "data_dir": folder / "data",
        "api": {
            "listen": "127.0.0.1:0",
            "http_listen": "127.0.0.1:0",
            "connection_age_seconds": 86_400,  # a call that a connection's end cuts is no finding
            "lame_duck_seconds": 0,
            "grace_seconds": 1,
        },
        "telemetry": {"metrics_listen": "127.0.0.1:0"},
        "serving": {"engines": "thread"},
    }
    with mock.patch.dict(os.environ, played):
        app = App(Role.ALL, read_settings(None, overrides), structlog.get_logger())
        await app.start()
        try:
            async with grpc.aio.insecure_channel(f"127.0.0.1:{app.port}") as channel:
                good, jobs = await seeds(planted, channel)
            token = Permits(kept_key(folder / "data" / "report.key")).make(jobs[0].removeprefix("jobs/"), 1)
            yield Besieged(app, Versed(good, (*jobs[1:], *planted.captured, str(planted.photos)), token))
        finally:
            await app.stop()


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
    request = pb.ClassifyRequest(model=f"models/{KEPT}/aliases/production", images=[pb.Image(content=picture())])
    answer = pb.ClassifyResponse.FromString(
        await channel.unary_unary("/eyas.v1.ClassificationService/Classify")(request.SerializeToString(), timeout=_HANG_SECONDS)
    )
    return [result.classification.predictions[0].label for result in answer.results] == ["red"]


async def attack(
    port: int, calls: int, seed: int, only: Sequence[str] = (), well: Well = is_well, versed: Versed = STRANGER
) -> Tally:
    """Sends `calls` requests to each method, or to those whose paths hold a word of `only`; after each method, `well` is asked.

    The good ones of all methods come first: what is varied from one may be in another's way.
    """
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        # Threads of their own: a daemon in this process needs those of the loop to answer.
        with grpc.insecure_channel(f"127.0.0.1:{port}") as plain, ThreadPoolExecutor(_AT_ONCE) as pool:
            known = (*KNOWN, *versed.names)
            attacker = _Attacker(plain, pool, Maker(Random(seed), known, (picture(), picture(form="JPEG"), picture()[:50])), versed)
            paths = {f"/{method.containing_service.full_name}/{method.name}": method for method in await methods(channel)}
            chosen = {path: method for path, method in paths.items() if not only or any(word in path for word in only)}
            for path, method in chosen.items():
                for requests in versed.seeds.get(path, [])[:calls]:
                    await attacker.send(path, method, [requests])
            for path, method in chosen.items():
                while (left := calls - attacker.tally.calls.get(path, Counter()).total()) > 0:
                    await attacker.send(path, method, [attacker.varied(path, method) for _ in range(min(_AT_ONCE, left))])
                if not await well(channel):
                    attacker.tally.found.append((path, "a good call afterwards got another answer", []))
            return attacker.tally


class _Attacker:
    """Sends requests, and remembers those that were answered as none before."""

    def __init__(self, channel: grpc.Channel, pool: Executor, maker: Maker, versed: Versed) -> None:
        self.tally = Tally()
        self._channel, self._pool, self._maker, self._versed = channel, pool, maker, versed
        self._seeds = {path: {f"good {number}": call for number, call in enumerate(good)} for path, good in versed.seeds.items()}

    def varied(self, path: str, method: MethodDescriptor) -> list[bytes]:
        """Returns the requests of a call that nobody sane would make."""
        known = list(self._seeds.get(path, {}).values())
        count = STREAMED if method.client_streaming else 1
        return [self._maker.request(method.input_type, [one[number] for one in known]) for number in range(count)]

    async def send(self, path: str, method: MethodDescriptor, calls: list[list[bytes]]) -> None:
        """Makes calls at the same time."""
        loop, seeds = asyncio.get_running_loop(), self._seeds.setdefault(path, {})
        token = self._versed.token if path == REPORT_PROGRESS else ""
        ends = [loop.run_in_executor(self._pool, _call, self._channel, method, path, call, token) for call in calls]
        for requests, (code, told) in zip(calls, await asyncio.gather(*ends), strict=True):
            self.tally.count(path, code, told, requests)
            # What is answered as nothing was before has got somewhere, and is worth being varied.
            if len(seeds) < _MOST_SEEDS:
                seeds.setdefault(f"{code} {_QUOTED.sub('', told)}", requests)


def _call(
    channel: grpc.Channel, method: MethodDescriptor, path: str, requests: list[bytes], token: str
) -> tuple[grpc.StatusCode | None, str]:
    """Makes one call in a thread: of a stream that ends early, grpc.aio tells another code than came.

    Returns:
        How it ended, None if it did not.
    """
    known: dict[str, Any] = {"timeout": _HANG_SECONDS, "metadata": (("authorization", f"Bearer {token}"),) if token else ()}
    try:
        if method.client_streaming:
            list(channel.stream_stream(path)(iter(requests), **known))
        elif method.server_streaming:
            _watch(channel.unary_stream(path)(requests[0], **known))
        else:
            channel.unary_unary(path)(requests[0], **known)
    except grpc.RpcError as error:
        ended: Any = error
        code, told = ended.code(), ended.details() or ""
        return (None if told == "Deadline Exceeded" else code), told
    return grpc.StatusCode.OK, ""


def _watch(call: Any) -> None:
    """Waits for the first answer of a stream that may last for ever, or until it was heard and there is no news."""
    call.initial_metadata()
    quiet = Timer(_QUIET_SECONDS, call.cancel)
    quiet.start()
    try:
        next(call, None)
    except grpc.RpcError:
        if not call.cancelled():
            raise
    finally:
        quiet.cancel()
        call.cancel()


async def _main(arguments: argparse.Namespace) -> int:
    structlog.configure(
        processors=[structlog.processors.format_exc_info, structlog.processors.JSONRenderer()],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    with tempfile.TemporaryDirectory() as folder:
        async with daemon(Path(folder)) as (app, versed):
            began = time.monotonic()
            tally = await attack(app.port, arguments.calls, arguments.seed, arguments.only, versed=versed)
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
