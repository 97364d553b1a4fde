"""`python -m eyasd.training.launch PROCESSES JOB_DIR`: the trainer as several processes of this machine, one a GPU.

It speaks torchrun's environment variables and is one launcher of several: torchrun itself will do. That starts its processes in
sessions of their own, which a kill of the group spares, closes the lock of JOB_DIR, which they are to hold, and ends with 1
whatever was amiss; here the group, the lock and the exit status are those of the processes.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from functools import partial
from math import inf
from typing import Final

from eyasd.core import jobdir, kin

LISTENER: Final = "EYAS_LISTENER_FD"
_GRACE_SECONDS: Final = 30.0
_LOOK_SECONDS: Final = 0.1
_STOPPED: Final = (jobdir.TERMINATED, -signal.SIGTERM)


def main() -> int:
    """Runs the processes; returns the exit status of the first that failed, or that of one that was stopped, or OK."""
    if len(sys.argv) != 3 or not sys.argv[1].isdecimal() or int(sys.argv[1]) < 1:
        sys.stderr.write("usage: python -m eyasd.training.launch PROCESSES JOB_DIR\n")
        return 2
    status = launch(int(sys.argv[1]), [sys.executable, "-m", "eyasd.training", sys.argv[2]])
    if status < 0:  # killed: whoever waits for this process shall see it so
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    return status


def launch(processes: int, command: Sequence[str]) -> int:
    """Runs a command as often as said, as the ranks of a group; SIGTERM is passed on to all, and one that fails ends all.

    Returns:
        The exit status, negative for a signal.
    """
    ranks: list[subprocess.Popen[bytes]] = []
    stopped = False

    def stop() -> None:
        nonlocal stopped
        stopped = True
        for rank in ranks:
            rank.terminate()

    signal.signal(signal.SIGTERM, lambda *_: stop())
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.set_inheritable(True)
        shared = {
            "WORLD_SIZE": str(processes),
            "LOCAL_WORLD_SIZE": str(processes),
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(listener.getsockname()[1]),
            LISTENER: str(listener.fileno()),
            # A machine need not know its own name.
            "GLOO_SOCKET_IFNAME": os.environ.get("GLOO_SOCKET_IFNAME", "lo"),
            # The last line of the log says why a process crashed; what torch has to remark while it ends would hide it.
            "TORCH_CPP_LOG_LEVEL": os.environ.get("TORCH_CPP_LOG_LEVEL", "ERROR"),
        }
        for rank in range(processes):
            environment = {**os.environ, **shared, "RANK": str(rank), "LOCAL_RANK": str(rank)}
            end = partial(kin.end_with, os.getpid())  # where this process is killed, nobody else would stop them
            ranks.append(subprocess.Popen(command, env=environment, close_fds=False, preexec_fn=end))  # noqa: S603, PLW1509 -- one thread
            if stopped:
                stop()
    return _first_failure(_ends(ranks))


def _ends(ranks: Sequence[subprocess.Popen[bytes]]) -> list[int]:
    """Returns the exit statuses in the order of the ends; once one has failed, the others are stopped, and in the end killed."""
    running, ends, deadline = list(ranks), list[int](), inf
    told = False
    while running:
        for rank in [rank for rank in running if rank.poll() is not None]:
            running.remove(rank)
            ends.append(rank.returncode)
        if any(ends) and not told:
            told = True
            for rank in running:
                rank.terminate()
        if deadline == inf and _first_failure(ends) not in (jobdir.OK, *_STOPPED):
            deadline = time.monotonic() + _GRACE_SECONDS
        if time.monotonic() > deadline:
            for rank in running:
                rank.kill()
        time.sleep(_LOOK_SECONDS)
    return ends


def _first_failure(ends: Sequence[int]) -> int:
    failures = [status for status in ends if status != jobdir.OK and status not in _STOPPED]
    stops = [status for status in ends if status in _STOPPED]
    return next(iter([*failures, *stops]), jobdir.OK)


if __name__ == "__main__":
    sys.exit(main())
