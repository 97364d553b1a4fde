"""Looks at answers and pictures for drift; the only part of it that knows time and threads.

Every answer is counted, some dozens at once, as an array of them costs little more than one. Of the pictures those are looked at
that the sampler draws, in a thread: it holds the interpreter for at most some 30 us at a stretch. It has no lower priority, as a
thread that is put off while it holds the interpreter puts off all. A picture whose answer the cache knew is counted, but not looked
at.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import numpy as np
from numpy.typing import NDArray

from eyasd.core.errors import EyasError
from eyasd.core.reference import Signal, pixel_values, shorter_side
from eyasd.core.threads import pool
from eyasd.serving.cache import Said
from eyasd.serving.drift.sampling import Sampler
from eyasd.serving.drift.tally import Tally
from eyasd.serving.engine.loading import LoadedVersion
from eyasd.serving.question import Picture
from eyasd.serving.seen import Seen
from eyasd.serving.traffic.routes import Version
from eyasd.telemetry.metrics import Metrics

# Of one core. A picture of 224 pixels a side takes some 0.15 ms, so there are some 30 a second, far more than any window needs.
_BUDGET: Final = 0.005
# As many answers take 0.17 ms, 1.3 us each (10 labels, an EPYC); of 64 each takes 1.7 us, of 16 it takes 4.
_CHUNK: Final = 128
_DELAY_SECONDS: Final = 0.5
# Two requests of the most pictures, so that the last of a request is looked at as likely as the first; 20 MB of 224 pixels a side.
_MOST_UNDER_WAY: Final = 128

# What `shorter_side` does.
SideOf = Callable[[bytes], int | None]


class Drift:
    """The versions that are watched. Belongs to one event loop."""

    def __init__(
        self,
        metrics: Metrics,
        on_unusual: Callable[[Seen, float], None] = lambda *_: None,
        draw: Callable[[], float] = random.random,
        side_of: SideOf = shorter_side,
    ) -> None:
        """Watches none yet.

        Args:
            metrics: where it is counted.
            on_unusual: told of each picture that was looked at and is not usual, and how unusual it is, see `Reference.unusual`.
            draw: returns a number in 0..1 by chance.
            side_of: `shorter_side`, wherever files are opened.
        """
        self._side_of = side_of
        self._metrics = metrics
        self._on_unusual = on_unusual
        self._sampler = Sampler(_BUDGET, draw)
        self._watched: dict[Version, tuple[Tally, list[Said]]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._under_way: set[asyncio.Future[tuple[dict[Signal, float], float]]] = set()
        self._thread = pool(1, "drift")

    def watch(self, loaded: LoadedVersion) -> None:
        """Watches a version from now on, if it has a reference and is shown by its name."""
        of = (loaded.model, str(loaded.version))
        named = self._metrics.registry.names.bound(("model", "version"), of) == of
        if named and (reference := loaded.manifest.reference):
            tally = Tally(loaded.model, loaded.version, loaded.manifest, reference, self._metrics)
            self._watched[loaded.model, loaded.version] = tally, []

    def leave(self, loaded: LoadedVersion) -> None:
        """Watches a version no more."""
        watched = self._watched.pop((loaded.model, loaded.version), None)
        if watched is not None:
            watched[0].hide()

    def wants(self, loaded: LoadedVersion) -> bool:
        """See `Watcher.wants`."""
        return (loaded.model, loaded.version) in self._watched and self._sampler.wants()

    def see(self, seen: Seen) -> None:
        """See `Watcher.see`."""
        watched = self._watched.get((seen.loaded.model, seen.loaded.version))
        if watched is None:
            return
        tally, said = watched
        said.append(seen.said)
        if len(said) >= _CHUNK:
            tally.answers(said)
            said.clear()
        elif self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_DELAY_SECONDS, self.count)
        if seen.pixels is not None and len(self._under_way) < _MOST_UNDER_WAY and self._sampler.takes():
            self._look(tally, seen, seen.pixels)

    def count(self) -> None:
        """Counts the answers that are not counted yet."""
        self._timer = None
        for tally, said in self._watched.values():
            if said:
                tally.answers(said)
                said.clear()

    async def settle(self) -> None:
        """Waits until every picture that is being looked at is counted."""
        await asyncio.gather(*self._under_way)

    def close(self) -> None:
        """Looks at nothing any more."""
        if self._timer is not None:
            self._timer.cancel()
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _look(self, tally: Tally, seen: Seen, pixels: NDArray[np.uint8]) -> None:
        look = asyncio.get_running_loop().run_in_executor(self._thread, _measured, pixels, seen.picture, self._side_of)
        self._under_way.add(look)

        def counted(done: asyncio.Future[tuple[dict[Signal, float], float]]) -> None:
            self._under_way.discard(done)
            if not done.cancelled():
                values, seconds = done.result()
                self._sampler.spent(seconds)
                tally.picture(values)
                unusual = tally.reference.unusual(values)
                if unusual:
                    self._on_unusual(seen, unusual)

        look.add_done_callback(counted)


def _measured(pixels: NDArray[np.uint8], picture: Picture, side_of: SideOf) -> tuple[dict[Signal, float], float]:
    """Returns the signals of a picture, and how many seconds of a processor that took."""
    start = time.thread_time()
    values = pixel_values(pixels)
    side = None
    if isinstance(picture, bytes):
        with suppress(EyasError):  # no decoder had time
            side = side_of(picture)
    if side is not None:
        values[Signal.SIZE] = float(side)
    return values, time.thread_time() - start
