"""How long it takes from the submission of a training to its first step, on a trainer that runs: `python bench/start.py`.

The pictures are few and drawn here, the network is small and starts from random weights, so that what is timed is Eyas and what
it imports: the queue, the start of the program, the audit, the decoding, the head, and the first step of the fine-tuning. The first
round is left out: in it the kernel reads PyTorch from disk. The stages are timed where they reach the caller, over WatchJob.
"""

from __future__ import annotations

import argparse
import colorsys
import contextlib
import statistics
import time
from pathlib import Path

import machine
import numpy as np
from PIL import Image

import eyas

# In the order in which a training comes by them.
MOMENTS = ("RUNNING", "audit", "weights", "decode", "head", "fine-tune", "first step")
LABELS = 4


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=200, help="(%(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="besides the first (%(default)s)")
    parser.add_argument("--backbone", default="tf_efficientnet_lite0", help="(%(default)s)")
    options = parser.parse_args()
    print(f"{machine.describe()}\n\n`python bench/start.py`, {options.pictures} pictures, {options.backbone}\n")
    with machine.scratch() as scratch:
        draw(Path(scratch, "photos"), options.pictures)
        with machine.daemon("trainer", Path(scratch, "data")) as daemon, eyas.Client(daemon.address) as client:
            rounds = [started(client, Path(scratch, "photos"), options.backbone) for _ in range(options.rounds + 1)][1:]
    print("| from the submission until | median, s | least | most |\n|---|---|---|---|")
    for moment in MOMENTS:
        times = [times[moment] for times in rounds]
        print(f"| {moment} | {statistics.median(times):.2f} | {min(times):.2f} | {max(times):.2f} |")


def started(client: eyas.Client, photos: Path, backbone: str) -> dict[str, float]:
    """Trains until the first step is done; returns when each moment was first heard of, in seconds."""
    begin = time.perf_counter()
    job = client.train(photos, "drawn", backbone=backbone, pretrained=False, epochs=1)
    found: dict[str, float] = {}
    for event in client.watch_job(job.id):
        now = time.perf_counter() - begin
        if event.job is not None:
            found.setdefault(event.job.state.name, now)
        if event.progress is not None:
            found.setdefault(event.progress.stage, now)
            if event.progress.stage == "fine-tune" and event.progress.stage_fraction > 0:
                found.setdefault("first step", now)
                break
    client.cancel_job(job.id)
    with contextlib.suppress(eyas.JobCancelled):
        client.wait(job.id)
    return found


def draw(folder: Path, count: int) -> None:
    """Writes noisy pictures, 320 by 240 pixels, of as many colours as there are labels."""
    noise = np.random.default_rng(0)
    for number in range(count):
        label = number % LABELS
        path = folder / str(label) / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        colour = 255 * np.array(colorsys.hsv_to_rgb(label / LABELS, 0.7, 0.8))
        Image.fromarray(np.clip(colour + noise.normal(0, 30, (240, 320, 3)), 0, 255).astype(np.uint8)).save(path)


if __name__ == "__main__":
    main()
