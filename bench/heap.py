"""From which size on a piece of memory is a mapping of its own, and how many heaps there are: `python bench/heap.py`.

Processes, one for each rule of the C library's, take turns at decoding the same pictures in several threads, as an acceptor does;
of each the median of the rounds is told: milliseconds of processor time a picture, and what memory the process has after all,
before and after `trim`. Linux with glibc.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import machine
from decode import NEW, photograph

from eyasd.core import heap
from eyasd.core.preprocess import load_image

MIB = 1024 * 1024
SERVER = "as the server: from 4 MiB on, a heap a processor"
RULES = {SERVER: None, "from 1 MiB on, a heap a processor": MIB, "glibc's own": 0}
SETS = {
    "500 x 375, JPEG": ((500, 375), "JPEG", 300),
    "640 x 480, JPEG": ((640, 480), "JPEG", 300),
    "640 x 480, PNG": ((640, 480), "PNG", 100),
    "1600 x 1200, PNG": ((1600, 1200), "PNG", 20),
}
ALL = "all in turn"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=6)
    parser.add_argument("--as", dest="rule", choices=RULES, help=argparse.SUPPRESS)
    parser.add_argument("--of", default="", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.rule:
        print(json.dumps(measured(options.rule, options.of, options.threads)))
        return
    print(f"{machine.describe()}, {options.threads} threads\n\n`python bench/heap.py`\n")
    for of in (*SETS, ALL):
        print(f"| {of} | ms a picture | MB held | MB after `trim` |\n|---|---|---|---|")
        found: dict[str, list[list[float]]] = {rule: [] for rule in RULES}
        for _ in range(options.rounds):
            for rule, rows in found.items():
                command = [sys.executable, __file__, "--as", rule, "--of", of, "--threads", str(options.threads)]
                rows.append(json.loads(subprocess.run(command, check=True, capture_output=True).stdout))
        for rule, rows in found.items():
            seconds, held, left = map(statistics.median, zip(*rows, strict=True))
            print(f"| {rule} | {1000 * seconds:.2f} | {held / 1e6:.0f} | {left / 1e6:.0f} |", flush=True)
        print()


def measured(rule: str, of: str, threads: int) -> tuple[float, int, int]:
    """Returns seconds of a processor a picture, and the bytes that this process has then, before and after `trim`."""
    if rule == SERVER:
        heap.keep_small()
    elif large := RULES[rule]:
        heap._LARGE_BYTES = large
        heap.keep_small()
    pictures = [
        content
        for name, (size, form, count) in SETS.items()
        if of in {name, ALL}
        for content in [photograph(seed, size, form) for seed in range(4)] * (count // 4 // (3 if of == ALL else 1))
    ]
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(lambda content: load_image(content, NEW), pictures[:: max(1, len(pictures) // 40)]))
        before = os.times()
        list(pool.map(lambda content: load_image(content, NEW), pictures))
        after = os.times()
        held = anonymous_bytes()
        heap.trim()
        return (after.user - before.user + after.system - before.system) / len(pictures), held, anonymous_bytes()


def anonymous_bytes() -> int:
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("Anonymous:"))


if __name__ == "__main__":
    main()
