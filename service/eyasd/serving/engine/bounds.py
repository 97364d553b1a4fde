"""What an engine's process may take while it opens a version: a network that claims more is refused, and nobody else dies of it."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from eyasd.core.memory import free_bytes

# A file of 96 MB takes three times its size at its peak, and its batches take more; so much may be asked for wherever a server is
# too small to say what is free.
_LEAST_BYTES: Final = 512 * 1024 * 1024
_TIMES_THE_FILES: Final = 8
_SHARE: Final = 0.9


@contextmanager
def within_free_memory(file_bytes: int) -> Iterator[None]:
    """Lets this process take no more memory, until the end of the block, than is free when it begins; beyond it, MemoryError.

    On Linux alone, which counts what a process may write to (RLIMIT_DATA); what was there before is not counted.

    Args:
        file_bytes: size of what is opened.
    """
    more = max(int(free_bytes() * _SHARE), _LEAST_BYTES + _TIMES_THE_FILES * file_bytes)
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    most = _data_bytes() + more
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
