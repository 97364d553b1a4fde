"""The heap of this process: how little of it stays when what was in it has gone."""

from __future__ import annotations

import ctypes
import gc
from contextlib import suppress
from typing import Final

from eyasd.core.processors import cpu_count

# From malloc.h: what mallopt is asked for.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
# A photograph of 1.4 megapixels, decoded, and less come from the heap. From 1 MiB on, a mapping for each took a quarter more of a
# processor, and no less memory was left after `trim` (`bench/heap.py`).
_LARGE_BYTES: Final = 4 * 1024 * 1024
_FEWEST_HEAPS: Final = 2
_OBJECTS_BETWEEN_COLLECTIONS: Final = 50_000
_TIDY_SECONDS: Final = 15.0


def keep_small() -> None:
    """Has large pictures and messages in memory of their own from now on, which the system has back when they go, and few heaps.

    A processor has a heap, where glibc would have eight: threads that come and go leave holes in all of them. By itself it also
    learns to take up to 32 MB from a heap, and so holds the holes between what is left. Of six threads that decode photographs and
    pictures made to cost much, 240 to 282 MB stayed after each `trim`, and peaks were of 593 MB; with large pieces apart it is 209
    and 347, for the same time of a processor.
    """
    with suppress(AttributeError):  # not every C library has it
        c_library = ctypes.CDLL(None)
        c_library.mallopt(_MMAP_THRESHOLD, _LARGE_BYTES)
        c_library.mallopt(_TRIM_THRESHOLD, 2 * _LARGE_BYTES)  # which glibc would choose
        c_library.mallopt(_ARENA_MAX, max(_FEWEST_HEAPS, cpu_count()))


def collect_seldom() -> None:
    """Lets Python look for cycles less often, once a daemon has started.

    What there is by then stays, and a call makes hundreds of objects but no cycle: to look for one at every 700 took 6 % of a busy
    server.
    """
    gc.freeze()
    gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS)


async def tidy_often() -> None:
    """Looks for cycles and gives back what large requests have left, for ever.

    By `collect_seldom` alone a daemon that has little to do would look for cycles every half an hour. To look takes half a
    millisecond for 20,000 objects, in the loop's thread, as what is found may belong to the loop.
    """
    import asyncio  # noqa: PLC0415 - which engines, that trim their heaps too, do without

    while True:
        await asyncio.sleep(_TIDY_SECONDS)
        gc.collect()
        await asyncio.to_thread(trim)


def trim() -> None:
    """Gives back to the system what is free in the heap.

    Of loading tf_efficientnet_lite0 that was some 30 MiB. Of hostile pictures and bodies of 32 MB, after which glibc keeps what is
    free in an arena for each thread, it was 180 to 210 of 320 to 340 MB of an acceptor, in 19 to 27 ms of a thread.
    """
    with suppress(AttributeError):  # not every C library has it
        ctypes.CDLL(None).malloc_trim(0)
