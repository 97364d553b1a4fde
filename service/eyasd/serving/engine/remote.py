"""An acceptor's way to versions that another process has loaded, see `keeper`."""

from __future__ import annotations

import asyncio
import itertools
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from eyasd.core import document
from eyasd.core.errors import BrokenBundle, EyasError, Unavailable
from eyasd.serving.engine.channel import Channel
from eyasd.serving.engine.link import Engine
from eyasd.serving.engine.loading import EngineOptions, LoadedVersion, Source, make_engine, read_version
from eyasd.serving.engine.opening import Ready
from eyasd.serving.statistics import Statistics
from eyasd.telemetry.metrics import Metrics


@dataclass(frozen=True, slots=True)
class _Shared:
    name: str
    engine: Engine
    on_lost: Callable[[EyasError], None]


class RemoteLoader:
    """Loads versions as `Loader` does, in the process at the other end of a channel. Belongs to one event loop."""

    def __init__(self, source: Source, options: EngineOptions, metrics: Metrics) -> None:
        self._source = source
        self._options = options
        self._metrics = metrics
        self._channel: Channel | None = None
        self._tickets = itertools.count()
        self._loading: dict[int, asyncio.Future[Ready]] = {}
        self._shared: dict[int, _Shared] = {}
        self._connecting: set[asyncio.Task[None]] = set()

    def use(self, channel: Channel) -> None:
        """Asks at the other end of the channel from now on."""
        self._channel = channel

    async def load(self, model: str, version: int, on_lost: Callable[[EyasError], None]) -> LoadedVersion:
        """See `Loader.load`."""
        manifest, head = await asyncio.to_thread(read_version, self._source, model, version)
        ticket = next(self._tickets)
        self._loading[ticket] = asyncio.get_running_loop().create_future()
        self._send({"load": ticket, "of": (model, version)})
        try:
            ready = await self._loading[ticket]
        except BaseException:
            self._send({"leave": ticket})
            raise
        finally:
            del self._loading[ticket]
        statistics = Statistics()
        engine = make_engine(model, version, manifest, self._options, self._metrics, statistics)
        self._shared[ticket] = _Shared(f"{model}/{version}", engine, on_lost)
        self._send({"slots": ticket, "shape": document.dump(engine.shape)}, engine.memory)

        async def close() -> None:
            await engine.close()
            del self._shared[ticket]
            self._send({"leave": ticket})

        said = ready.precision, ready.speed, ready.memory_bytes
        return LoadedVersion(model, version, manifest, engine, close, head, *said, statistics, ready.seconds)

    def heed(self, message: Mapping[str, Any], descriptors: list[int]) -> bool:
        """Takes what the keeper says; returns whether it was for the loader."""
        match message:
            case {"loaded": ticket, "ready": ready}:
                if (waiting := self._loading.get(ticket)) is not None and not waiting.done():
                    waiting.set_result(document.load(Ready, ready))
            case {"refused": ticket, "reason": reason, "message": text}:
                if (waiting := self._loading.get(ticket)) is not None and not waiting.done():
                    waiting.set_exception(BrokenBundle(text) if reason == BrokenBundle.__name__ else Unavailable(text))
            case {"engine": ticket}:
                self._connect(ticket, socket.socket(fileno=descriptors[0]))
            case {"lost": ticket, "message": text}:
                if (shared := self._shared.get(ticket)) is not None:
                    shared.engine.fail(f"{shared.name} cannot be served: {text}")
                    shared.on_lost(Unavailable(text))
            case _:
                return False
        return True

    def _connect(self, ticket: int, data: socket.socket) -> None:
        shared = self._shared.get(ticket)
        if shared is None:  # unloaded in the meantime
            data.close()
            return
        task = asyncio.create_task(shared.engine.connect(data))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    def _send(self, message: Mapping[str, object], *descriptors: int) -> None:
        if self._channel is not None:
            self._channel.send(message, descriptors)
