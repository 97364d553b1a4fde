"""Test accuracy and wall time of trainings, through the whole service: `python bench/train.py FOLDER`.

FOLDER holds train/, validation/ and test/, or class folders that Eyas splits. Prints one Markdown row a run; the time is the
job's own, from the start of its process to the published version.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import machine

import eyas


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument(
        "--preset", action="append", choices=["fast", "balanced", "best"], help="may be repeated; fast and balanced"
    )
    parser.add_argument("--budget", default="30m", help="of balanced and best (30m)")
    parser.add_argument("--seed", type=int, action="append", help="may be repeated; 0")
    options = parser.parse_args()
    print(machine.describe(), f"\n`python bench/train.py` on {options.folder.name}\n")
    print("| preset | budget | seed | accuracy (95 % interval) | macro F1 | log loss | calibration error | seconds |")
    print("|---|---|---|---|---|---|---|---|")
    with machine.scratch() as folder, machine.daemon("all", Path(folder)) as daemon, eyas.Client(daemon.address) as client:
        for preset in options.preset or ["fast", "balanced"]:
            budget = None if preset == "fast" else options.budget
            for seed in options.seed or [0]:
                row(client, options.folder.resolve(), preset, budget, seed)


def row(client: eyas.Client, folder: Path, preset: str, budget: str | None, seed: int) -> None:
    job = client.train(folder, "bench", preset=preset, budget=seconds(budget), seed=seed)
    done = client.wait(job.id)
    assert done.evaluation is not None
    assert done.start_time is not None
    assert done.end_time is not None
    e, took = done.evaluation, done.end_time - done.start_time
    interval = f"{e.accuracy_interval.low:.3f} to {e.accuracy_interval.high:.3f}"
    scores = f"{e.accuracy:.4f} ({interval}) | {e.macro_f1:.4f} | {e.log_loss:.3f} | {e.calibration_error:.3f}"
    print(f"| {preset} | {budget or 'none'} | {seed} | {scores} | {took.total_seconds():.0f} |", flush=True)


def seconds(budget: str | None) -> float | None:
    if budget is None:
        return None
    return float(budget.removesuffix("m")) * 60 if budget.endswith("m") else float(budget.removesuffix("s"))


if __name__ == "__main__":
    main()
