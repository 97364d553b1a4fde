"""`python -m eyasd.pod --trainer ADDRESS --store URL --job ID --attempt N`: one attempt, from its inputs to what it leaves.

Its exit status is that of the training program, see `core.jobdir`: PASSING where a store was away for too long, and TERMINATED
where it had to make way, was asked to end, or is refused by the trainer, as one is whose attempt was given up; then it leaves
nothing. SIGTERM has the program write a checkpoint, which is handed over within the grace. Of several pods the first alone speaks
to the trainer, and hands over.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Final

import grpc

from eyas._channel import Connection
from eyasd.core import document, jobdir
from eyasd.core.errors import EyasError, StorageFailed
from eyasd.pod import layout
from eyasd.pod.checkpoints import Checkpoints
from eyasd.pod.patience import Grace, persist
from eyasd.pod.program import Group, Program
from eyasd.pod.reporter import Reporter
from eyasd.storage.address import check_address, open_store
from eyasd.storage.store import Store

TOKEN: Final = "EYAS_REPORT_TOKEN"  # noqa: S105 -- the name of a variable
_LOOK_SECONDS: Final = 0.2
_INPUTS_SECONDS: Final = 300.0  # for which a store may be away before anything was done
_RESULT_SECONDS: Final = 1800.0  # and once hours of work depend on it
_LINES_SECONDS: Final = 300.0  # for which a trainer may be away, once all else is handed over
_ASK_SECONDS: Final = 2.0  # for which the end of an attempt waits to hear whether it was given up
_LINES_SHARE: Final = 0.5  # of what is left of the grace
_PROGRAM_SHARE: Final = 0.5  # of the grace; the rest is for what it has written


def main() -> int:
    """Does an attempt; returns the exit status."""
    reader = argparse.ArgumentParser(prog="python -m eyasd.pod", description="Runs one attempt of a job, apart from its trainer.")
    reader.add_argument("--trainer", required=True, help="HOST:PORT of the trainer")
    reader.add_argument("--token", type=Path, help=f"file with the attempt's token; without one, {TOKEN} has it")
    reader.add_argument("--tls", action="store_true", help="speak TLS to it, and check its certificate")
    reader.add_argument("--ca", type=Path, help="PEM of the authority to trust; implies --tls")
    reader.add_argument("--store", required=True, type=check_address, help="what is between it and this pod")
    reader.add_argument("--job", required=True)
    reader.add_argument("--attempt", required=True, type=int)
    reader.add_argument("--scratch", type=Path, default=Path(tempfile.gettempdir()) / "eyas-job", help="folder of this pod alone")
    reader.add_argument("--processes", type=int, default=1, help="how many train together in this pod")
    reader.add_argument("--nodes", type=int, default=1, help="how many pods train together")
    reader.add_argument("--node", type=int, default=0, help="number of this one, from 0")
    reader.add_argument("--meeting", default="", help="HOST:PORT at the first pod, where several meet")
    reader.add_argument("--grace", type=float, default=30.0, help="seconds from SIGTERM until the pod is killed")
    asked = reader.parse_args()
    if asked.nodes > 1 and not asked.meeting:
        reader.error("--nodes is more than 1, and nobody says where they meet: name --meeting HOST:PORT.")
    asked.scratch.mkdir(parents=True, exist_ok=True)
    if any(asked.scratch.iterdir()):
        reader.error(f"--scratch {asked.scratch} is not empty: each pod needs a folder of its own.")
    grace = Grace(asked.grace)
    try:
        return _Pod(asked, grace).run()
    except (StorageFailed, OSError) as error:
        _say(str(error))
        return jobdir.TERMINATED if grace.begun else jobdir.PASSING
    except (EyasError, ValueError) as error:  # the pod is set up wrongly
        _say(str(error))
        return 1


class _Pod:
    """One attempt in one pod."""

    def __init__(self, asked: argparse.Namespace, grace: Grace) -> None:
        self._asked, self._grace = asked, grace
        self._folder: Path = asked.scratch
        self._store: Store = open_store(asked.store, asked.scratch)
        self._channel = _channel(asked)
        self._first = asked.node == 0
        self._program: Program | None = None

    def run(self) -> int:
        """Returns the exit status."""
        signal.signal(signal.SIGTERM, lambda *_: self._make_way())
        asked, left = self._asked, self._grace.bound(_INPUTS_SECONDS)
        inputs = layout.place(asked.job, asked.attempt, "in")
        if not persist(lambda: layout.receive(self._store, inputs, self._folder), left):
            raise StorageFailed(f"{asked.store} has no inputs of attempt {asked.attempt} of job {asked.job}: was it given up?")
        if self._first and (done := persist(self._done, left)) is not None:
            _say("An earlier pod of this attempt has done its work.")
            return done
        number = persist(lambda: layout.claim(self._store, asked.job, asked.attempt), left) if self._first else 0
        checkpoints = Checkpoints(self._store, asked.job, asked.attempt, number, self._folder)
        persist(checkpoints.restore, left)
        if self._grace.begun:
            return jobdir.TERMINATED
        group = Group(asked.processes, asked.nodes, asked.node, asked.meeting)
        environment = {name: value for name, value in os.environ.items() if name != TOKEN}
        patience = asked.grace * _PROGRAM_SHARE
        self._program = program = Program(group.command(self._folder), environment, self._folder, patience, sys.stdout.buffer)
        if self._grace.begun:  # meanwhile
            program.stop()
        if not self._first:
            while program.look(_say):
                time.sleep(_LOOK_SECONDS)
            return program.status()
        return self._see_through(program, checkpoints, number)

    def _see_through(self, program: Program, checkpoints: Checkpoints, number: int) -> int:
        """Reports until the program ends, and hands over what it leaves, while the last lines are on their way."""
        lines, token = self._folder / jobdir.PROGRESS, _token(self._asked.token)
        reporter = Reporter(self._channel, token, lines, program.stop, number=number)
        out = f"{layout.place(self._asked.job, self._asked.attempt, 'out')}/{number}"
        reporter.start()
        try:
            while program.look(reporter.say):
                if not reporter.over:
                    with suppress(StorageFailed, OSError):  # with the next one, then
                        checkpoints.look()
                time.sleep(_LOOK_SECONDS)
            reporter.finish(_ASK_SECONDS)
            persist(lambda: None if reporter.over else self._hand_over(out, checkpoints), self._grace.bound(_RESULT_SECONDS))
        finally:
            program.kill()
            patience = self._grace.bound(_LINES_SECONDS)() * (_LINES_SHARE if self._grace.begun else 1)
            told = reporter.close(patience)
        if not told and not reporter.over:
            with suppress(StorageFailed, OSError):  # all else is handed over
                left = self._folder / jobdir.UNREPORTED
                left.write_text(document.dump(reporter.left()))
                persist(lambda: layout.add(self._store, out, self._folder, left), self._grace.bound(_INPUTS_SECONDS))
        return jobdir.TERMINATED if reporter.over else program.status()

    def _done(self) -> int | None:
        """Returns the exit status of an earlier pod of this attempt that has handed over a result, or an error."""
        for out in layout.newest(self._store, layout.place(self._asked.job, self._asked.attempt, "out")):
            names = layout.paths(self._store, out)
            if jobdir.RESULT in names:
                return jobdir.OK
            if jobdir.ERROR in names:
                return jobdir.USER_ERROR
        return None

    def _hand_over(self, out: str, checkpoints: Checkpoints) -> None:
        """Hands over what the program has left. Raises StorageFailed, OSError."""
        left = [path for name in (jobdir.RESULT, jobdir.ERROR, jobdir.LOG) if (path := self._folder / name).exists()]
        if (self._folder / jobdir.RESULT).exists() and (self._folder / jobdir.TRAINING).exists():
            left += [path for path in (self._folder / jobdir.BUNDLE).rglob("*") if path.is_file()]
        if not {self._folder / jobdir.RESULT, self._folder / jobdir.ERROR} & {*left}:
            checkpoints.look(now=True)
        layout.send(self._store, out, self._folder, left)

    def _make_way(self) -> None:
        self._grace.begin()
        if self._program is not None:
            self._program.stop()


def _say(message: str) -> None:
    sys.stderr.write(f"{message}\n")


def _token(path: Path | None) -> str:
    """Returns the token. Raises OSError."""
    return path.read_text().strip() if path is not None else os.environ.get(TOKEN, "")


def _channel(asked: argparse.Namespace) -> grpc.Channel:
    """Returns a channel to the trainer. Raises ValueError, OSError."""
    tls = asked.tls or asked.ca is not None
    roots = asked.ca.read_bytes() if asked.ca else None
    # The token goes with each call: it is good for the lines of this attempt alone, so plain text is for the operator to decide.
    connection = Connection(
        address=asked.trainer, timeout_seconds=_ASK_SECONDS, retries=False, tls=tls, root_certificates=roots, token=None
    )
    if connection.credentials is None:
        return grpc.insecure_channel(asked.trainer, connection.options)
    return grpc.secure_channel(asked.trainer, connection.credentials, connection.options)


if __name__ == "__main__":
    sys.exit(main())
