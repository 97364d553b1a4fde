"""One process that has imported everything, and of which each crash point is a fork: 20 ms instead of seconds.

It is started with the shim, reads a line of JSON a point, and writes a line of JSON: what was acknowledged, how many calls there
were, and what is wrong. A first fork does the operation and meets its end; a second one, which knows nothing of the first, looks
at what is there, does the same again, and looks once more.
"""

from __future__ import annotations

import errno
import gc
import json
import os
import shutil
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from eyasd.core.errors import EyasError
from faults.crash.mutants import MUTANTS
from faults.crash.scenario import SCRATCH, Ack, Scenario
from faults.crash.scenarios import SCENARIOS
from faults.crash.shim import Action, Shim

_TOLD = "\n"
_MOST_SECONDS = 120


class Warm:
    """The process."""

    def __init__(self, work: Path) -> None:
        self._work = work
        self._shim = Shim()

    def laid(self, name: str) -> Path:
        """Returns a folder as the scenario finds it, made once."""
        scenario, made = SCENARIOS[name], self._work / "laid" / name
        if not made.exists():
            scenario.load()

            def lay(ack: Ack) -> None:
                _use_scratch(made)
                self._shim.disarm(made)
                scenario.lay(made)

            said, status = self._forked(lay)
            if status:
                raise RuntimeError(f"{name} cannot be laid: {said}")
        return made

    def point(self, name: str, at: int, action: Action | None, mutant: str | None) -> dict[str, Any]:
        """Does the operation with its call of that number gone wrong, and says what became of it."""
        scenario, root, log = SCENARIOS[name], self._work / "root", self._work / "log"
        shutil.rmtree(root, ignore_errors=True)
        shutil.copytree(self.laid(name), root)
        log.write_bytes(b"")
        said, status = self._forked(lambda ack: self._meet(scenario, root, log, at, action, mutant, ack))
        acked = [line.removeprefix("ack ") for line in said if line.startswith("ack ")]
        wrong = [line.removeprefix("wrong ") for line in said if line.startswith("wrong ")]
        killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
        if status and not (killed and action is not None and action.kills):
            wrong.append(f"the process ended with {status}: {' '.join(said)[-300:]}")
        found, status = self._forked(lambda tell: self._look(scenario, root, acked, tell))
        wrong += found
        if status:
            wrong.append(f"whoever looked ended with {status}")
        return {"acked": acked, "wrong": wrong, "calls": log.read_text().splitlines()}

    def _meet(
        self, scenario: Scenario[Any], root: Path, log: Path, at: int, action: Action | None, mutant: str | None, say: Ack
    ) -> None:
        """Is the first fork."""
        if mutant is not None:
            MUTANTS[mutant].plant()

        def ack(what: str) -> None:
            self._shim.note(what)
            say(f"ack {what}")

        _use_scratch(root)
        self._shim.arm(root, at, action, os.open(log, os.O_WRONLY | os.O_APPEND))
        opened = None
        try:
            opened = scenario.open(root)
            scenario.act(opened, ack)
        except Exception as error:  # noqa: BLE001 - whichever it is, is what is looked at
            self._shim.disarm(root)
            if not _is_told(error, scenario):
                say(f"wrong {_raw(error)}")
            try:
                opened = scenario.open(root) if opened is None else opened
                scenario.act(opened, ack)
            except Exception as again:  # noqa: BLE001
                say(f"wrong the same process cannot do it again: {_raw(again)}")
        self._shim.disarm(root)

    def _look(self, scenario: Scenario[Any], root: Path, acked: list[str], tell: Ack) -> None:
        """Is the second fork."""
        _use_scratch(root)
        self._shim.disarm(root)
        for step in (lambda: scenario.check(root, acked), lambda: _again(scenario, root), lambda: scenario.settled(root)):
            try:
                for sentence in step():
                    tell(sentence)
            except Exception as error:  # noqa: BLE001
                tell(f"looking at it: {_raw(error)}")

    def _forked(self, work: Callable[[Ack], None]) -> tuple[list[str], int]:
        """Returns what a fork said, and its exit status."""
        gc.freeze()  # what a fork's collector never looks at is never copied
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            status = 1
            signal.alarm(_MOST_SECONDS)  # whoever waits for ever ends, too
            try:
                os.close(reading)
                work(lambda line: _say(writing, line))
                status = 0
            except BaseException as error:  # noqa: BLE001 - the fork must end here, whatever happens
                _say(writing, f"wrong {_raw(error)}")
            finally:
                os._exit(status)
        os.close(writing)
        with os.fdopen(reading, "rb") as said:
            lines = said.read().decode().splitlines()
        return lines, os.waitpid(child, 0)[1]


def _again(scenario: Scenario[Any], root: Path) -> Iterator[str]:
    scenario.act(scenario.open(root), lambda what: None)
    yield from ()


def _is_told(error: Exception, scenario: Scenario[Any]) -> bool:
    """Whether a caller is told in a sentence. The training program has sentences for a disk's errors, see its `_explained`."""
    if isinstance(error, EyasError):
        return error.message.rstrip().endswith(".") and "Errno" not in error.message
    return scenario.in_trainer and isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EIO}


def _raw(error: BaseException) -> str:
    at = traceback.extract_tb(error.__traceback__)
    where = next((f"{Path(frame.filename).name}:{frame.lineno}" for frame in reversed(at) if "eyasd" in frame.filename), "")
    return f"{type(error).__name__}: {' '.join(str(error).split())[:300]} ({where})"


def _say(descriptor: int, line: str) -> None:
    os.write(descriptor, (line.replace("\n", " ") + _TOLD).encode())


def _use_scratch(root: Path) -> None:
    """Lets temporary files lie below the folder that is watched, so that their disk fails, too."""
    scratch = root / SCRATCH
    scratch.mkdir(parents=True, exist_ok=True)
    tempfile.tempdir = str(scratch)


def main() -> None:
    """Answers until there is nothing to read any more."""
    warm = Warm(Path(sys.argv[1]).resolve())
    for line in sys.stdin:
        asked = json.loads(line)
        action = Action[asked["action"]] if asked["action"] else None
        print(json.dumps(warm.point(asked["scenario"], asked["at"], action, asked["mutant"])), flush=True)  # noqa: T201


if __name__ == "__main__":
    main()
