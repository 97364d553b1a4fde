"""core.threads: a pool has all its threads from the start, or says what refuses them and leaves none."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import pytest

from eyasd.core.errors import StartupFailed
from eyasd.core.threads import blocking_pool, give_way, pool
from waits import wait_until


def named(name: str) -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name.startswith(name)]


def test_all_threads_are_there_before_any_work_and_no_more_come() -> None:
    with pool(5, "early") as threads:
        before = named("early")
        assert len(before) == 5
        together = threading.Barrier(5)
        work = [threads.submit(together.wait, 60) for _ in range(10)]  # which only five at once can do
        assert sorted(one.result() for one in work) == sorted([*range(5)] * 2)
        assert named("early") == before


def test_each_thread_is_set_up() -> None:
    def niceness() -> int:
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    with pool(1, "meek", give_way) as threads:
        assert threads.submit(niceness).result() == 19


def test_refused_threads_are_told_of_and_those_before_end(monkeypatch: pytest.MonkeyPatch) -> None:
    start, started = threading.Thread.start, 0

    def limited(thread: threading.Thread, *arguments: Any) -> None:
        nonlocal started
        started += 1
        if started == 3:
            raise RuntimeError("can't start new thread")
        start(thread, *arguments)

    monkeypatch.setattr(threading.Thread, "start", limited)
    with pytest.raises(StartupFailed, match=r"some of 4 threads \(many: can't start new thread\): raise `ulimit -u`"):
        pool(4, "many")
    wait_until(lambda: not named("many"))


def test_what_blocks_has_as_many_threads_as_asyncio_would_make(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for processors, threads in ((1, 5), (64, 32)):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _, count=processors: set(range(count)))
        with blocking_pool():
            assert len(named("blocking")) <= threads  # a container's quota may allow fewer processors
