"""A PostgreSQL server of the tests' own: its files in a temporary folder, and no port but a socket there."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from itertools import count
from pathlib import Path
from typing import Final

import psycopg
import pytest

_START_SECONDS: Final = 60


class Postgres:
    """A server that can be stopped, killed, paused and started again."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="eyas-postgres-"))
        self._names = (f"eyas{number}" for number in count())
        self._process: subprocess.Popen[bytes] | None = None
        self._log = self.folder / "log"
        if os.geteuid() == 0:  # which PostgreSQL refuses to run as
            shutil.chown(self.folder, "postgres", "postgres")
        self._run("initdb", "--no-sync", "--auth=trust", "--username=eyas", "--encoding=UTF8", self.folder / "data").wait()
        self.start()

    def start(self) -> None:
        # What fsync adds is the disk's part of the promise, which no test here can break.
        options = ("listen_addresses=", f"unix_socket_directories={self.folder}", "fsync=off")
        self._process = self._run("postgres", "-D", self.folder / "data", *(word for option in options for word in ("-c", option)))
        deadline = time.monotonic() + _START_SECONDS
        while True:
            try:
                psycopg.connect(self.url("postgres")).close()
            except psycopg.OperationalError:
                if time.monotonic() > deadline or self._process.poll() is not None:
                    pytest.fail(f"PostgreSQL did not start: {self._log.read_text()}")
                time.sleep(0.02)
            else:
                return

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """Ends the server and its connections: with SIGINT by its own means, with SIGQUIT as in a crash."""
        assert self._process is not None
        self._process.send_signal(how)
        self._process.wait(_START_SECONDS)

    def url(self, database: str, folder: Path | None = None) -> str:
        """Returns the URL of a database, through another folder's socket if one is named."""
        return f"postgresql://eyas@/{database}?host={folder or self.folder}"

    def create(self) -> str:
        """Makes an empty database, and returns its name."""
        name = next(self._names)
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} STRATEGY file_copy")  # type: ignore[arg-type]
        return name

    def end(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self.stop(signal.SIGQUIT)
        shutil.rmtree(self.folder)

    def _run(self, program: str, *arguments: str | Path) -> subprocess.Popen[bytes]:
        folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name))
        found = shutil.which(program) or (folders and shutil.which(program, path=folders[-1]))
        if not found:
            pytest.fail("These tests need PostgreSQL, which is not installed here: `apt-get install postgresql` brings it.")
        # It ends with the tests, however they end.
        user = ("--reuid=postgres", "--regid=postgres", "--clear-groups") if os.geteuid() == 0 else ()
        command = ["setpriv", "--pdeathsig=QUIT", *user, found, *arguments]
        with self._log.open("ab") as log:
            return subprocess.Popen(command, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
