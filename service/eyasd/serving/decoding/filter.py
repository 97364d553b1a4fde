"""A filter of system calls (seccomp) that leaves a process what it needs to compute, and to answer on what it has open.

A list of what may be, for two kinds of processors; whatever else is called ends the process with SIGSYS. Written in the kernel's
own forty instructions rather than by libseccomp, which no Python package brings along for every machine.
"""

from __future__ import annotations

import ctypes
import os
import struct
from typing import Final, NamedTuple

# From linux/prctl.h, linux/seccomp.h, linux/audit.h.
_SET_SECCOMP, _MODE_FILTER = 22, 2
_KILL_PROCESS, _ALLOW = 0x8000_0000, 0x7FFF_0000
_PROT_EXEC: Final = 4
# Places in struct seccomp_data: the call's number, the machine, and the lower half of each argument (both machines are
# little-endian).
_NUMBER, _MACHINE = 0, 4
# Of linux/bpf_common.h: load a word of the data; jump if it equals, or has a bit of, a constant; return one.
_LOAD, _EQUALS, _HAS_BIT, _RETURN = 0x20, 0x15, 0x45, 0x06


class _Machine(NamedTuple):
    """A kind of processor: its number in linux/audit.h, and the numbers of its system calls.

    Attributes:
        audit: its number.
        allowed: may be called with any arguments.
        mmap: not for what can be executed.
        tgkill: of this process alone, as `abort` does.
    """

    audit: int
    allowed: tuple[int, ...]
    mmap: int
    tgkill: int


# In this order: read, write and writev (the C library's last words); then munmap, mremap, brk, madvise and mbind (OpenBLAS, where
# it takes memory); then futex, sched_yield, clock_gettime, gettimeofday, getrandom and restart_syscall; then the three of
# signals, rt_sigreturn, rt_sigprocmask and rt_sigaction; then getpid and gettid; and last exit and exit_group.
_MACHINES: Final = {
    "x86_64": _Machine(
        0xC000_003E, (0, 1, 20, 11, 25, 12, 28, 237, 202, 24, 228, 96, 318, 219, 15, 14, 13, 39, 186, 60, 231), 9, 234
    ),
    "aarch64": _Machine(
        0xC000_00B7, (63, 64, 66, 215, 216, 214, 233, 235, 98, 124, 113, 169, 278, 128, 139, 135, 134, 172, 178, 93, 94), 222, 131
    ),
}


class _Program(ctypes.Structure):
    """struct sock_fprog."""

    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def install(prctl: ctypes._NamedFuncPointer) -> None:
    """Filters this thread's system calls from now on; to be called where it is the only one, and may gain no privileges.

    Args:
        prctl: of the C library.

    Raises:
        OSError: the kernel does not do that, or there is no list for this machine.
    """
    name = os.uname().machine
    machine = _MACHINES.get(name)
    if machine is None:
        raise OSError(f"there is no list of system calls for processors of the kind {name}, only for {' and '.join(_MACHINES)}")
    code = _code(machine, os.getpid())
    program = _Program(len(code) // 8, code)
    if prctl(_SET_SECCOMP, _MODE_FILTER, ctypes.byref(program), 0, 0):
        raise OSError(ctypes.get_errno(), f"the kernel takes no filter of system calls ({os.strerror(ctypes.get_errno())})")


def _code(machine: _Machine, process: int) -> bytes:
    """Returns the instructions, struct sock_filter each."""
    kill, allow = (_RETURN, 0, 0, _KILL_PROCESS), (_RETURN, 0, 0, _ALLOW)
    code = [(_LOAD, 0, 0, _MACHINE), (_EQUALS, 1, 0, machine.audit), kill, (_LOAD, 0, 0, _NUMBER)]
    for number in machine.allowed:
        code += [(_EQUALS, 0, 1, number), allow]
    code += [(_EQUALS, 0, 4, machine.mmap), (_LOAD, 0, 0, _argument(2)), (_HAS_BIT, 0, 1, _PROT_EXEC), kill, allow]
    code += [(_EQUALS, 0, 3, machine.tgkill), (_LOAD, 0, 0, _argument(0)), (_EQUALS, 0, 1, process), allow]
    code += [kill]
    return b"".join(struct.pack("<HBBI", *instruction) for instruction in code)


def _argument(number: int) -> int:
    return 16 + 8 * number
