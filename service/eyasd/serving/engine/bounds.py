"""What an engine may take while it opens a version: a network that claims more is refused, and nobody else dies of it."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from eyasd.core.errors import Unavailable
from eyasd.core.memory import free_bytes

# A file of 96 MB takes three times its size at its peak, and its batches take more; so much may be asked for wherever a server is
# too small to say what is free.
_LEAST_BYTES: Final = 512 * 1024 * 1024
_TIMES_THE_FILES: Final = 8
_SHARE: Final = 0.9
# What opening takes at its peak beside what it computes, in sizes of the file: ONNX Runtime's copies of it.
_PEAK_FILES: Final = 3


def room_bytes(file_bytes: int) -> int:
    """Returns the most that a network may take that is opened now from so many bytes."""
    return max(int(free_bytes() * _SHARE), _LEAST_BYTES + _TIMES_THE_FILES * file_bytes)


def check_room(file_bytes: int) -> None:
    """Refuses files that would take the memory away from the rest of a process, where that has no limit. Raises Unavailable."""
    if _PEAK_FILES * file_bytes > (free := free_bytes()) * _SHARE:
        raise Unavailable(
            f"The version's files have {file_bytes / 1e6:,.0f} MB, which take {_PEAK_FILES} times as much to open, and "
            f"{free / 1e6:,.0f} MB of memory are free: free some, or serve fewer versions."
        )


@contextmanager
def within_free_memory(file_bytes: int) -> Iterator[None]:
    """Lets this process take no more memory, until the end of the block, than is free when it begins; beyond it, MemoryError.

    On Linux alone, which counts what a process may write to (RLIMIT_DATA); what was there before is not counted.

    Args:
        file_bytes: size of what is opened.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    most = _data_bytes() + room_bytes(file_bytes)
    known = [limit for limit in (soft, hard) if limit != resource.RLIM_INFINITY]
    resource.setrlimit(resource.RLIMIT_DATA, (min([most, *known]), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def _data_bytes() -> int:
    """Returns what this process may write to now, as the kernel counts it."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmData:"):
            return int(line.split()[1]) * 1024
    return 0
