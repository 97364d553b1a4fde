"""Scenario 5: the memory of all the daemon's processes while it is under load, and whether it grows."""

from __future__ import annotations

import argparse
import math
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

from serving import services
from serving.rows import Rows, figure, table
from serving.services import Environments, begin, finish
from serving.subject import Subject

CONCURRENCY = 8
SAMPLES_A_MINUTE = 6
# What the first minutes allocate, they allocate for good: caches, arenas, threads.
SETTLING = 0.1


def memory(options: argparse.Namespace, rows: Rows, subject: Subject, environments: Environments) -> None:
    """Measures, unless the rows have it, and prints the table; the plot lies beside the results."""
    cell = {"scenario": "5", "subject": subject.model, "minutes": options.minutes}
    if not rows.where(**cell, kind="whole"):
        with services.serve(services.eyas(), subject, environments, options.server_cores) as service:
            start, calls, failed = time.monotonic(), 0, 0
            while time.monotonic() - start < 60 * options.minutes:
                seconds = 60 * min(1.0, options.minutes)
                load = begin(service, options.load_cores, seconds, concurrency=CONCURRENCY)
                samples = []
                for _ in range(SAMPLES_A_MINUTE):
                    time.sleep(seconds / (SAMPLES_A_MINUTE + 1))
                    samples.append(service.memory_mib())
                measured = finish(load)
                calls += len(measured.calls)
                failed += len(measured.calls) - len(measured.answered)
                minutes = round((time.monotonic() - start) / 60, 3)
                rows.add(cell | {"kind": "minute"}, at=minutes, mib=round(statistics.fmean(samples), 2), calls=calls, failed=failed)
        rows.add(cell | {"kind": "whole"})
    points = [(row["at"], row["mib"]) for row in rows.where(**cell, kind="minute")]
    settled = points[math.ceil(SETTLING * len(points)) :]
    lines = [(f"minute {at:.0f}", figure(mib)) for at, mib in points[:: max(1, len(points) // 8)]]
    slope, error = trend(settled)
    last = rows.where(**cell, kind="minute")[-1]
    lines.append(("growth, MiB an hour, after the first tenth", f"{60 * slope:.1f} ± {60 * error:.1f}"))
    lines.append(("calls answered, failed", f"{last['calls'] - last['failed']:,}, {last['failed']:,}"))
    print(f"\n{table(('', 'MiB (PSS)'), lines)}\n")
    plot(points, options.results.with_suffix(".memory.svg"))


def trend(points: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """Returns the slope of the least squares, and two of its standard errors; the points are means of a minute each."""
    if len(points) < 3:
        return float("nan"), float("nan")
    times, values = zip(*points, strict=True)
    slope, intercept = statistics.linear_regression(times, values)
    squares = sum((value - intercept - slope * at) ** 2 for at, value in points)
    spread = sum((at - statistics.fmean(times)) ** 2 for at in times)
    return slope, 2 * math.sqrt(squares / (len(points) - 2) / spread)


def plot(points: Sequence[tuple[float, float]], file: Path) -> None:
    """Draws memory against time, from 0 on."""
    import matplotlib as mpl  # noqa: PLC0415 -- takes a second

    mpl.use("Agg")
    from matplotlib import pyplot as plt  # noqa: PLC0415

    figure_, axes = plt.subplots(figsize=(7, 2.6), layout="constrained")
    axes.plot(*zip(*points, strict=True), marker=".")
    axes.set(xlabel="minutes of load", ylabel="MiB (PSS)", ylim=(0, None))
    figure_.savefig(file)
    plt.close(figure_)
