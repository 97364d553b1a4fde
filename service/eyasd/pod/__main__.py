"""`python -m eyasd.pod --trainer ADDRESS --store URL --job ID --attempt N`: one attempt, from its inputs to its result.

Its exit status is the training program's, see `core.jobdir`. SIGTERM lets that write a checkpoint, which is handed over before
the end.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

import grpc

from eyasd.core import jobdir
from eyasd.core.errors import EyasError, StorageFailed
from eyasd.pod import layout
from eyasd.pod.reporter import Reporter
from eyasd.storage.address import check_address, open_store
from eyasd.storage.store import Store

TOKEN: Final = "EYAS_REPORT_TOKEN"  # noqa: S105 -- the name of a variable
_LOOK_SECONDS: Final = 0.2
_CHECKPOINT_SECONDS: Final = 60.0
_HANDOVER_SECONDS: Final = 300.0  # in which a store or a trainer that is away may come back, once the program has ended


class Checkpoints:
    """The checkpoints of a job, of whichever attempt; the newest two stay."""

    def __init__(self, store: Store, job: str, attempt: int, folder: Path) -> None:
        self._store, self._folder, self._attempt = store, folder, attempt
        self._prefix = f"jobs/{job}/checkpoint"
        self._count = 0
        self._sent = 0
        self._next = time.monotonic() + _CHECKPOINT_SECONDS

    def restore(self) -> None:
        """Brings the newest that is whole, if there is one, to where the program looks for it."""
        for attempt, count in reversed(self._listed()):
            self._count = max(self._count, count if attempt == self._attempt else 0)
            if layout.receive(self._store, f"{self._prefix}/{attempt}-{count}", self._folder):
                return

    def look(self, *, now: bool = False) -> None:
        """Hands over a checkpoint that is new, once a minute or now."""
        path = self._folder / jobdir.CHECKPOINT
        if not path.exists() or (not now and time.monotonic() < self._next):
            return
        self._next = time.monotonic() + _CHECKPOINT_SECONDS
        if (made := path.stat().st_mtime_ns) == self._sent:
            return
        with tempfile.TemporaryDirectory(dir=self._folder) as kept:
            copy = Path(kept) / jobdir.CHECKPOINT
            os.link(path, copy)  # the program may write another meanwhile, under the same name
            layout.send(self._store, f"{self._prefix}/{self._attempt}-{self._count + 1}", Path(kept), [copy])
        self._count += 1
        self._sent = made
        for attempt, count in self._listed()[:-2]:
            self._store.delete(f"{self._prefix}/{attempt}-{count}.json")
            self._store.delete(f"{self._prefix}/{attempt}-{count}/{jobdir.CHECKPOINT}")

    def _listed(self) -> list[tuple[int, int]]:
        names = [name.removesuffix(".json") for name in self._store.children(self._prefix) if name.endswith(".json")]
        return sorted((int(attempt), int(count)) for attempt, _, count in (name.partition("-") for name in names))


def main() -> int:
    """Does an attempt; returns the exit status."""
    reader = argparse.ArgumentParser(prog="python -m eyasd.pod", description="Runs one attempt of a job, apart from its trainer.")
    reader.add_argument("--trainer", required=True, help="HOST:PORT of the trainer")
    reader.add_argument("--store", required=True, type=check_address, help="where the trainer keeps the model repository")
    reader.add_argument("--job", required=True)
    reader.add_argument("--attempt", required=True, type=int)
    reader.add_argument("--scratch", type=Path, default=Path(tempfile.gettempdir()) / "eyas-job", help="folder of this attempt")
    reader.add_argument("--processes", type=int, default=1, help="how many train together")
    asked = reader.parse_args()
    try:
        return _run(asked)
    except (EyasError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 1


def _run(asked: argparse.Namespace) -> int:
    folder: Path = asked.scratch
    folder.mkdir(parents=True, exist_ok=True)
    store = open_store(asked.store, folder)
    if not layout.receive(store, layout.place(asked.job, asked.attempt, "in"), folder):
        raise StorageFailed(f"{asked.store} has no inputs of attempt {asked.attempt} of job {asked.job}: was it given up?")
    checkpoints = Checkpoints(store, asked.job, asked.attempt, folder)
    checkpoints.restore()
    program = ("eyasd.training.launch", str(asked.processes)) if asked.processes > 1 else ("eyasd.training",)
    with (folder / jobdir.LOG).open("ab") as log:
        process = subprocess.Popen([sys.executable, "-m", *program, str(folder)], stdout=log, stderr=log)  # noqa: S603
    signal.signal(signal.SIGTERM, lambda *_: process.terminate())
    with grpc.insecure_channel(asked.trainer) as channel:
        reporter = Reporter(channel, os.environ.get(TOKEN, ""), folder / jobdir.PROGRESS, process.terminate)
        reporter.start()
        while process.poll() is None:
            with suppress(StorageFailed, OSError):  # with the next one, then
                checkpoints.look()
            time.sleep(_LOOK_SECONDS)
        _hand_over(store, asked, folder, checkpoints, over=reporter.over)
        reporter.close(_HANDOVER_SECONDS)
    sys.stderr.write((folder / jobdir.LOG).read_text(errors="replace")[-4096:])
    return process.returncode if process.returncode >= 0 else 128 - process.returncode


def _hand_over(store: Store, asked: argparse.Namespace, folder: Path, checkpoints: Checkpoints, *, over: bool) -> None:
    """Hands over what an attempt has left; a stale one leaves nothing."""
    if over:
        return
    limit = time.monotonic() + _HANDOVER_SECONDS
    left = [folder / name for name in (jobdir.RESULT, jobdir.ERROR, jobdir.LOG) if (folder / name).exists()]
    if (folder / jobdir.RESULT).exists():
        left += [path for path in (folder / jobdir.BUNDLE).rglob("*") if path.is_file()]
    while True:
        try:
            if not (folder / jobdir.RESULT).exists():
                checkpoints.look(now=True)
            layout.send(store, layout.place(asked.job, asked.attempt, "out"), folder, left)
        except StorageFailed as error:
            if time.monotonic() > limit:
                raise
            sys.stderr.write(f"{error}\n")
        else:
            return


if __name__ == "__main__":
    sys.exit(main())
