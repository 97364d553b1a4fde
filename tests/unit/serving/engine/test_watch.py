"""serving.engine.watch: no engine outlives its daemon, nor a device that hangs."""

from __future__ import annotations

import socket
import subprocess
import sys

import pytest

from eyasd.serving.engine import wire

# A batch that takes a minute, in a process whose batches may take so many seconds.
PROGRAM = """
import socket, sys, time
from eyasd.serving.engine import watch
watch._STALLED_SECONDS, watch._LOOK_MS = float(sys.argv[2]), 50
watched = watch.Watch(socket.socket(fileno=int(sys.argv[1]))).over(lambda images, maps: time.sleep(60))
print("runs", flush=True)
watched(None, False)
"""


@pytest.mark.parametrize(("limit", "daemon_goes", "status", "says"), [(0.1, False, 1, b"the device hangs"), (60, True, 0, b"")])
def test_what_ends_an_engine_amid_a_batch(limit: float, daemon_goes: bool, status: int, says: bytes) -> None:
    ours: socket.socket
    ours, theirs = wire.control_pair()
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(theirs.fileno()), str(limit)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            pass_fds=(theirs.fileno(),),
        )
    assert process.stdout is not None
    assert process.stdout.readline() == b"runs\n"
    if daemon_goes:
        ours.close()
    _, said = process.communicate(timeout=30)
    ours.close()
    assert (process.returncode, says in said) == (status, True)
