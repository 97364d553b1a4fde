"""A folder of shared memory that a daemon and its children have for themselves, so that what lies there is theirs."""

from __future__ import annotations

import ctypes

_NEW_MOUNTS = 0x00020000  # CLONE_NEWNS, sched.h
_PRIVATE = 0x4000 | 0x40000  # MS_REC | MS_PRIVATE, sys/mount.h


def have_own_shared_memory() -> None:
    """Mounts it in this process's own view of the file system; whoever may not mount keeps the machine's."""
    libc = ctypes.CDLL(None)
    if libc.unshare(_NEW_MOUNTS) == 0:
        libc.mount(b"none", b"/", None, _PRIVATE, None)
        libc.mount(b"tmpfs", b"/dev/shm", b"tmpfs", 0, None)
