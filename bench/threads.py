"""How a network is best run on this machine's processors: `python bench/threads.py MODEL.onnx`.

Four tables, of the server's own sessions on pictures of noise:

    options     one thread, each setting of ONNX Runtime beside the server's, in turn; the quickest run of each. With `--beside`
                another file of the same network is one more row.
    processors  engines, each a process, times threads of each, with and without threads that spin and engines that are pinned,
                one by one and in batches; alone, and beside one more process that never waits, as decoders under load are.
    pages       one thread in processes with small and with huge pages (glibc's tunable), in turn.
    memory      of a process that loads the file and runs batches of growing sizes.
"""

from __future__ import annotations

import argparse
import gc
import multiprocessing
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import product
from multiprocessing.synchronize import Barrier, Event
from os import sched_setaffinity
from pathlib import Path
from typing import Any

import machine
import numpy as np
import onnxruntime as ort

from eyasd.core.bundle import INPUT, OOD_SCORE, PROBABILITIES
from eyasd.core.processors import cores
from eyasd.core.stopwatch import quickest
from eyasd.serving.network.providers import CPU, session_options
from eyasd.serving.network.session import Session, trim

Change = Callable[[ort.SessionOptions], object]


def entry(key: str, value: str) -> Change:
    return lambda options: options.add_session_config_entry(key, value)


def attribute(name: str, value: object) -> Change:
    return lambda options: setattr(options, name, value)


LEVELS = ort.GraphOptimizationLevel
OPTIONS: dict[str, Change] = {
    "as the server": lambda _: None,
    "denormals as zero": entry("session.set_denormal_as_zero", "1"),
    "no plan of memory": attribute("enable_mem_pattern", False),
    "no arena": attribute("enable_cpu_mem_arena", False),
    "no prepacked weights": entry("session.disable_prepacking", "1"),
    "pointwise convolutions of 32 channels at once": entry("mlas.nchwc_pointwise_conv_max_input_channel_batch", "32"),
    "no layouts for this processor": attribute("graph_optimization_level", LEVELS.ORT_ENABLE_EXTENDED),
    "nor fused activations": attribute("graph_optimization_level", LEVELS.ORT_ENABLE_BASIC),
}
SIZES = (1, 2, 4, 8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--beside", type=Path, help="another file of the same network")
    parser.add_argument("--rounds", type=int, default=25, help="of the options (%(default)s)")
    parser.add_argument("--seconds", type=float, default=1.0, help="of each row of the processors (%(default)s)")
    parser.add_argument("--passes", type=int, default=3, help="over these rows, of which each shows its best (%(default)s)")
    parser.add_argument("--limit", type=float, default=90, help="seconds, after which no further pass goes on (%(default)s)")
    parser.add_argument("--tables", default="options,processors,pages,memory", help="which to make (%(default)s)")
    arguments = parser.parse_args()
    print(f"{machine.describe()}, onnxruntime {ort.__version__}, `python bench/threads.py {' '.join(sys.argv[1:])}`")
    for table in arguments.tables.split(","):
        {"options": compare, "processors": share, "pages": compare_pages, "memory": weigh}[table](arguments)


def opened(model: Path, threads: int, *changes: Change) -> ort.InferenceSession:
    options = session_options(CPU, threads)
    for change in changes:
        change(options)
    return ort.InferenceSession(model.read_bytes(), options, providers=[CPU], enable_fallback=0)


def runner(session: ort.InferenceSession, size: int) -> Callable[[], object]:
    """Returns a run of a batch of noise, as the server makes it."""
    shape = session.get_inputs()[0].shape[1:]
    images = np.random.default_rng(0).integers(0, 256, (size, *shape), np.uint8)
    names = [output.name for output in session.get_outputs() if output.name in (PROBABILITIES, OOD_SCORE)]
    return partial(session.run, names, {INPUT: images})


def compare(arguments: argparse.Namespace) -> None:
    sched_setaffinity(0, cores()[-1:])
    sessions = {name: opened(arguments.model, 1, change) for name, change in OPTIONS.items()}
    if arguments.beside:
        sessions[arguments.beside.name] = opened(arguments.beside, 1)
    print(f"\n| options | {' | '.join(f'ms a picture, {size} at once' for size in SIZES)} | times as fast, 1 | 8 |")
    print(f"|{(len(SIZES) + 3) * '---|'}")
    columns = []
    for size in SIZES:
        runs = [runner(session, size) for session in sessions.values()]
        quickest(runs, 2)
        columns.append([1000 * seconds / size for seconds in quickest(runs, arguments.rounds)])
    for name, row in zip(sessions, zip(*columns, strict=True), strict=True):
        gains = [column[0] / value for column, value in zip(columns, row, strict=True)]
        print(f"| {name} | {' | '.join(f'{value:.2f}' for value in row)} | {gains[0]:.3f} | {gains[-1]:.3f} |")
    sched_setaffinity(0, ALL)


def share(arguments: argparse.Namespace) -> None:
    count = len(ALL)
    layouts = [(engines, threads) for engines, threads in product(range(1, count + 1), repeat=2) if engines * threads <= count]
    rows = [
        (engines, threads, spin, pinned, size)
        for (engines, threads), spin, pinned, size in product(layouts, (False, True), (False, True), (1, 8))
        if not (spin and threads == 1) and not (pinned and engines * threads == 1)
    ]
    alone, beside = ({row: (0.0, [0.0]) for row in rows} for _ in range(2))
    end = time.monotonic() + arguments.limit
    for number in range(arguments.passes):
        for row in rows:
            if number and time.monotonic() > end:
                break
            alone[row] = max(alone[row], measure(arguments, *row, busy=False))
            if row[-1] == 1:
                beside[row] = max(beside[row], measure(arguments, *row, busy=True))
    print("\n| engines | threads of each | spin | pinned | at once | pictures/s | ms a batch, p50 | p99 | beside a busy process |")
    print(f"|{9 * '---|'}")
    for row in rows:
        engines, threads, spin, pinned, size = row
        marks = " | ".join("yes" if mark else "" for mark in (spin, pinned))
        p50, p99 = np.percentile(alone[row][1], (50, 99)) * 1000
        rest = f"{alone[row][0]:.1f} | {p50:.1f} | {p99:.1f} | {f'{beside[row][0]:.1f}' if beside[row][0] else ''}"
        print(f"| {engines} | {threads} | {marks} | {size} | {rest} |")


def measure(
    arguments: argparse.Namespace, engines: int, threads: int, spin: bool, pinned: bool, size: int, *, busy: bool
) -> tuple[float, list[float]]:
    """Returns pictures/s of all engines, and the seconds of each batch."""
    context = multiprocessing.get_context("spawn")
    ready, results, over = context.Barrier(engines + 1), context.SimpleQueue(), context.Event()
    processes = [
        context.Process(
            target=engine,
            args=(arguments.model, ALL[number * threads :][:threads], spin, pinned, size, arguments.seconds, ready, results),
        )
        for number in range(engines)
    ]
    for process in processes:
        process.start()
    idle = context.Process(target=never_waits, args=(over,))
    if busy:
        idle.start()
    ready.wait()
    times = [seconds for _ in processes for seconds in results.get()]
    over.set()
    for process in (*processes, *([idle] if busy else [])):
        process.join()
    return size * len(times) / (sum(times) / engines), times


def engine(
    model: Path, own: Sequence[int], spin: bool, pinned: bool, size: int, seconds: float, ready: Barrier, results: Any
) -> None:
    ort.set_default_logger_severity(3)  # it warns that the entry below was set before
    changes = [entry("session.intra_op.allow_spinning", str(int(spin)))]
    if pinned:
        sched_setaffinity(0, own[:1])
        if len(own) > 1:  # of the threads beside the one that runs; ONNX Runtime counts processors from 1
            changes.append(entry("session.intra_op_thread_affinities", ";".join(str(core + 1) for core in own[1:])))
    run = runner(opened(model, len(own), *changes), size)
    for _ in range(3):
        run()
    ready.wait()
    times = []
    end = time.perf_counter() + seconds
    while (start := time.perf_counter()) < end:
        run()
        times.append(time.perf_counter() - start)
    results.put(times)


def never_waits(over: Event) -> None:
    while not over.is_set():
        sum(range(10_000))


def compare_pages(arguments: argparse.Namespace) -> None:
    print("\n| at once | pictures/s | with huge pages | times as fast |\n|---|---|---|---|")
    tunable = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}
    for size in (1, 8):
        rounds = []
        for _ in range(5):
            pair = []
            for more in ({}, tunable):
                os.environ.update(more)
                pair.append(size / min(measure(arguments, 1, 1, False, True, size, busy=False)[1]))
                os.environ.pop("GLIBC_TUNABLES", None)
            rounds.append(pair)
        small, huge = (statistics.median(column) for column in zip(*rounds, strict=True))
        print(
            f"| {size} | {small:.1f} | {huge:.1f} | {statistics.median(huge / small for small, huge in rounds):.3f} |", flush=True
        )


def weigh(arguments: argparse.Namespace) -> None:
    context = multiprocessing.get_context("spawn")
    with context.Pool(1) as pool:
        rows = pool.apply(memory, (arguments.model,))
    print("\n| memory of the process, MiB | |\n|---|---|")
    for what, mib in rows:
        print(f"| {what} | {mib:.0f} |")


def memory(model: Path) -> list[tuple[str, float]]:
    rows = [("before", resident())]
    content = model.read_bytes()
    plain = ort.InferenceSession(content, session_options(CPU, 1), providers=[CPU])
    del content
    rows.append(("with a session of ONNX Runtime", resident()))
    shape = plain.get_inputs()[0].shape[1:]
    del plain
    gc.collect()
    trim()
    rows.append(("without it", resident()))
    session = Session(model.read_bytes(), provider=CPU, threads=1, max_batch_size=32)
    trim()
    rows.append(("with a session of the server", resident()))
    for size in (1, 2, 4, 8, 16, 32):
        for _ in range(2):
            session.run(np.zeros((size, *shape), np.uint8))
        rows.append((f"after batches of {size}", resident()))
    return rows


def resident() -> float:
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) / 1024 for line in status.splitlines() if line.startswith("VmRSS"))


ALL = cores()

if __name__ == "__main__":
    main()
