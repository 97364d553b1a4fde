"""Requests of every method, through all that stands before it: who may, what is no message, and what the audit takes down."""

from __future__ import annotations

import asyncio
import atexit
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from pathlib import Path
from random import Random
from typing import Any, Final, NoReturn

import grpc
import structlog
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.descriptor_pool import Default

from builders import picture, write_bundle
from eyasd.api.door.call import Aborted
from eyasd.api.inference.messages import POOL
from eyasd.api.permissions import RULES
from eyasd.app import App, Role
from eyasd.config import read_settings
from eyasd.registry.models import Models
from eyasd.storage.local import LocalStore
from fuzz.target import Target, sentence
from hostile.calls import FORESEEN, KNOWN
from hostile.messages import Maker

_SEPARATOR: Final = b"\xfe\xfe\xfe"
_MOST_CALLS: Final = 2_000
_MOST_ANSWERS: Final = 3
_SECONDS: Final = 20
# These have another form, or are not of Eyas; all the rest is asked.
_LEFT_OUT: Final = ("Watch", "Health", "Reflection")


class _Here(ThreadPoolExecutor):
    """Does at once what is given to it, so that an input does the same each time and waits for nobody."""

    def submit(self, call: Any, /, *arguments: Any, **named: Any) -> Future[Any]:
        done: Future[Any] = Future()
        try:
            done.set_result(call(*arguments, **named))
        except BaseException as error:  # noqa: BLE001 - it is whoever waits for it who is told
            done.set_exception(error)
        return done


def _hear(_: Any, __: str, event: dict[str, Any]) -> NoReturn:
    """Is a log that nobody reads, in which an error that nobody foresaw has been found."""
    if isinstance(error := event.get("exc_info"), BaseException):
        raise AssertionError(event["event"]) from error
    raise structlog.DropEvent


class _Context:
    """What a handler sees of a call."""

    def __init__(self) -> None:
        self.answers = 0
        self.was_let_in = False

    def invocation_metadata(self) -> tuple[tuple[str, str], ...]:
        return (("eyas-caller", "ann"),)

    def peer(self) -> str:
        return "ipv4:127.0.0.1:50000"

    def certificate_names(self) -> None:
        return None

    def time_remaining(self) -> float:
        return _SECONDS

    def set_trailing_metadata(self, _: Any) -> None:
        return None

    async def send_initial_metadata(self, _: Any) -> None:
        return None

    async def write(self, _: Any) -> None:
        self.answers += 1

    async def abort(self, code: grpc.StatusCode, details: str = "", trailing: Any = ()) -> NoReturn:
        raise Aborted(code, details, trailing)


class _House:
    """A daemon with all its services, which nobody connects to and which runs no job."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="eyas-fuzz-"))
        models = Models(LocalStore(self.folder / "data" / "models"))
        bundle = write_bundle(self.folder / "bundle")
        for version in (1, 2):
            models.publish("colours", bundle, f"job{version}")
        models.aliases.set("colours", "production", 1, actor="test", reason="")
        overrides = {
            "data_dir": self.folder / "data",
            "api": {"listen": "127.0.0.1:0", "lame_duck_seconds": 0, "grace_seconds": 0},
            "telemetry": {"metrics_listen": "127.0.0.1:0"},
            "serving": {"engines": "thread"},
            "training": {"data_roots": [str(self.folder)]},
        }
        self.loop = asyncio.new_event_loop()
        self.loop.set_default_executor(_Here())
        self.calls = 0

        structlog.configure(processors=[_hear])

        async def made() -> App:
            return App(Role.ALL, read_settings(None, overrides), structlog.get_logger())

        self.app = self.loop.run_until_complete(made())
        door = self.app._server._server
        self.handlers = {path: door._find(path) for path in _methods()}

    def call(self, path: str, requests: list[bytes]) -> None:
        """Raises what no call should."""
        self.calls += 1
        self.loop.run_until_complete(asyncio.wait_for(self._call(self.handlers[path], requests), _SECONDS))

    async def _call(self, handler: Any, requests: list[bytes]) -> None:
        context = _Context()

        async def asked() -> AsyncIterator[bytes]:
            for request in requests:
                yield request

        sent: Any = asked() if handler.request_streaming else requests[0]
        try:
            if handler.stream_stream is not None and asyncio.iscoroutinefunction(handler.stream_stream):
                await handler.stream_stream(sent, context)
            elif handler.response_streaming:
                answers = (handler.stream_stream or handler.unary_stream)(sent, context)
                async for answer in answers:
                    handler.response_serializer(answer)
                    context.answers += 1
                    if context.answers == _MOST_ANSWERS:
                        await answers.aclose()
                        return
            else:
                handler.response_serializer(await (handler.stream_unary or handler.unary_unary)(sent, context))
        except Aborted as aborted:
            if aborted.code not in FORESEEN:
                raise AssertionError(aborted) from aborted
            sentence(aborted.details[:1_000].strip())

    def close(self) -> None:
        self.loop.run_until_complete(self.app.stop())
        self.loop.close()
        structlog.reset_defaults()
        shutil.rmtree(self.folder, ignore_errors=True)


@cache
def _methods() -> dict[str, MethodDescriptor]:
    """Returns every method that is asked, by its path."""
    found = {}
    for path in sorted(RULES):
        service, _, name = path.removeprefix("/").partition("/")
        if not any(word in path for word in _LEFT_OUT):
            pool = POOL if service.startswith("inference.") else Default()
            found[path] = pool.FindServiceByName(service).methods_by_name[name]
    return found


_houses: Final[list[_House]] = []


def _open() -> _House:
    """Returns the daemon; after many calls, which leave something behind, another one."""
    if _houses and _houses[0].calls >= _MOST_CALLS:
        close()
    if not _houses:
        _houses.append(_House())
        atexit.register(shutil.rmtree, _houses[0].folder, ignore_errors=True)
    return _houses[0]


def close() -> None:
    """Ends the daemon, if there is one."""
    while _houses:
        _houses.pop().close()


def check_call(data: bytes) -> None:
    """A call is answered, or ends with a code that was foreseen, and a sentence; nothing else is ever raised."""
    paths = list(_methods())
    path = paths[data[0] % len(paths)] if data else paths[0]
    requests = data[1:].split(_SEPARATOR)[:4] or [b""]
    _open().call(path, requests)


def _vary(data: bytes, random: Random) -> bytes:
    paths = list(_methods())
    number = data[0] % len(paths) if data else 0
    if random.random() < 0.05:
        number, data = random.randrange(len(paths)), b""
    maker = Maker(random, KNOWN, (picture(), picture(form="JPEG"), b"x" * 50))
    requests = data[1:].split(_SEPARATOR)[:4]
    at = random.randrange(len(requests))
    requests[at] = maker.request(_methods()[paths[number]].input_type, [requests[at]])
    return bytes([number]) + _SEPARATOR.join(requests)


def _seeds() -> Iterator[bytes]:
    maker = Maker(Random(0), KNOWN, (picture(), b"x"))
    for number, method in enumerate(_methods().values()):
        for _ in range(6):
            one = maker.message(method.input_type).SerializeToString()
            if len(one) < 2_000:
                yield bytes([number]) + one


_WORDS: Final = tuple(known.encode() for known in KNOWN)
TARGETS: Final = (Target("requests", check_call, _seeds, _WORDS, _vary, 4_096, megabytes=900),)
