"""`python -m fuzz [TARGET ...] --runs N`, from tests/: tries inputs by the branches that they take, and tells how that went.

Inputs that are worth keeping stay in build/fuzz/TARGET, from where the next run goes on; what was found lies in build/fuzz/found.
The exit status is 1 where anything was found.
"""

from __future__ import annotations

import argparse
import hashlib
import math
import os
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fuzz.target import names, target_of

_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - a folder of its own is made there
_TESTS: Final = Path(__file__).parents[1]
_BUILD: Final = _TESTS.parent / "build" / "fuzz"
_TRIED: Final = re.compile(r"stat::number_of_executed_units:\s+(\d+)")
_PEAK: Final = re.compile(r"stat::peak_rss_mb:\s+(\d+)")
_EDGES: Final = re.compile(r"cov: (\d+) ft: (\d+) corp: (\d+)")
_LONGEST: Final = re.compile(r"LONGEST ([\d.]+)")
_SAVED: Final = re.compile(r"Test unit written to (\S+)")
_SHOWN: Final = 3_000


@dataclass(frozen=True, slots=True)
class Run:
    """What became of a target.

    Attributes:
        tried: how many inputs.
        seconds: wall clock.
        edges: branches of the watched modules that were taken.
        kept: inputs that each take another way.
        longest_seconds: of one input.
        peak_mb: memory of the process.
        found: file of an input for which the invariant does not hold; None where there is none.
        told: the end of what the process said.
    """

    tried: int
    seconds: float
    edges: int
    kept: int
    longest_seconds: float
    peak_mb: int
    found: Path | None
    told: str


def fuzz(target: str, place: Path, *, runs: int = 0, seconds: float = 0, plant: str = "", seed: int = 0) -> Run:
    """Tries a target until something is found, in a process of its own.

    Args:
        target: its full name.
        place: where inputs are kept, and those that were found.
        runs: how many inputs are tried; 0 is any number.
        seconds: after which no further one is tried; 0 is never.
        plant: a bug to find, see `fuzz.plants`; "" is none.
        seed: of what is drawn; 0 is another one each time.
    """
    corpus, found = place / target, place / "found"
    for folder in (corpus, found):
        folder.mkdir(parents=True, exist_ok=True)
    for content in target_of(target).seeds():
        (corpus / hashlib.sha256(content).hexdigest()[:20]).write_bytes(content)
    limits = [f"-runs={runs or -1}", f"-max_total_time={math.ceil(seconds)}", f"-seed={seed}"]
    flags = [*limits, f"-artifact_prefix={found}/{target}-", "-print_final_stats=1", str(corpus)]
    command = [sys.executable, "-m", "fuzz.drive", target, *(["--plant", plant] if plant else []), *flags]
    began = time.monotonic()
    # Of memory where there is such a file system, as each input may be a file; and removed here, as libFuzzer's end runs nothing.
    with tempfile.TemporaryDirectory(prefix="eyas-fuzz-", dir=_MEMORY if os.access(_MEMORY, os.W_OK) else None) as folder:
        environment = {**os.environ, "TMPDIR": folder}
        ended = subprocess.run(command, cwd=_TESTS, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    told = ended.stdout.decode(errors="replace")
    saved = _SAVED.findall(told)
    if ended.returncode and not saved:
        raise RuntimeError(f"The process of {target} ended with {ended.returncode}:\n{told[-_SHOWN:]}")
    edges = _EDGES.findall(told)
    return Run(
        tried=_last(_TRIED, told),
        seconds=time.monotonic() - began,
        edges=int(edges[-1][0]) if edges else 0,
        kept=int(edges[-1][2]) if edges else 0,
        longest_seconds=float((_LONGEST.findall(told) or [0])[-1]),
        peak_mb=_last(_PEAK, told),
        found=Path(saved[-1]) if saved else None,
        told=told[-_SHOWN:],
    )


def _last(pattern: re.Pattern[str], text: str) -> int:
    found = pattern.findall(text)
    return int(found[-1]) if found else 0


def main() -> int:
    reader = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    reader.add_argument("targets", nargs="*", metavar="TARGET", help="such as pictures.pixels; all, unless some are named")
    reader.add_argument("--runs", type=int, default=0, help="inputs for each target")
    reader.add_argument("--minutes", type=float, default=0, help="for all targets together; 5, unless --runs is given")
    reader.add_argument("--replay", type=Path, metavar="FILE", help="tries this input of TARGET alone, and shows what it raises")
    reader.add_argument("--plant", default="", help="a bug to find, see fuzz/plants.py")
    reader.add_argument("--seed", type=int, default=0)
    asked = reader.parse_args()
    known = names()
    targets = asked.targets or known
    if unknown := set(targets) - set(known):
        reader.error(f"There is no target {min(unknown)!r}: there are {', '.join(known)}.")
    if asked.replay:
        target_of(targets[0]).check(asked.replay.read_bytes())
        return 0
    seconds = (asked.minutes or (0 if asked.runs else 5)) * 60 / len(targets)
    found = 0
    sys.stdout.write("| target | inputs | seconds | a second | branches | kept | longest | memory | found |\n" + "|---" * 9 + "|\n")
    for target in targets:
        run = fuzz(target, _BUILD, runs=asked.runs, seconds=seconds, plant=asked.plant, seed=asked.seed)
        found += run.found is not None
        sys.stdout.write(
            f"| {target} | {run.tried:,} | {run.seconds:.0f} | {run.tried / run.seconds:,.0f} | {run.edges:,} | {run.kept:,} "
            f"| {run.longest_seconds * 1000:.1f} ms | {run.peak_mb} MB | {int(run.found is not None)} |\n"
        )
        sys.stdout.flush()
        if run.found is not None:
            sys.stdout.write(f"{run.told}\nTo try it again: make fuzz TARGET={target} ARGS='--replay {run.found}'\n")
    return int(bool(found))


if __name__ == "__main__":
    sys.exit(main())
