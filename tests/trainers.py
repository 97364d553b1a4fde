"""Daemons in processes of their own, each as on another machine: killed, stopped, and started again where they were."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import eyas
from ports import free_port

TESTS = Path(__file__).parent
_START_SECONDS = 300


class Trainer:
    """A daemon with a data folder that is nobody else's, at an address that it keeps.

    Attributes:
        data: its data folder.
        process: the daemon, or the last one that there was.
    """

    def __init__(self, folder: Path, programs: Path, *, role: str = "trainer", **settings: object) -> None:
        """Starts none yet.

        Args:
            folder: gets the data folder and the log.
            programs: on its path before all else; `sitecustomize` there says what becomes of its training program.
            role: of the daemon.
            settings: such as `JOBS__MAX_RUNNING`, and environment variables that begin with `EYAS_TEST`.
        """
        self.data = folder / "data"
        self.data.mkdir(parents=True)
        self.log = folder / "log"
        self.address = f"127.0.0.1:{free_port()}"
        self._role = role
        fixed = {
            "JOBS__STOP_GRACE_SECONDS": 1,
            "API__LISTEN": self.address,
            "API__LAME_DUCK_SECONDS": 0,
            "TELEMETRY__METRICS_LISTEN": "127.0.0.1:0",
            "TELEMETRY__LOG_FORMAT": "json",
            "TRAINING__HUB": "false",
            "DATA_DIR": self.data,
        }
        told = fixed | settings
        named = {name if name.startswith("EYAS_TEST") else f"EYASD_{name}": str(value) for name, value in told.items()}
        path = os.pathsep.join([str(programs), str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])])
        self._environment = {"OMP_NUM_THREADS": "1"} | os.environ | named | {"PYTHONPATH": path}
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, **environment: str) -> None:
        """Starts it, and does not wait until it answers."""
        with self.log.open("ab") as log:
            command = [sys.executable, "-m", "eyasd", self._role]
            self.process = subprocess.Popen(command, env=self._environment | environment, stdout=log, stderr=log)

    def client(self) -> eyas.Client:
        """Returns a client of it, once it answers."""
        deadline, port = time.monotonic() + _START_SECONDS, int(self.address.rpartition(":")[2])
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    return eyas.Client(self.address)
            assert self.process is not None
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.05)

    def kill(self) -> None:
        """Kills the daemon alone, if it runs."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def pause(self) -> None:
        """Stops the daemon alone, as if it hung."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Ends a pause."""
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    @property
    def killed(self) -> bool:
        """Whether it was started, and has ended."""
        return self.process is not None and self.process.poll() is not None

    def guard(self, job: str) -> int | None:
        """Returns the process that leads a job's on this machine, as a session of its own; None where there is none."""
        try:
            pid = int((self.data / "jobs" / job / "lock").read_text())
        except (FileNotFoundError, ValueError):
            return None
        return pid if job.encode() in _command(pid) else None

    def end(self) -> None:
        """Ends the daemon, and whatever outlived it."""
        if self.process is not None and not self.killed:
            self.go_on()
            self.kill()
        for folder in self.data.glob("jobs/*"):
            if (pid := self.guard(folder.name)) is not None:
                os.killpg(pid, signal.SIGKILL)


def program(guard: int) -> int | None:
    """Returns the training program below a guard; None where it has ended, or not begun."""
    try:
        children = Path(f"/proc/{guard}/task/{guard}/children").read_text().split()
    except OSError:
        return None
    return next((int(pid) for pid in children if b"eyasd.training" in _command(int(pid))), None)


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
