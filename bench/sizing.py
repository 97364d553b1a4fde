"""What trainings take of memory and disk, by backbone and dataset: `python bench/sizing.py FOLDER`.

FOLDER has train/ with pictures in a folder a label. Each training is a job of a trainer, of so many of these pictures, and is
cancelled once its fine-tuning, which takes the most, has gone on for a while. Memory is looked at four times a second: of the job
what jobs.memory_bytes bounds, of the trainer PSS. Networks start from files of random weights, and take what they would with
trained ones; from none they take more, as their batch normalisation is then trained, too.
"""

from __future__ import annotations

import argparse
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import machine
import timm
from safetensors.torch import save_file
from serving.load import tree
from serving.rows import table

import eyas
from eyasd.core.kin import memory_bytes

EVERY_SECONDS = 0.25


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--backbones", default="tf_efficientnet_lite0,resnet50", help="(%(default)s)")
    parser.add_argument("--pictures", default="500,3000", help="of the datasets (%(default)s)")
    parser.add_argument("--batch-size", type=int, default=32, help="(%(default)s)")
    parser.add_argument("--seconds", type=float, default=30.0, help="of fine-tuning (%(default)s)")
    options = parser.parse_args()
    print(f"{machine.describe()}\n\n`python bench/sizing.py {' '.join(sys.argv[1:])}`\n", flush=True)
    lines = []
    for count in map(int, options.pictures.split(",")):
        for backbone in options.backbones.split(","):
            with machine.scratch() as scratch:
                photos = take(options.folder, Path(scratch, "photos"), count)
                figures = training(Path(scratch), photos, backbone, options)
            lines.append([backbone, f"{count:,}", *(f"{figure / 2**20:,.0f}" for figure in figures)])
            print(*lines[-1], file=sys.stderr, flush=True)
    print(table(("backbone", "pictures", "its processes, MiB", "the trainer, MiB", "JOB_DIR, MiB", "cache/, MiB"), lines))


def training(scratch: Path, photos: Path, backbone: str, options: argparse.Namespace) -> tuple[int, int, int, int]:
    """Trains for a while; returns what the job's processes took at most, the trainer, the job's folder at most, and the cache."""
    weights, data_dir = scratch / f"{backbone}.safetensors", scratch / "data"
    save_file(timm.create_model(backbone).state_dict(), weights)
    settings = {"EYASD_TRAINING__WEIGHTS": str(weights), "EYASD_TRAINING__HUB": "false"}
    with machine.daemon("trainer", data_dir, settings=settings) as daemon, eyas.Client(daemon.address) as client:
        job = client.train(photos, "sized", backbone=backbone, batch_size=options.batch_size).id
        with watched(lambda: memory_bytes(processes_of(job))) as memory, watched(lambda: used(data_dir / "jobs")) as disk:
            end = float("inf")
            for event in client.watch_job(job):
                if event.progress is not None and event.progress.stage == "fine-tune" and event.progress.stage_fraction > 0:
                    end = min(end, time.monotonic() + options.seconds)
                if time.monotonic() > end:
                    break
            figures = (max(memory), pss(daemon.pid), max(disk), used(data_dir / "cache"))
            client.cancel_job(job)
            with suppress(eyas.JobCancelled):
                client.wait(job)
    return figures


def take(folder: Path, photos: Path, count: int) -> Path:
    """Links so many pictures, as many of each label as there are, into another folder; returns it."""
    by_label = [sorted(label.iterdir()) for label in sorted((folder / "train").iterdir())]
    in_turn = [file for number in range(max(map(len, by_label))) for files in by_label for file in files[number : number + 1]]
    for file in in_turn[:count]:
        (photos / file.parent.name).mkdir(parents=True, exist_ok=True)
        (photos / file.parent.name / file.name).symlink_to(file.resolve())
    return photos


@contextmanager
def watched(figure: Callable[[], int]) -> Iterator[Sequence[int]]:
    """Looks at a figure several times a second, until the end."""
    found, ended = [0], threading.Event()

    def look() -> None:
        while not ended.wait(EVERY_SECONDS):
            found.append(figure())

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield found
    finally:
        ended.set()
        thread.join()


def processes_of(job: str) -> list[int]:
    """Returns the processes of a job, those of its guard included."""
    found: set[int] = set()
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if f"jobs/{job}".encode() in (folder / "cmdline").read_bytes():
                found |= set(tree(int(folder.name)))
    return sorted(found)


def pss(pid: int) -> int:
    """Returns the memory of a process, in bytes; of what it shares, its share."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) * 1024


def used(folder: Path) -> int:
    """Returns the size of the files below a folder, in bytes."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                total += os.lstat(Path(place, name)).st_size
    return total


if __name__ == "__main__":
    main()
