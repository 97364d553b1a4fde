"""What the side-by-side trainings gave, as a table and as curves: test accuracy and log loss against wall-clock time."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import matplotlib as mpl
from matplotlib import pyplot as plt
from matplotlib.ticker import FuncFormatter, LogLocator

Row = dict[str, Any]
mpl.use("Agg")


def read(file: Path) -> list[Row]:
    """Returns the lines of the results; none where there is no file yet."""
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def cells(rows: Sequence[Row]) -> dict[tuple[Any, ...], list[Row]]:
    """Returns the rows of all seeds of each dataset, budget, contestant and tuning; a failure where there is nothing better."""
    grouped: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for row in rows:
        grouped[row["dataset"], row["budget"], row["contestant"], row["tuned"]].append(row)
    return {key: [r for r in group if "accuracy" in r] or group[-1:] for key, group in sorted(grouped.items())}


def table(rows: Sequence[Row]) -> str:
    """Returns the results in Markdown: the mean over the seeds and, where there are several, the lowest and the highest."""
    lines = [
        "| dataset | budget | contestant | seeds | test accuracy | log loss | seconds | what it did |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for (dataset, budget, name, tuned), group in cells(rows).items():
        who = f"| {dataset} | {budget:g} s | {name}{'' if tuned else ', untuned'}"
        if "error" in group[0]:
            lines.append(f"{who} | | | | | none: {group[0]['error']} |")
            continue
        scores = [
            spread([row[score] for row in group], digits) for score, digits in (("accuracy", 4), ("log_loss", 3), ("seconds", 0))
        ]
        lines.append(f"{who} | {len(group)} | {' | '.join(scores)} | {group[0]['note']} |")
    return "\n".join(lines)


def spread(values: Sequence[float], digits: int) -> str:
    """Returns the mean, and the range of several values."""
    mean = f"{fmean(values):.{digits}f}"
    return mean if len(values) == 1 else f"{mean} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def plot(rows: Sequence[Row], file: Path) -> None:
    """Draws a row of two panels a dataset: points are seeds, lines join the means of the budgets."""
    scored = [row for row in rows if "accuracy" in row]
    datasets = sorted({row["dataset"] for row in scored})
    if not datasets:
        return
    figure, panels = plt.subplots(len(datasets), 2, figsize=(11, 4.2 * len(datasets)), squeeze=False, layout="constrained")
    for dataset, pair in zip(datasets, panels, strict=True):
        for score, panel in zip(("accuracy", "log_loss"), pair, strict=True):
            for color, curve in enumerate(sorted({(row["contestant"], row["tuned"]) for row in scored})):
                of_curve = {key[1]: group for key, group in cells(scored).items() if (key[0], *key[2:]) == (dataset, *curve)}
                times = [fmean(row["seconds"] for row in group) for group in of_curve.values()]
                means = [fmean(row[score] for row in group) for group in of_curve.values()]
                panel.plot(times, means, color=f"C{color}", label=f"{curve[0]}{'' if curve[1] else ', untuned'}")
                points = [row for group in of_curve.values() for row in group]
                panel.scatter([row["seconds"] for row in points], [row[score] for row in points], color=f"C{color}", s=18)
            panel.set(xscale="log", xlabel="wall-clock seconds", ylabel=f"test {score.replace('_', ' ')}", title=dataset)
            panel.xaxis.set_major_locator(LogLocator(subs=(1, 3, 6)))
            panel.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
            panel.xaxis.set_minor_formatter(FuncFormatter(lambda *_: ""))
            panel.grid(alpha=0.3, which="both")
    panels[0][0].legend()
    figure.savefig(file)
    print(f"The plot is {file}.")
