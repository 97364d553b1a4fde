"""Pools of threads, whose threads are there from the start, and threads that stand in nobody's way."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from eyasd.core.errors import StartupFailed
from eyasd.core.processors import cpu_count

_LOWEST: Final = 19
# As many as asyncio's own pool may have, which makes one whenever none is free.
_MOST_BLOCKING: Final = 32
_MORE_THAN_PROCESSORS: Final = 4


def pool(threads: int, name: str, initializer: Callable[[], None] | None = None) -> ThreadPoolExecutor:
    """Starts a pool with all its threads, for as long as a daemon runs.

    A pool by itself makes a thread when work comes and none is free. So a daemon would meet a limit on processes (`ulimit -u`, a
    container's `pids.max`) in its busiest hour, and fail calls of which each one could have been answered. This one meets it here.

    Args:
        threads: how many.
        name: what theirs begin with.
        initializer: called in each of them first.

    Raises:
        StartupFailed: the system refuses one.
    """
    made = ThreadPoolExecutor(threads, name, initializer)
    everybody = threading.Barrier(threads + 1)
    try:
        for _ in range(threads):
            made.submit(everybody.wait)  # busy until the last is there, so that each has a thread of its own
        everybody.wait()
    except RuntimeError as error:
        everybody.abort()
        made.shutdown(wait=False, cancel_futures=True)
        raise StartupFailed(
            f"The system refuses some of {threads} threads ({name}: {error}): raise `ulimit -u`, or the container's `pids.max`."
        ) from None
    return made


def blocking_pool() -> ThreadPoolExecutor:
    """Starts the pool for what blocks and has none of its own, as a loop's default."""
    return pool(min(_MOST_BLOCKING, cpu_count() + _MORE_THAN_PROCESSORS), "blocking")


def give_way() -> None:
    """Gives the calling thread the lowest priority, which on Linux is a thread's own."""
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _LOWEST)
