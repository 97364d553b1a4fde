"""The warmed process, from outside, and which of its points are tried."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from faults.crash.order import unordered
from faults.crash.scenarios import SCENARIOS
from faults.crash.shim import Action, Call, read_log


@dataclass(frozen=True)
class Outcome:
    """What became of one point.

    Attributes:
        acked: what was acknowledged before the end.
        wrong: which promises were broken.
        unordered: which a power cut would have broken.
        calls: all that were made, with what was acknowledged in between.
    """

    acked: list[str]
    wrong: list[str]
    unordered: list[str]
    calls: list[Call]


class Points:
    """The warmed process; see `warm`."""

    def __init__(self, work: Path, shim: Path, under: Sequence[str] = ()) -> None:
        """Starts it, under another command if need be."""
        environment = {
            **os.environ,
            "LD_PRELOAD": str(shim),
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
            "OMP_NUM_THREADS": "1",
            "OPENBLAS_NUM_THREADS": "1",
        }
        command = [*under, sys.executable, "-m", "faults.crash.warm", str(work)]
        # What Python says of files that it could not close at its end is nobody's concern, unless the process does not answer.
        self._said = (work / "said").open("w+")
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._said, text=True, env=environment
        )

    def close(self) -> None:
        """Ends it."""
        self._process.communicate()
        self._said.close()

    def at(self, scenario: str, at: int = 0, action: Action | None = None, mutant: str | None = None) -> Outcome:
        """Returns what becomes of an operation whose call of that number, from 1, goes wrong; 0 is none."""
        asked = {"scenario": scenario, "at": at, "action": action.name if action else None, "mutant": mutant}
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            self._said.seek(0)
            raise RuntimeError(f"The warmed process is gone: {self._said.read()[-1000:]}")
        answer: dict[str, Any] = json.loads(line)
        calls, of = read_log("\n".join(answer.get("calls", []))), SCENARIOS[scenario]
        return Outcome(answer["acked"], answer["wrong"], list(unordered(calls, of.passing)) if of.is_durable else [], calls)


def crash_points(calls: list[Call]) -> Iterator[tuple[int, Action]]:
    """Yields every point of an operation that makes these calls: each call with each thing that can happen to it."""
    for number, call in enumerate((call for call in calls if not call.is_note), 1):
        for action in Action:
            if call.what == "write" or not action.of_writes:
                yield number, action
