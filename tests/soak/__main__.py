"""`python -m soak MINUTES --to FOLDER`, from tests/: soaks two daemons, draws what they held, and says what grew.

Its exit status is 1 where something grew or is not known not to, or where anything else was found. `--again` judges and draws what
an earlier run has sampled.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import shutil
import signal
import sys
from pathlib import Path
from typing import Final

from .curves import CURVES, Samples, plot, table
from .soak import Soak
from .verdict import Word

_SHOWN: Final = {
    "memory of processes that come and go, MB": ("engines that go: anonymous memory", "trainings: anonymous memory"),
    "milliseconds of a good call": ("p99",),
    "good calls a second": ("good calls a second",),
    "processors of the daemons, and load of the machine": ("all: processors", "machine: load"),
    "disk, MB": ("disk: captured", "disk: datasets", "disk: trainer", "disk: server"),
}


def main() -> int:
    reader = argparse.ArgumentParser(prog="python -m soak", description=__doc__)
    reader.add_argument("minutes", type=float, nargs="?", default=90.0)
    reader.add_argument("--to", type=Path, default=Path("soak"), help="folder that gets samples.jsonl, curves.png and table.md")
    reader.add_argument("--seed", type=int, default=1)
    reader.add_argument("--leak", default="", help="one to find, in the acceptors: memory, descriptors, threads or shared-memory")
    reader.add_argument("--again", action="store_true", help="judge what was sampled before")
    asked = reader.parse_args()
    soak = None
    if not asked.again:
        shutil.rmtree(asked.to, ignore_errors=True)
        asked.to.mkdir(parents=True)
        logging.getLogger("asyncio").setLevel(logging.ERROR)  # floods write on to connections that a daemon has closed
        signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))  # and all that it has started with it
        soak = Soak(asked.to, asked.minutes, asked.seed, asked.leak)
        asyncio.run(soak.run())
    samples = Samples.read(asked.to / "samples.jsonl")
    verdicts = {curve: samples.judge(curve) for curve in CURVES}
    told = table(verdicts)
    (asked.to / "table.md").write_text(told + "\n")
    plot(samples, verdicts, asked.to / "curves.png", _SHOWN)
    sys.stdout.write(told + "\n")
    if soak is not None:
        tell(soak)
    grown = [curve.name for curve, one in verdicts.items() if one.word is not Word.FLAT]
    return int(bool(grown or (soak is not None and soak.found)))


def tell(soak: Soak) -> None:
    """Prints what was done and found."""
    for kind, count in sorted(soak.done.items()):
        sys.stdout.write(f"{count:7} {kind}\n")
    sys.stdout.write(f"{soak.calls:7} good calls, {soak.refused} asked to come again\n")
    for found in soak.found:
        sys.stdout.write(f"FOUND {found}\n")


if __name__ == "__main__":
    sys.exit(main())
