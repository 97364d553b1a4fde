"""A decoder that does as files say that are no pictures, and is otherwise the real one, locked up as that is."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from eyasd.core.preprocess import Preprocess, load_image
from eyasd.serving.decoding import program
from eyasd.serving.decoding.__main__ import main

PROGRAM = (sys.executable, __file__)


def take_memory() -> None:
    kept: list[bytes] = []
    while True:
        kept.append(bytes(bytearray(b"x" * (64 << 20))))


def shout() -> None:
    for _ in range(1000):
        os.write(2, b"a" * 1000)  # raises BlockingIOError once nobody takes it


DOES: dict[bytes, Callable[[], object]] = {
    b"crash": lambda: ctypes.string_at(0),
    b"hang": lambda: os.read(int(sys.argv[1]), 1),  # nobody asks while it is asked
    b"spin": lambda: [None for _ in iter(int, 1)],
    b"take memory": take_memory,
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


if __name__ == "__main__":
    warm_up = program.warm_up

    def ready() -> None:
        warm_up()
        vars(program)["load_image"] = load

    vars(program)["warm_up"] = ready
    main()
