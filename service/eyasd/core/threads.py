"""Threads that stand in nobody's way."""

from __future__ import annotations

import os
import threading
from typing import Final

_LOWEST: Final = 19


def give_way() -> None:
    """Gives the calling thread the lowest priority, which on Linux is a thread's own."""
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _LOWEST)
