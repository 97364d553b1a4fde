"""How a network is best run on this machine's processors: `python bench/threads.py MODEL.onnx`.

Four tables, of the server's own sessions on pictures of noise:

    options     one thread, each setting of ONNX Runtime beside the server's, in turn; the quickest run of each. With `--beside`
                another file of the same network is one more row.
    processors  engines, each a process, times threads of each, with and without threads that spin and engines that are pinned,
                one by one and in batches; alone, and beside one more process that never waits, as decoders under load are. They
                take turns, and the best turn of each is shown: what came between is not the layout's fault.
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
from os import sched_setaffinity
from pathlib import Path
from typing import Any

import machine
import numpy as np
import onnxruntime as ort

from eyasd.core.bundle import INPUT, OOD_SCORE, PROBABILITIES
from eyasd.core.heap import trim
from eyasd.core.processors import cores
from eyasd.core.stopwatch import quickest
from eyasd.serving.network.providers import CPU, session_options
from eyasd.serving.network.session import Session

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
SPINS = ("no", "in a run")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--beside", type=Path, help="another file of the same network")
    parser.add_argument("--rounds", type=int, default=25, help="of the options (%(default)s)")
    parser.add_argument("--seconds", type=float, default=0.25, help="of a turn of the processors, the best is shown (%(default)s)")
    parser.add_argument("--limit", type=float, default=60, help="of their turns, seconds (%(default)s)")
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
    layouts = [
        Layout(arguments.model, engines, threads, spin, pinned)
        for (engines, threads), spin, pinned in product(product(range(1, count + 1), repeat=2), SPINS, (False, True))
        if engines * threads <= count and not (spin != "no" and threads == 1) and not (pinned and engines * threads == 1)
    ]
    rows = [(layout, size, busy) for layout in layouts for size, busy in ((1, False), (8, False), (1, True))]
    best: dict[tuple[Layout, int, bool], tuple[float, list[float]]] = {row: (0.0, []) for row in rows}
    end = time.monotonic() + arguments.limit
    while time.monotonic() < end:
        for row in rows:
            best[row] = max(best[row], row[0].measure(row[1], arguments.seconds, busy=row[2]))
    for layout in layouts:
        layout.close()
    print(
        "\n| engines | threads of each | spin | pinned | at once | pictures/s | ms a batch, p50 | longest | beside a busy process |"
    )
    print(f"|{9 * '---|'}")
    for layout, size in product(layouts, (1, 8)):
        rate, times = best[layout, size, False]
        beside = f"{best[layout, 1, True][0]:.0f}" if size == 1 else ""
        print(f"| {layout} | {size} | {rate:.0f} | {1000 * statistics.median(times):.1f} | {1000 * max(times):.1f} | {beside} |")


class Layout:
    """Engine processes that share the cores in some way, and one that only takes time."""

    def __init__(self, model: Path, engines: int, threads: int, spin: str, pinned: bool) -> None:
        context = multiprocessing.get_context("spawn")
        self._text = f"{engines} | {threads} | {spin if threads > 1 else ''} | {'yes' if pinned else ''}"
        self._pipes, self._processes = [], []
        for number in range(engines):
            ours, theirs = context.Pipe()
            own = ALL[number * threads :][:threads]
            process = context.Process(target=engine, args=(model, own, spin, pinned, theirs), daemon=True)
            process.start()
            self._pipes.append(ours)
            self._processes.append(process)
        self._idler, theirs = context.Pipe()
        self._processes.append(context.Process(target=never_waits, args=(theirs,), daemon=True))
        self._processes[-1].start()
        for pipe in (*self._pipes, self._idler):
            pipe.recv()

    def __str__(self) -> str:
        """Returns the columns that say what it is."""
        return self._text

    def measure(self, size: int, seconds: float, *, busy: bool) -> tuple[float, list[float]]:
        """Returns pictures/s of all engines, and the seconds of each batch."""
        for pipe in (*([self._idler] if busy else []), *self._pipes):
            pipe.send((size, seconds))
        times = [pipe.recv() for pipe in self._pipes]
        if busy:
            self._idler.recv()
        return sum(size * len(own) / sum(own) for own in times), [one for own in times for one in own]

    def close(self) -> None:
        """Ends the processes."""
        for process in self._processes:
            process.terminate()
            process.join()


def engine(model: Path, own: Sequence[int], spin: str, pinned: bool, pipe: Any) -> None:
    ort.set_default_logger_severity(3)  # it warns that the entry below was set before
    changes = [entry("session.intra_op.allow_spinning", str(int(spin != "no")))]
    if spin == "in a run":
        changes.append(entry("session.force_spinning_stop", "1"))
    if pinned:
        sched_setaffinity(0, own[:1])
        if len(own) > 1:  # of the threads beside the one that runs; ONNX Runtime counts processors from 1
            changes.append(entry("session.intra_op_thread_affinities", ";".join(str(core + 1) for core in own[1:])))
    session = opened(model, len(own), *changes)
    runs = {size: runner(session, size) for size in (1, 8)}
    quickest(list(runs.values()), 3)
    pipe.send("ready")
    while True:
        size, seconds = pipe.recv()
        times = []
        end = time.perf_counter() + seconds
        while (start := time.perf_counter()) < end:
            runs[size]()
            times.append(time.perf_counter() - start)
        pipe.send(times)


def never_waits(pipe: Any) -> None:
    pipe.send("ready")
    while True:
        _, seconds = pipe.recv()
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            sum(range(10_000))
        pipe.send("over")


def compare_pages(arguments: argparse.Namespace) -> None:
    print("\n| at once | pictures/s | with huge pages | times as fast |\n|---|---|---|---|")
    tunable = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}
    for size in (1, 8):
        rounds = []
        for _ in range(5):
            pair = []
            for more in ({}, tunable):
                os.environ.update(more)
                layout = Layout(arguments.model, 1, 1, "no", True)
                os.environ.pop("GLIBC_TUNABLES", None)
                pair.append(size / min(layout.measure(size, 1.0, busy=False)[1]))
                layout.close()
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
