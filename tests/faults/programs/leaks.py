"""Leaks that a server is given on purpose, one with each picture that it decodes, to see that they are found."""

from __future__ import annotations

import os
import threading
from multiprocessing import shared_memory
from typing import Any

_kept: list[object] = []


def leak(what: str) -> None:
    """Plants a leak in this process: `memory`, `descriptors`, `threads` or `shared-memory`."""
    from eyasd.core import preprocess

    load, lose = preprocess.load_image, LEAKS[what]

    def losing(*arguments: Any, **named: Any) -> Any:
        _kept.append(lose())
        return load(*arguments, **named)

    preprocess.load_image = losing  # whoever imports it from now on has this one


def _memory() -> object:
    return os.urandom(300_000)


def _descriptors() -> object:
    return os.open(os.devnull, os.O_RDONLY)


def _threads() -> object:
    thread = threading.Thread(target=threading.Event().wait, daemon=True)
    thread.start()
    return thread


def _shared_memory() -> object:
    return shared_memory.SharedMemory(create=True, size=30_000, name=f"eyas-soak-{os.getpid()}-{len(_kept)}")


LEAKS = {"memory": _memory, "descriptors": _descriptors, "threads": _threads, "shared-memory": _shared_memory}
