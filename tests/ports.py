"""Ports for those who must name theirs before somebody listens on it."""

from __future__ import annotations

import os
import random
import socket
from itertools import chain
from typing import Final

# Below those that Linux hands out by itself, so that no connection is given one before it is used.
_FIRST: Final = 12_000
_EACH: Final = 1000
# Of the processes that may share the tests out among themselves, each has its own: gw0, gw1, ...
_PROCESS: Final = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 20
_OURS: Final = range(_FIRST + _EACH * _PROCESS, _FIRST + _EACH * (_PROCESS + 1))
_BEGIN: Final = random.Random().choice(_OURS)
_left = chain(range(_BEGIN, _OURS.stop), range(_OURS.start, _BEGIN))


def free_port() -> int:
    """Returns a port of this machine that nobody listens on; none is returned twice."""
    for port in _left:
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise RuntimeError(f"All ports from {_OURS.start} to {_OURS.stop - 1} have been tried.")
