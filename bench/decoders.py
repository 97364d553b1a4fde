"""What it costs to have pictures decoded in locked processes: `python bench/decoders.py [--rounds N]`.

The same pictures, to 224 x 224 pixels, by `Here` (a thread of this process) and by `Pool` (`serving.decode_processes`), in turn, so
that whatever else the machine does slows both alike. One at a time: milliseconds from call to return, median and 99th percentile.
On all cores, a thread for each: pictures/s. And processor time a picture, of this process and of its decoders together. Last, the
memory of one decoder, and how long one takes to start.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import machine
import numpy as np
import structlog
from decode import NEW, SIDE, photograph

from eyasd.serving.decoding.decoding import Decoding, Here
from eyasd.serving.decoding.pool import Pool

ROUND_SECONDS = 1.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    rounds, cores = parser.parse_args().rounds, len(os.sched_getaffinity(0))
    sets = {
        "32 x 32, JPEG": [photograph(seed, (32, 32), "JPEG") for seed in range(16)],
        "500 x 375, JPEG": [photograph(seed, (500, 375), "JPEG") for seed in range(16)],
        "4032 x 3024, JPEG": [photograph(0, (4032, 3024), "JPEG")],
    }
    start = time.monotonic()
    pool = Pool(cores, limit_seconds=60, on_end=lambda _: None, log=structlog.get_logger())
    seconds = time.monotonic() - start
    ways: dict[str, Decoding] = {"threads": Here(), "processes": pool}
    print(f"{machine.describe()}, `python bench/decoders.py`\n")
    print("| picture | | one at a time: ms, median (99th) | pictures/s, all cores | processor ms a picture |")
    print("|---|---|---|---|---|")
    for name, contents in sets.items():
        single: dict[str, list[float]] = {way: [] for way in ways}
        rates: dict[str, list[float]] = {way: [] for way in ways}
        spent: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(rounds):
            for way, decoding in ways.items():
                single[way] += one_at_a_time(decoding, contents)
                before, started = processor_seconds(pool), time.monotonic()
                count = together(decoding, contents, cores)
                rates[way].append(count / (time.monotonic() - started))
                spent[way].append((processor_seconds(pool) - before) / count * 1000)
        for way in ways:
            latest = statistics.quantiles(single[way], n=100)[98]
            print(
                f"| {name} | {way} | {statistics.median(single[way]):.2f} ({latest:.2f}) | {statistics.median(rates[way]):,.0f} "
                f"| {statistics.median(spent[way]):.2f} |",
                flush=True,
            )
    memory = [proportional_mb(worker.process) for worker in pool._workers]
    print(f"\n{cores + 1} decoders were ready after {seconds:.2f} s; each takes {statistics.mean(memory):.0f} MB.")
    pool.close()


def loader(decoding: Decoding) -> Callable[[bytes], None]:
    out = np.empty((SIDE, SIDE, 3), np.uint8)
    return lambda content: decoding.load(content, NEW, out, time.monotonic() + 60)


def one_at_a_time(decoding: Decoding, contents: Sequence[bytes]) -> list[float]:
    """Returns the milliseconds of each picture."""
    load, taken = loader(decoding), []
    load(contents[0])
    end = time.monotonic() + ROUND_SECONDS
    while time.monotonic() < end:
        for content in contents:
            start = time.perf_counter()
            load(content)
            taken.append((time.perf_counter() - start) * 1000)
    return taken


def together(decoding: Decoding, contents: Sequence[bytes], threads: int) -> int:
    """Returns how many pictures so many threads decode in a round."""
    end = time.monotonic() + ROUND_SECONDS

    def work() -> int:
        load, count = loader(decoding), 0
        while time.monotonic() < end:
            for content in contents:
                load(content)
            count += len(contents)
        return count

    with ThreadPoolExecutor(threads) as executor:
        return sum(future.result() for future in [executor.submit(work) for _ in range(threads)])


def processor_seconds(pool: Pool) -> float:
    """Returns what this process and the decoders have used."""
    # The clock of another process's processor time, as clock_getcpuclockid(3) makes it.
    return time.process_time() + sum(time.clock_gettime(~worker.process << 3 | 2) for worker in pool._workers)


def proportional_mb(process: int) -> float:
    """Returns the memory of a process, what it shares counted by its share."""
    lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1000


if __name__ == "__main__":
    main()
