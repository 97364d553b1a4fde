"""`eyasd server` with several acceptors: processes that share the port, before engines that they share.

    acceptor 0 .. N-1   each a server of its own: door, decoders, admission, fleet; follows the registry by itself
    this process        their port, the engines of every version, one page of metrics, which answers were judged; starts again
                        what ends

The kernel shares out connections (SO_REUSEPORT). Every acceptor routes by the same registry, so what one of them knows and the
others do not is only what it has counted.
"""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from collections.abc import Mapping
from typing import Any, Final

import structlog
from prometheus_client import CollectorRegistry

from eyasd.config import Settings, revealed
from eyasd.core.errors import StartupFailed
from eyasd.machine import feedback_keys, fleet_options, open_repository, source_of, watch_machine
from eyasd.registry.models import Models
from eyasd.serving.engine import wire
from eyasd.serving.engine.channel import Channel
from eyasd.serving.engine.keeper import Keeper, Tenant
from eyasd.serving.engine.loading import Loader
from eyasd.serving.feedback.memory import OwnMemory
from eyasd.telemetry.merged import Departed, Family, Merged, families, load, merge
from eyasd.telemetry.metrics import Metrics
from eyasd.telemetry.page import serve_metrics

# Before an acceptor that ended is started again; the last for good, as a machine that is short of memory now may not be later.
_PAUSES_SECONDS: Final = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0)
_ANSWER_SECONDS: Final = 2.0  # for an acceptor's metrics; a scraper waits 10 by default
_END_SECONDS: Final = 5.0


class Supervisor:
    """A daemon of several acceptors. Made, started and stopped in one event loop, as `App` is."""

    def __init__(self, settings: Settings, log: structlog.typing.FilteringBoundLogger) -> None:
        """Takes the ports.

        Raises:
            StartupFailed: says what is in the way.
        """
        self._settings = settings
        self._log = log
        self._metrics = Metrics()
        options = fleet_options(settings)
        watch_machine(self._metrics, settings)
        repository = open_repository(settings, self._metrics)
        source = source_of(settings, Models(repository), self._metrics, log)
        # Any acceptor takes the ids of any other, also where the repository keeps no key.
        self._feedback_keys = ",".join(feedback_keys(settings, repository, log))
        self._reported = OwnMemory()
        self._keeper = Keeper(Loader(source, options.engine, self._metrics, log))
        self._acceptors: dict[int, _Acceptor] = {}
        self._keeping: list[asyncio.Task[None]] = []
        self._departed = Departed()
        self._loop = asyncio.get_running_loop()
        api = settings.api
        taken = _take(api.listen, "--listen")
        web = _take(api.http_listen, "api.http_listen") if api.http_listen else None
        self._ports = [taken, web] if web else [taken]
        self.port = int(taken.getsockname()[1])
        self.http_port = int(web.getsockname()[1]) if web else None
        page = CollectorRegistry()
        page.register(Merged(self._ask))
        self.metrics_port, self._close_metrics = serve_metrics(settings.telemetry.metrics_listen, page)

    async def start(self) -> None:
        """Starts the acceptors, and returns when each of them says SERVING.

        Raises:
            StartupFailed: one of them could not start.
        """
        for number in range(self._settings.serving.acceptors):
            self._acceptors[number] = self._new(number)
        for acceptor in self._acceptors.values():
            await asyncio.shield(acceptor.ready)  # a start that is broken off leaves it to whoever sees the acceptor out
        self._keeping = [asyncio.create_task(self._keep(number)) for number in self._acceptors]
        address, acceptors = self._settings.api.listen, len(self._acceptors)
        self._log.info("serving", address=address, port=self.port, metrics_port=self.metrics_port, acceptors=acceptors)

    async def stop(self) -> None:
        """Drains the acceptors, each as `App.stop` does, and then ends the engines."""
        for keeping in self._keeping:
            keeping.cancel()
        await asyncio.gather(*self._keeping, return_exceptions=True)
        api = self._settings.api
        limit = api.lame_duck_seconds + api.grace_seconds + _END_SECONDS
        await asyncio.gather(*(acceptor.end(limit) for acceptor in self._acceptors.values()))
        await self._keeper.close()
        await asyncio.to_thread(self._close_metrics)
        for taken in self._ports:
            taken.close()

    def _new(self, number: int) -> _Acceptor:
        api = self._settings.api
        revealed_settings = revealed(self._settings)
        revealed_settings["serving"]["feedback_key"] = self._feedback_keys
        task = {
            "settings": revealed_settings,
            "address": _with_port(api.listen, self.port),
            "http_address": _with_port(api.http_listen, self.http_port) if api.http_listen and self.http_port else None,
            "number": number,
            "of": self._settings.serving.acceptors,
        }
        return _Acceptor(task, self._keeper, self._reported)

    async def _keep(self, number: int) -> None:
        """Starts an acceptor again whenever it ends."""
        in_a_row = 0
        while True:
            acceptor = self._acceptors[number]
            status = await acceptor.wait()
            self._departed.add(acceptor.families)
            acceptor.families = []
            in_a_row = 0 if acceptor.ready.exception() is None else in_a_row + 1
            self._log.error("an acceptor ended, and is started again", acceptor=number, status=status)
            while self._acceptors[number] is acceptor:
                await asyncio.sleep(_PAUSES_SECONDS[min(in_a_row, len(_PAUSES_SECONDS) - 1)])
                try:
                    self._acceptors[number] = self._new(number)
                except OSError as error:  # the machine has no memory, or no room for another process
                    self._log.error("an acceptor could not be started", acceptor=number, error=str(error))
                    in_a_row += 1

    def _ask(self) -> list[Family]:
        """Returns the metrics of all; called in the thread that answers Prometheus."""
        own = families(self._metrics.registry)  # which may take a moment, of a disk that hangs
        return asyncio.run_coroutine_threadsafe(self._gather(own), self._loop).result()

    async def _gather(self, own: list[Family]) -> list[Family]:
        await asyncio.gather(*(acceptor.measure() for acceptor in self._acceptors.values()))
        living = [acceptor.families for acceptor in self._acceptors.values()]
        return merge([own, self._departed.families(living), *living])


class _Acceptor:
    """An acceptor's process.

    Attributes:
        ready: done when it says SERVING; StartupFailed where it could not start.
        families: its metrics, as it last told them.
    """

    def __init__(self, task: Mapping[str, object], keeper: Keeper, reported: OwnMemory) -> None:
        control, theirs = wire.control_pair()
        try:
            with theirs:
                self._child = subprocess.Popen(  # noqa: S603 - our own program
                    [sys.executable, "-m", "eyasd.acceptor", str(theirs.fileno())],
                    stdin=subprocess.DEVNULL,
                    pass_fds=(theirs.fileno(),),
                    process_group=0,  # Ctrl-C at the terminal reaches the daemon, which then decides
                )
        except OSError:
            control.close()
            raise
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.families: list[Family] = []
        self._gone = asyncio.Event()
        self._told = asyncio.Event()
        self._channel = Channel(control, self._heed, self._leave)
        self._tenant = Tenant(keeper, self._channel)
        self._reported = reported
        self._channel.send(task)

    async def wait(self) -> int:
        """Returns its exit status when it has ended."""
        await self._gone.wait()
        try:
            return await asyncio.to_thread(self._child.wait, _END_SECONDS)
        except subprocess.TimeoutExpired:
            self._child.kill()
            return await asyncio.to_thread(self._child.wait)

    async def end(self, limit_seconds: float) -> None:
        """Lets it answer what it has, and ends it; within the limit, whatever it does."""
        self._channel.send({"end": True})
        try:
            await asyncio.wait_for(self._gone.wait(), limit_seconds)
        except TimeoutError:
            self._child.kill()
        await self.wait()

    async def measure(self) -> None:
        """Asks for its metrics; what it told before stays, if it does not answer."""
        self._told.clear()
        if self._channel.send({"measure": True}):
            try:
                await asyncio.wait_for(self._told.wait(), _ANSWER_SECONDS)
            except TimeoutError:
                return

    def _heed(self, message: Mapping[str, Any], descriptors: list[int]) -> None:
        match message:
            case {"ready": _} if not self.ready.done():
                self.ready.set_result(None)
            case {"failed": text} if not self.ready.done():
                self.ready.set_exception(StartupFailed(text))
            case {"measured": _}:
                self.families = load(wire.content(descriptors[0]))
                self._told.set()
            case _ if not self._reported.answer(message, self._channel):
                self._tenant.heed(message, descriptors)

    def _leave(self) -> None:
        self._tenant.gone()
        if not self.ready.done():
            self.ready.set_exception(StartupFailed("An acceptor ended while it started: the log has its last words."))
        self.ready.exception()  # nobody need have waited for it
        self._told.set()
        self._gone.set()


def _with_port(address: str, port: int) -> str:
    return f"{address.rpartition(':')[0]}:{port}"


def _take(address: str, setting: str) -> socket.socket:
    """Returns a socket that keeps the port for acceptors, who listen on it; it hears nothing itself.

    Args:
        address: HOST:PORT.
        setting: where it is from.

    Raises:
        StartupFailed: somebody else listens there, if only on sockets that let others in.
    """
    host, _, port = address.rpartition(":")
    try:
        family, kind, protocol, _, place = socket.getaddrinfo(host.strip("[]"), int(port), type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(place)
            found = probe.getsockname()
        kept = socket.socket(family, kind, protocol)
        kept.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        kept.bind(found)
    except OSError as error:
        raise StartupFailed(
            f"The address {address} cannot be listened on ({error.strerror}): stop what uses it, or choose another {setting}."
        ) from error
    return kept
