"""core.heap: what large and many things leave goes back to the system."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import subprocess
import sys
import threading
import weakref
from pathlib import Path

import pytest

from eyasd.core import heap as own
from eyasd.core.heap import tidy_often, trim


def test_what_is_free_in_the_heap_is_given_back() -> None:
    heap = ctypes.CDLL(None)
    heap.malloc.restype, heap.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
    block_bytes, count = 20_000, 5_000  # each small enough to lie in the heap, and not in a mapping of its own
    blocks = []
    for _ in range(count):
        blocks += [heap.malloc(block_bytes), heap.malloc(16)]  # the small one stays, so that the heap's end does
        ctypes.memset(blocks[-2], 1, block_bytes)
    for block in blocks[::2]:
        heap.free(block)
    kept = anonymous_bytes()
    trim()
    given_back = kept - anonymous_bytes()
    for block in blocks[1::2]:
        heap.free(block)
    assert given_back > 0.5 * count * block_bytes


# In a process of its own, as it holds for the whole of one.
IN_MAPPINGS = """
import ctypes, sys
from eyasd.core.heap import keep_small
heap = ctypes.CDLL(None)
class Info(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in ("arena", "ordblks", "smblks", "hblks", "hblkhd", "5", "6", "7", "8", "9")]
heap.mallinfo2.restype = Info
if sys.argv[1] == "kept small":
    keep_small()
bytearray(20_000_000)  # from whose end glibc learns
before = heap.mallinfo2().hblkhd
held = bytearray(6_000_000)
print(heap.mallinfo2().hblkhd - before)
"""


@pytest.mark.parametrize(("way", "least", "most"), [("kept small", 6_000_000, 7_000_000), ("as it is", 0, 0)])
def test_what_is_large_is_in_a_mapping_of_its_own(way: str, least: int, most: int) -> None:
    said = subprocess.run([sys.executable, "-c", IN_MAPPINGS, way], stdout=subprocess.PIPE, text=True, check=True)
    assert least <= int(said.stdout) <= most


# Threads that are all there at the same time, as each that comes after another has ended takes over its heap.
HEAPS = """
import ctypes, os, sys, threading
from eyasd.core import heap
if sys.argv[1] == "kept small":
    os.sched_setaffinity(0, list(os.sched_getaffinity(0))[:1])
    heap.keep_small()
library = ctypes.CDLL(None)
library.malloc.restype = ctypes.c_void_p
together = threading.Barrier(6)
def hold():
    library.malloc(100_000)
    together.wait()
threads = [threading.Thread(target=hold) for _ in range(6)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
library.fflush(None)
library.malloc_info(0, ctypes.c_void_p.in_dll(library, "stdout"))
library.fflush(None)
"""


@pytest.mark.parametrize(("way", "least", "most"), [("kept small", 1, 2), ("as it is", 3, 100)])
def test_threads_share_few_heaps(way: str, least: int, most: int) -> None:
    said = subprocess.run([sys.executable, "-c", HEAPS, way], stdout=subprocess.PIPE, text=True, check=True)
    assert least <= said.stdout.count("<heap ") <= most


class Knot:
    """Something that holds itself."""

    def __init__(self) -> None:
        self.itself = self


async def test_a_daemon_that_has_little_to_do_looks_for_cycles_and_trims(monkeypatch: pytest.MonkeyPatch) -> None:
    trimmed = threading.Event()
    monkeypatch.setattr(own, "_TIDY_SECONDS", 0.001)
    monkeypatch.setattr(own, "trim", trimmed.set)
    gc.disable()
    try:
        held = weakref.ref(Knot())
        assert held() is not None
        tidying = asyncio.create_task(tidy_often())
        while held() is not None:
            await asyncio.sleep(0.001)
        assert await asyncio.to_thread(trimmed.wait, 60)
        tidying.cancel()
    finally:
        gc.enable()


def anonymous_bytes() -> int:
    """Returns how much memory of this process no file is behind."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Anonymous:"))
