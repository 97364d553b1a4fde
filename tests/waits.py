"""Waits for what other tasks, threads and processes bring about, as long as that takes on a machine that has much else to do."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")
_MOST_SECONDS = 150.0
_PAUSE_SECONDS = 0.005  # in a loop, some of what is waited for lasts no longer than 20 ms
_LONG_PAUSE_SECONDS = 0.05  # other processes come further while they are not asked


async def until(holds: Callable[[], T]) -> T:
    """Lets other tasks go on until something is true, and returns it."""
    async with asyncio.timeout(_MOST_SECONDS):
        while not (found := holds()):
            await asyncio.sleep(_PAUSE_SECONDS)
        return found


async def until_told(holds: Callable[[], Awaitable[T]]) -> T:
    """Asks until what is told is true, and returns it."""
    async with asyncio.timeout(_MOST_SECONDS):
        while not (found := await holds()):
            await asyncio.sleep(_PAUSE_SECONDS)
        return found


def wait_until(holds: Callable[[], T]) -> T:
    """Waits in this thread until something is true, and returns it."""
    end = time.monotonic() + _MOST_SECONDS
    while not (found := holds()):
        assert time.monotonic() < end
        time.sleep(_LONG_PAUSE_SECONDS)
    return found
