"""A decoder that does as files say that are no pictures, and is otherwise the real one, locked up as that is.

`python tests/odd_decoder.py hang` is a daemon that has two of them.
"""

from __future__ import annotations

import ctypes
import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

from eyasd.core.preprocess import Preprocess, load_image
from eyasd.serving.decoding import program
from eyasd.serving.decoding.__main__ import main

C = ctypes.CDLL(None)
PROGRAM = (sys.executable, __file__)


def take_memory() -> None:
    kept: list[bytes] = []
    while True:
        kept.append(bytes(bytearray(b"x" * (64 << 20))))


def multiply() -> None:
    """Makes a large product once there is no more memory."""
    square, product, kept = np.ones((512, 512), np.float32), np.empty((512, 512), np.float32), []
    with suppress(MemoryError):
        while True:
            kept.append(bytearray(8 << 20))
    np.matmul(square, square, out=product)


def break_heap() -> None:
    """Gives back what was never taken, and the C library notices."""
    C.free(ctypes.c_void_p(ctypes.addressof(ctypes.create_string_buffer(64)) + 8))


def shout() -> None:
    for _ in range(1000):
        os.write(2, b"a" * 1000)  # raises BlockingIOError once nobody takes it


DOES: dict[bytes, Callable[[], object]] = {
    b"crash": lambda: ctypes.string_at(0),
    b"hang": lambda: os.read(int(sys.argv[1]), 1),  # nobody asks while it is asked
    b"spin": lambda: [None for _ in iter(int, 1)],
    b"take memory": take_memory,
    b"multiply": multiply,
    b"break the heap": break_heap,
    b"open a file": lambda: os.open("/etc/passwd", os.O_RDONLY),
    b"end": lambda: os._exit(3),
    b"shout": shout,
    b"lie": lambda: os.write(int(sys.argv[1]), b"\xff\xff"),
    b"lie of a refusal": lambda: os.write(int(sys.argv[1]), program.ANSWER.pack(program.Came.UNDECODABLE, 0) + b"no JSON"),
    b"fail": lambda: {}["nothing"],
}


def load(encoded: bytes, spec: Preprocess, out: NDArray[np.uint8]) -> NDArray[np.uint8]:
    if encoded in DOES:
        DOES[encoded]()
    return load_image(encoded, spec, out)


def ready() -> None:
    warm_up()
    vars(program)["load_image"] = load


def hang() -> None:
    """Is a daemon, one of whose decoders hangs; says which processes they are."""
    import structlog

    from eyasd.serving.decoding.pool import Pool

    pool = Pool(1, limit_seconds=600, on_end=print, log=structlog.get_logger(), program=PROGRAM)
    sys.stdout.write(" ".join(str(worker.process) for worker in pool._workers) + "\n")
    sys.stdout.flush()
    pool.load(b"hang", Preprocess(8), np.empty((8, 8, 3), np.uint8), time.monotonic() + 600)


if __name__ == "__main__":
    if sys.argv[1] == "hang":
        hang()
    warm_up, vars(program)["warm_up"] = program.warm_up, ready
    main()
