"""What trainings and servers take of memory, disk and processors, by backbone and dataset: `python bench/sizing.py FOLDER`.

FOLDER has train/ with pictures in a folder a label. For each backbone a training of an epoch on so many of them, as a job of a
trainer; then a server that has all those versions, one more with each start, and is asked eight calls at once. Memory is looked at
four times a second: of trainings what jobs.memory_bytes bounds, of others PSS, in which what processes share counts once. Networks
start from files of random weights, and take what they would with trained ones.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import threading
import time
from collections.abc import Iterator, Sequence
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
CALLERS = 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--backbones", default="tf_efficientnet_lite0,resnet50", help="(%(default)s)")
    parser.add_argument("--pictures", default="500,3000", help="of the datasets (%(default)s)")
    parser.add_argument("--seconds", type=float, default=6.0, help="of the load of a server (%(default)s)")
    parser.add_argument("--settings", default="", help="of the server, such as EYASD_SERVING__ENGINES=thread; separated by spaces")
    parser.add_argument("--data-dir", type=Path, help="of models that were trained before; none is trained then")
    options = parser.parse_args()
    print(f"{machine.describe()}\n\n`python bench/sizing.py {' '.join(sys.argv[1:])}`\n", flush=True)
    with machine.scratch() as scratch:
        data_dir = options.data_dir or Path(scratch, "data")
        backbones = options.backbones.split(",")
        if options.data_dir is None:
            counts = [int(count) for count in options.pictures.split(",")]
            print(f"{trainings(options.folder, data_dir, Path(scratch, 'photos'), backbones, counts)}\n", flush=True)
        print(servers(options, data_dir, backbones))


def trainings(folder: Path, data_dir: Path, photos: Path, backbones: Sequence[str], counts: Sequence[int]) -> str:
    """Trains everything; returns a table."""
    lines = []
    weights = Path(data_dir, "..", "weights").resolve()
    weights.mkdir()
    for backbone in backbones:
        save_file(timm.create_model(backbone).state_dict(), weights / f"{backbone}.safetensors")
    for count in counts:
        take(folder, photos, count)
        for backbone in backbones:
            settings = {"EYASD_TRAINING__WEIGHTS": str(weights), "EYASD_TRAINING__HUB": "false"}
            with machine.daemon("trainer", data_dir, settings=settings) as daemon, eyas.Client(daemon.address) as client:
                job = client.train(photos, backbone, backbone=backbone, epochs=1, preset="fast")
                with (
                    watched(lambda job=job: memory_bytes(processes_of(job.id))) as memory,
                    watched(lambda: used(data_dir / "jobs")) as disk,
                ):
                    version = client.wait(job.id).version
                trainer = pss(daemon.pid)
            model = used(data_dir / "models" / backbone / str(version).rpartition("/")[2])
            figures = (max(memory), trainer, max(disk), used(data_dir / "cache"), model)
            lines.append([backbone, f"{count:,}", *(f"{figure / 2**20:,.0f}" for figure in figures)])
            shutil.rmtree(data_dir / "cache")
            print(lines[-1], file=sys.stderr, flush=True)
    headings = ("backbone", "pictures", "the job's processes, MiB", "the trainer", "JOB_DIR", "cache/", "the version")
    return table(headings, lines)


def take(folder: Path, photos: Path, count: int) -> None:
    """Links so many pictures, as many of each label as there are, into another folder."""
    shutil.rmtree(photos, ignore_errors=True)
    by_label = [sorted(label.iterdir()) for label in sorted((folder / "train").iterdir())]
    in_turn = [file for number in range(max(map(len, by_label))) for files in by_label for file in files[number : number + 1]]
    for file in in_turn[:count]:
        (photos / file.parent.name).mkdir(parents=True, exist_ok=True)
        (photos / file.parent.name / file.name).symlink_to(file.resolve())


def servers(options: argparse.Namespace, data_dir: Path, backbones: Sequence[str]) -> str:
    """Serves one version, two, and so on; returns a table."""
    settings = dict(one.split("=", 1) for one in options.settings.split())
    pictures = [file.read_bytes() for file in sorted((options.folder / "train").glob("*/*"))[::31]]
    lines = []
    for number in range(1, len(backbones) + 1):
        serving = Path(data_dir, "..", f"serving-{number}").resolve()
        for backbone in backbones[:number]:
            shutil.copytree(data_dir / "models" / backbone, serving / "models" / backbone, dirs_exist_ok=True)
        with machine.daemon("server", serving, settings=settings) as daemon:
            idle = sum(map(pss, tree(daemon.pid)))
            with watched(lambda pid=daemon.pid: sum(map(pss, tree(pid)))) as busy:
                answered = [ask(daemon.address, backbone, pictures, options.seconds) for backbone in backbones[:number]]
        lines.append([", ".join(backbones[:number]), f"{idle / 2**20:,.0f}", f"{max(busy) / 2**20:,.0f}", f"{answered[-1]:.1f}"])
        shutil.rmtree(serving)
    return table(("versions", "idle, MiB", "busy, MiB", "of the last, pictures/s on all cores"), lines)


def ask(address: str, model: str, pictures: Sequence[bytes], seconds: float) -> float:
    """Has some threads ask; returns the pictures a second."""
    answered, end = [0] * CALLERS, time.monotonic() + seconds

    def call(caller: int) -> None:
        with eyas.Client(address) as client:
            while time.monotonic() < end:
                client.classify(model, pictures[(answered[caller] * CALLERS + caller) % len(pictures)])
                answered[caller] += 1

    threads = [threading.Thread(target=call, args=(caller,)) for caller in range(CALLERS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(answered) / seconds


@contextmanager
def watched(figure) -> Iterator[list[int]]:  # type: ignore[no-untyped-def]
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
    with suppress(OSError):
        return (
            sum(
                int(line.split()[1])
                for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
                if line.startswith("Pss:")
            )
            * 1024
        )
    return 0


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
