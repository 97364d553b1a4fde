"""`python -m eyasd.serving.engine CONTROL NICENESS`: an engine; CONTROL is the inherited descriptor of its control socket."""

from __future__ import annotations

import faulthandler
import os
import signal
import socket
import sys
import traceback


def main() -> None:
    """Answers until the daemon closes the control socket."""
    # Ctrl-C, and whoever stops a whole group of processes, means the daemon: it drains the engines before it lets them go.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    faulthandler.enable()  # its last words, if it crashes
    os.nice(int(sys.argv[2]))
    from eyasd.serving.engine.program import serve  # noqa: PLC0415 - signals first: the import takes longest
    from eyasd.serving.engine.watch import Watch  # noqa: PLC0415

    control = socket.socket(fileno=int(sys.argv[1]))
    try:
        serve(control, watch=Watch(control))
    except Exception:  # noqa: BLE001 - whatever the device raised
        traceback.print_exc()
        os._exit(1)  # at once: whoever gives back what lies on a device that has failed may wait for it forever


if __name__ == "__main__":
    main()
