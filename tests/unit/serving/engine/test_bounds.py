"""serving.engine.bounds: a network that claims more memory than is free is refused, and its engine lives on."""

from __future__ import annotations

import resource
from functools import partial
from pathlib import Path
from typing import cast

import numpy as np
import pytest

from builders import colour_network, golden
from eyasd.core import bundle
from eyasd.core.errors import Unavailable
from eyasd.core.variants import Precision
from eyasd.serving.engine import bounds, program
from eyasd.serving.engine.bounds import within_free_memory
from eyasd.serving.engine.opening import Task
from eyasd.serving.engine.program import ControlLog
from eyasd.serving.network.providers import CPU
from eyasd.serving.network.session import Session
from hostile.networks import claims

CLAIMED = 50_000_000  # of four bytes each


@pytest.fixture
def full(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine on which 64 MiB are free."""
    monkeypatch.setattr(bounds, "free_bytes", lambda: 64 * 1024 * 1024)
    monkeypatch.setattr(bounds, "_LEAST_BYTES", 0)


def opened(network: bytes) -> Session:
    session = Session(network, provider=CPU, threads=1, max_batch_size=2)
    session.warm(golden().images[0])
    return session


def test_what_claims_more_than_is_free_is_refused_and_others_are_not(full: None) -> None:
    before = resource.getrlimit(resource.RLIMIT_DATA)
    with within_free_memory(1000):
        sound = opened(colour_network())
        with pytest.raises(Exception, match="bad_alloc|[Ff]ailed to allocate|bad allocation"):
            opened(claims(CLAIMED))
        with pytest.raises(MemoryError):
            np.ones(CLAIMED, np.float32)
    assert resource.getrlimit(resource.RLIMIT_DATA) == before
    assert np.allclose(sound.run(golden().images).probabilities, golden().probabilities, atol=1e-6)
    assert np.allclose(opened(claims(CLAIMED)).run(golden().images[:1]).probabilities, golden().probabilities[:1], atol=1e-6)


def test_a_network_in_the_daemon_itself_has_an_arena_that_ends(full: None) -> None:
    small, large = (partial(Session, provider=CPU, threads=1, max_batch_size=2, arena_bytes=size) for size in (2**23, 2**26))
    sound, greedy = small(colour_network()), claims(CLAIMED // 10)
    with pytest.raises(Exception, match="is smaller than requested bytes"):
        small(greedy).warm(golden().images[0])
    assert np.allclose(sound.run(golden().images).probabilities, golden().probabilities, atol=1e-6)
    assert len(large(greedy).run(golden().images[:1]).probabilities) == 1  # the bound is of each by itself
    assert len(opened(greedy).run(golden().images[:1]).probabilities) == 1


def test_a_thread_opens_what_there_is_room_for(full: None, monkeypatch: pytest.MonkeyPatch, tiny_bundle: Path) -> None:
    files = {name: (tiny_bundle / name).read_bytes() for name in (bundle.MANIFEST, bundle.GOLDEN, bundle.MODEL)}
    task = Task(model="colours", version=1, provider=CPU, precision="fp32", threads=1, max_batch_size=2, max_delay_seconds=0)
    log = cast("ControlLog", None)  # which nothing is said to
    assert program._open(task, files, log, alone=False).precision is Precision.FP32
    with pytest.raises(Exception, match="is smaller than requested bytes"):
        program._open(task, {**files, bundle.MODEL: claims(CLAIMED)}, log, alone=False)
    monkeypatch.setattr(bounds, "free_bytes", lambda: 3 * len(files[bundle.MODEL]))
    with pytest.raises(Unavailable, match="MB of memory are free: free some, or serve fewer versions"):
        program._open(task, files, log, alone=False)


def test_a_limit_that_was_there_stays_and_is_not_widened(full: None) -> None:
    before = resource.getrlimit(resource.RLIMIT_DATA)
    own = bounds._data_bytes() + 32 * 1024 * 1024
    resource.setrlimit(resource.RLIMIT_DATA, (own, before[1]))
    try:
        with within_free_memory(10**9):
            assert resource.getrlimit(resource.RLIMIT_DATA)[0] == own
        assert resource.getrlimit(resource.RLIMIT_DATA)[0] == own
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, before)
