"""`python -m eyasd.serving.decoding CONTROL MEMORY PARENT`: a decoder, of inherited descriptors and the daemon's process id."""

from __future__ import annotations

import faulthandler
import signal
import socket
import sys


def main() -> None:
    """Decodes until the daemon closes the control socket, or is gone."""
    # Ctrl-C, and whoever stops a whole group of processes, means the daemon.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    faulthandler.enable()  # its last words, if it crashes
    from eyasd.serving.decoding import program  # noqa: PLC0415 - signals first: the import takes longest
    from eyasd.serving.decoding.records import Tray  # noqa: PLC0415

    control, memory, parent = map(int, sys.argv[1:])
    program.main(socket.socket(fileno=control), Tray(memory), parent)


if __name__ == "__main__":
    main()
