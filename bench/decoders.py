"""What it costs to have pictures decoded in locked processes: `python bench/decoders.py [--rounds N]`.

    decoders  the same pictures, to 224 x 224 pixels, by `Here` (a thread of this process) and by `Pool`
              (`serving.decode_processes`). One at a time: milliseconds from call to return, median and 99th percentile. On all
              cores, a thread for each: pictures/s. And processor time a picture, of this process and of its decoders together.
              Last, the memory of one decoder, and how long one takes to start
    servers   a server without and one with them, each with all cores and the tiny network, so that decoding weighs as much as it
              can: calls/s, latency, and processor time a call, of all its processes

Both ways work in turn, so that whatever else the machine does slows both alike; a ratio is between two moments of one round.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import machine
import numpy as np
import structlog
from decode import NEW, SIDE, photograph
from serving import services
from serving.rows import table
from serving.services import Environments, Service
from serving.subject import tiny_subject

from eyasd.serving.decoding.decoding import Decoding, Here
from eyasd.serving.decoding.pool import Pool

ROUND_SECONDS = 1.0
AT_ONCE = (1, 8)  # calls, of callers who have a connection each


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", default="decoders,servers", help="(%(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="two or more (%(default)s)")
    parser.add_argument("--seconds", type=float, default=2.0, help="of each load of a server (%(default)s)")
    parser.add_argument("--data-dir", type=Path, default=Path("build/bench/serve"), help="of the servers (%(default)s)")
    options = parser.parse_args()
    print(f"{machine.describe()}, `python bench/decoders.py`")
    for part in options.parts.split(","):
        {"decoders": decoders, "servers": servers}[part](options)


def decoders(options: argparse.Namespace) -> None:
    """Prints what decoding takes."""
    cores = len(os.sched_getaffinity(0))
    sets = {
        "32 x 32, JPEG": [photograph(seed, (32, 32), "JPEG") for seed in range(16)],
        "500 x 375, JPEG": [photograph(seed, (500, 375), "JPEG") for seed in range(16)],
        "4032 x 3024, JPEG": [photograph(0, (4032, 3024), "JPEG")],
    }
    start = time.monotonic()
    pool = Pool(cores, limit_seconds=60, on_end=lambda _: None, log=structlog.get_logger())
    seconds = time.monotonic() - start
    ways: dict[str, Decoding] = {"threads": Here(), "processes": pool}
    print("\n| picture | | one at a time: ms, median (99th) | pictures/s, all cores | processor ms a picture |")
    print("|---|---|---|---|---|")
    for name, contents in sets.items():
        single: dict[str, list[float]] = {way: [] for way in ways}
        rates: dict[str, list[float]] = {way: [] for way in ways}
        spent: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(options.rounds):
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


def servers(options: argparse.Namespace) -> None:
    """Prints what callers notice of it, and the ratios of the server with decoders to the one without."""
    sets = {
        "640 x 480, JPEG": [photograph(seed, (640, 480), "JPEG") for seed in range(16)],
        "4032 x 3024, JPEG": [photograph(0, (4032, 3024), "JPEG")],
    }
    options.data_dir.mkdir(parents=True, exist_ok=True)
    subject, lines = tiny_subject(options.data_dir), []
    with ExitStack() as stack:
        ways = [services.eyas("threads"), services.eyas("processes", serving__decode_processes=str(len(os.sched_getaffinity(0))))]
        running = [stack.enter_context(services.serve(way, subject, Environments(Path()), None)) for way in ways]
        for name, contents in sets.items():
            asked = replace(subject, pictures=tuple(contents))
            sides = [replace(one, subject=asked, folder=Path(stack.enter_context(machine.scratch()))) for one in running]
            for at_once in AT_ONCE:
                rounds = [in_turn(sides, number, options.seconds, at_once) for number in range(options.rounds)]
                without, with_them = zip(*rounds, strict=True)
                ratios = [tuple(two / one for one, two in zip(*figures, strict=True)) for figures in rounds]
                lines += [(name, at_once, way.name, *cells(of)) for way, of in zip(ways, (without, with_them), strict=True)]
                lines.append((name, at_once, "processes / threads", *cells(ratios, spread=True)))
    head = ("picture", "calls at once", "", "calls/s", "p50, ms", "p99, ms", "processor, ms a call")
    print(f"\n{table(head, lines)}", flush=True)


def in_turn(sides: Sequence[Service], number: int, seconds: float, at_once: int) -> list[tuple[float, ...]]:
    """Returns calls/s, two percentiles and the processor's time of each server, every other round the last one first."""
    figures = {}
    for side in sides[:: 1 if number % 2 else -1]:
        measured = services.measure(side, None, seconds, concurrency=at_once, connections=at_once)
        if measured.failures:
            raise SystemExit(f"Calls failed: {measured.failures}.")
        known, count = measured.figures(), len(measured.answered)
        figures[side.contestant.name] = known["rate"], known["p50"], known["p99"], 1000 * measured.server_cpu * seconds / count
    return [figures[side.contestant.name] for side in sides]


def cells(rounds: Sequence[tuple[float, ...]], *, spread: bool = False) -> list[str]:
    """Returns the median of each column, and where half of the rounds lie."""
    quarters = [statistics.quantiles(column, n=4) for column in zip(*rounds, strict=True)]
    return [f"{middle:.2f}" + (f" ({low:.2f} to {high:.2f})" if spread else "") for low, middle, high in quarters]


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
