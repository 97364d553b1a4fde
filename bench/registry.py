"""How long many versions take to be listed, one to be found, and many models to be followed: `python bench/registry.py`.

Medians over the rounds, on this machine's disk, with the folders in the kernel's memory as on a daemon that runs.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import machine

from eyasd.core.bundle import MANIFEST
from eyasd.core.names import ModelRef
from eyasd.registry.models import Models
from eyasd.storage.local import LocalStore


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--versions", type=int, default=10_000, help="(%(default)s)")
    parser.add_argument("--models", type=int, default=1000, help="(%(default)s)")
    parser.add_argument("--rounds", type=int, default=9, help="(%(default)s)")
    options = parser.parse_args()
    print(f"{machine.describe()}\n\n`python bench/registry.py`, {options.versions:,} versions\n\n| what | ms |\n|---|---|")
    with machine.scratch() as scratch:
        for number in range(1, options.versions + 1):
            folder = Path(scratch, "clothing", str(number))
            folder.mkdir(parents=True)
            (folder / MANIFEST).touch()
        models = Models(LocalStore(Path(scratch)))
        wanted = ModelRef("clothing", version=options.versions // 2)
        for what, call in (("listed", lambda: models.versions("clothing")), ("one found", lambda: models.resolve(wanted))):
            print(f"| {what} | {median_ms(call, options.rounds):.2f} |")
    with machine.scratch() as scratch:
        models = Models(LocalStore(Path(scratch)))
        for number in range(options.models):
            models.aliases.set(f"model{number}", "production", 1, actor="bench", reason="")
        time.sleep(4)  # until no folder is one that has just changed, see `LocalStore.stamp`
        for what, call in (("anew", lambda: Models(LocalStore(Path(scratch))).pointers()), ("again", models.pointers)):
            print(f"| the aliases of {options.models:,} models, {what} | {median_ms(call, options.rounds):.2f} |")


def median_ms(call: Callable[[], object], rounds: int) -> float:
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        call()
        times.append(1000 * (time.perf_counter() - start))
    return statistics.median(times)


if __name__ == "__main__":
    main()
