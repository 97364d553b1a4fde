"""Takes from this process what a decoder does not need: files, network, other processes, privileges, memory without end.

What it keeps: to compute, to read and write what is open, and to end. `filter` holds that even against a decoder that runs
somebody else's code; the rest is a second wall behind it.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
from contextlib import suppress
from pathlib import Path
from typing import Final

from eyasd.serving.decoding import filter as calls

# The dearest picture that we know takes 413 MB in all, of which Python and its libraries have 40 before.
_MORE_BYTES: Final = 512 * 1024 * 1024
_NEW_USER, _NEW_NETWORK = 0x1000_0000, 0x4000_0000  # linux/sched.h
_DEATH_SIGNAL, _NO_NEW_PRIVILEGES = 1, 38  # linux/prctl.h


class NoSandbox(Exception):
    """Why this process cannot be locked up."""


def lock_up(parent: int) -> bool:
    """Locks this process up, for good.

    Args:
        parent: with whose death this process dies.

    Returns:
        Whether it has a network of its own, in which there is nothing; many containers do not allow that. The filter lets nobody
        make a socket, with or without.

    Raises:
        NoSandbox: the rest cannot be had.
    """
    tasks = len([*Path("/proc/self/task").iterdir()])
    if tasks > 1:  # the others would stay as they are
        raise NoSandbox(f"a library has started {tasks - 1} threads")
    c_library = ctypes.CDLL(None, use_errno=True)
    # Where memory is short, the kernel ends a decoder first.
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")
    network: bool = c_library.unshare(_NEW_USER | _NEW_NETWORK) == 0
    # After the namespace, as a change of user clears it.
    if c_library.prctl(_DEATH_SIGNAL, signal.SIGKILL, 0, 0, 0) or c_library.prctl(_NO_NEW_PRIVILEGES, 1, 0, 0, 0):
        raise NoSandbox(f"the kernel knows no such limits ({os.strerror(ctypes.get_errno())})")
    if os.getppid() != parent:
        raise NoSandbox("the daemon is gone")
    for limit, most in (
        (resource.RLIMIT_AS, _address_bytes() + _MORE_BYTES),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, 0),  # what is open stays open
    ):
        hard = resource.getrlimit(limit)[1]
        least = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(limit, (least, least))
    try:
        calls.install(c_library.prctl)
    except OSError as error:
        raise NoSandbox(error.strerror or str(error)) from error
    return network


def _address_bytes() -> int:
    """Returns the addresses that this process has given to anything, in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
