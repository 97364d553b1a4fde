"""What a locked-up process can still do: `python tests/locked_up.py [CALL=ERRNO]` prints how each attempt ended, as JSON.

Each is made by a process of its own: 0 is that it could be done, a negative number the signal that ended it. CALL (unshare or
seccomp) fails with ERRNO, as it does in containers that do not allow it.
"""

from __future__ import annotations

import ctypes
import json
import mmap
import os
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from eyasd.serving.decoding.sandbox import NoSandbox, lock_up

C = ctypes.CDLL(None, use_errno=True)
READ, WRITE = os.pipe()
DAEMON = os.getpid()


def take_memory() -> None:
    """Takes what it gets, private and shared, and is done when there is no more."""
    for flags in (mmap.MAP_PRIVATE, mmap.MAP_SHARED):
        kept = []
        with suppress(OSError):
            while len(kept) < 64:
                kept.append(mmap.mmap(-1, 64 << 20, flags=flags | mmap.MAP_ANONYMOUS))
        assert 4 <= len(kept) <= 8  # 512 MB are given


def run_bytes() -> None:
    """Maps memory for code."""
    mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)


def answer() -> None:
    os.write(WRITE, b"x")
    assert os.read(READ, 1) == b"x"


def look_into_daemon() -> None:
    class Piece(ctypes.Structure):
        _fields_ = (("at", ctypes.c_void_p), ("size", ctypes.c_size_t))

    mine = ctypes.create_string_buffer(8)
    here, there = Piece(ctypes.addressof(mine), 8), Piece(ctypes.addressof(mine), 8)
    C.process_vm_readv(DAEMON, ctypes.byref(here), 1, ctypes.byref(there), 1, 0)


MAY: dict[str, Callable[[], object]] = {
    "compute": lambda: sum(range(1000)),
    "take half a gigabyte, and be refused the rest": take_memory,
    "answer on what is open": answer,
}
MAY_NOT: dict[str, Callable[[], object]] = {
    "open a file": lambda: os.open("/etc/passwd", os.O_RDONLY),
    "write a file": lambda: os.open("/tmp/eyas-locked", os.O_WRONLY | os.O_CREAT),  # noqa: S108 - it must not come into being
    "look at a file": Path("/etc/passwd").stat,
    "list a folder": lambda: next(Path("/").iterdir()),
    "make a socket": lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM),
    "make a pair of sockets": socket.socketpair,
    "make an anonymous file": lambda: os.memfd_create("x"),
    "run a program": lambda: os.execv("/bin/true", ["true"]),  # noqa: S606 - it must not run
    "start a process": lambda: subprocess.run(["/bin/true"], check=True),
    "fork": os.fork,
    "start a thread": lambda: threading.Thread(target=int).start(),
    "kill the daemon": lambda: os.kill(DAEMON, 9),
    "signal a thread of the daemon": lambda: C.tgkill(DAEMON, DAEMON, 9),
    "trace the daemon": lambda: C.ptrace(16, DAEMON, 0, 0),
    "read the daemon's memory": look_into_daemon,
    "map memory for code": run_bytes,
    "make memory code": lambda: C.mprotect(0, 0, 4),
    "leave its namespaces": lambda: C.unshare(0x1000_0000),
    "take back a limit": lambda: __import__("resource").setrlimit(7, (9, 9)),
    "call the kernel's other door": lambda: C.syscall(425, 8, 0),  # io_uring_setup
    "load a kernel's program": lambda: C.syscall(321 if os.uname().machine == "x86_64" else 280, 0, 0, 0),  # bpf
}


def refuse(call: str, number: int) -> None:
    """Has one call fail from now on, in this process and those that it starts."""
    numbers = {"x86_64": {"unshare": 272, "prctl": 157}, "aarch64": {"unshare": 97, "prctl": 167}}[os.uname().machine]
    code = [(0x20, 0, 0, 0)]
    if call == "unshare":
        code += [(0x15, 0, 1, numbers["unshare"])]
    else:  # prctl(PR_SET_SECCOMP)
        code += [(0x15, 0, 3, numbers["prctl"]), (0x20, 0, 0, 16), (0x15, 0, 1, 22)]
    code += [(0x06, 0, 0, 0x0005_0000 | number), (0x06, 0, 0, 0x7FFF_0000)]
    packed = b"".join(struct.pack("<HBBI", *one) for one in code)
    program = struct.pack("@HP", len(code), ctypes.addressof(kept := ctypes.create_string_buffer(packed)))
    assert C.prctl(38, 1, 0, 0, 0) == 0
    assert C.prctl(22, 2, ctypes.create_string_buffer(program), 0, 0) == 0
    del kept


def attempt(what: Callable[[], object]) -> int:
    """Returns how a locked-up process ends that does it."""
    child = os.fork()
    if not child:
        try:
            lock_up(DAEMON)
            what()
        except BaseException:  # noqa: BLE001 - that it was not ended is what is asked
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def main() -> None:
    if len(sys.argv) > 1:
        call, number = sys.argv[1].split("=")
        refuse(call, int(number))
    child = os.fork()
    if not child:
        try:
            os.write(WRITE, json.dumps(lock_up(DAEMON)).encode())
        except NoSandbox as error:
            os.write(WRITE, json.dumps(str(error)).encode())
        os._exit(0)
    os.waitpid(child, 0)
    found = {"locked": json.loads(os.read(READ, 4096))} | {name: attempt(what) for name, what in (MAY | MAY_NOT).items()}
    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main()
