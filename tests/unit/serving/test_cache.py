"""The same picture is run once, what fails is not kept, and memory is bounded."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import numpy as np
import pytest

from eyasd.core.errors import DeadlineExceeded
from eyasd.serving.cache import Cache, Said, digest

LATER = float("inf")


def said(value: float, labels: int = 3) -> Said:
    return Said(np.full(labels, value, np.float32), value)


class Network:
    """Says what it is told to, once it is let go."""

    def __init__(self, *outcomes: Said | Exception) -> None:
        self.outcomes, self.runs, self.go = list(outcomes), 0, asyncio.Event()

    async def __call__(self) -> Said:
        outcome = self.outcomes[self.runs]
        self.runs += 1
        await self.go.wait()
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


def at_once(value: Said) -> Callable[[], Awaitable[Said]]:
    async def compute() -> Said:
        return value

    return compute


async def test_what_is_known_is_not_computed() -> None:
    cache = Cache(10_000)
    _, computed = await cache.fetch("a", LATER, at_once(said(0.5)))
    assert computed
    found, computed = await cache.fetch("a", LATER, at_once(said(0.9)))
    assert (found.ood_score, list(found.probabilities), computed) == (0.5, [0.5] * 3, False)
    assert cache.get("b") is None


async def test_an_answer_does_not_keep_its_batch() -> None:
    cache, batch = Cache(10_000), np.zeros((64, 3), np.float32)
    await cache.fetch("a", LATER, at_once(Said(batch[1], None)))
    found = cache.get("a")
    assert found is not None
    assert found.probabilities.base is None


async def test_of_several_at_once_one_computes() -> None:
    cache, network = Cache(10_000), Network(said(0.5))
    callers = [asyncio.create_task(cache.fetch("a", LATER, network)) for _ in range(5)]
    await asyncio.sleep(0)
    network.go.set()
    answers = await asyncio.gather(*callers)
    assert network.runs == 1
    assert [computed for _, computed in answers] == [True, False, False, False, False]


async def test_where_the_first_fails_or_leaves_the_others_compute_for_themselves() -> None:
    cache, network = Cache(10_000), Network(DeadlineExceeded("its own"), said(0.5), said(0.6))
    callers = [asyncio.create_task(cache.fetch("a", LATER, network)) for _ in range(3)]
    await asyncio.sleep(0)
    network.go.set()
    failed, *answers = await asyncio.gather(*callers, return_exceptions=True)
    assert isinstance(failed, DeadlineExceeded)
    assert [answer[0].ood_score for answer in answers if not isinstance(answer, BaseException)] == [0.5, 0.5]

    network = Network(said(0.7), said(0.8))
    leaving, staying = (asyncio.create_task(cache.fetch("b", LATER, network)) for _ in range(2))
    await asyncio.sleep(0)
    leaving.cancel()
    network.go.set()
    assert (await staying)[0].ood_score == 0.8


async def test_nobody_waits_for_others_past_the_deadline() -> None:
    cache, network = Cache(10_000), Network(said(0.5))
    first = asyncio.create_task(cache.fetch("a", LATER, network))
    await asyncio.sleep(0)

    async def late() -> Said:
        raise DeadlineExceeded("my own")

    with pytest.raises(DeadlineExceeded, match="my own"):
        await cache.fetch("a", time.monotonic(), late)
    network.go.set()
    await first


async def test_the_least_recently_used_goes_first() -> None:
    cache = Cache(2 * (700 + 12))
    for key in ("a", "b"):
        await cache.fetch(key, LATER, at_once(said(0.5)))
    cache.get("a")
    await cache.fetch("c", LATER, at_once(said(0.5)))
    assert [cache.get(key) is not None for key in ("a", "b", "c")] == [True, False, True]
    assert cache.size_bytes == 2 * (700 + 12)
    await cache.fetch("d", LATER, at_once(said(0.5, labels=10_000)))  # larger than the whole
    assert cache.size_bytes == 0


def test_files_are_told_apart() -> None:
    assert digest(b"a") != digest(b"b")
    assert digest(b"a") == digest(b"a")
