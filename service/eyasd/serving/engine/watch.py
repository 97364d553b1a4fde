"""What ends an engine's process from within, whatever its loop is at."""

from __future__ import annotations

import os
import select
import socket
import sys
import threading
import time
from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from eyasd.serving.network.session import Outputs

Run = Callable[[NDArray[np.uint8], bool], Outputs]
# Far beyond any batch whose caller still waits; a device that hangs never ends.
_STALLED_SECONDS: Final = 120.0
_LOOK_MS: Final = 1000


class Watch:
    """A thread that ends the process when the daemon is gone, amid a load even, or when a batch does not end."""

    def __init__(self, control: socket.socket) -> None:
        """Starts the watch; the daemon is gone when its end of `control` is closed."""
        self._control = control
        self._start: float | None = None
        threading.Thread(target=self._watch, daemon=True, name="watch").start()

    def over(self, run: Run) -> Run:
        """Returns `run`, timed."""

        def timed(images: NDArray[np.uint8], maps: bool) -> Outputs:
            self._start = time.monotonic()
            try:
                return run(images, maps)
            finally:
                self._start = None

        return timed

    def _watch(self) -> None:
        gone = select.poll()
        gone.register(self._control, select.POLLRDHUP)
        while not gone.poll(_LOOK_MS):
            start = self._start
            if start is not None and time.monotonic() - start > _STALLED_SECONDS:
                sys.stderr.write(f"a batch has run for over {_STALLED_SECONDS:g} s: the device hangs\n")
                os._exit(1)
        os._exit(0)
