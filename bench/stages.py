"""Each stage of a training beside what its work costs alone on this machine: `python bench/stages.py FOLDER`.

Up to 2,048 pictures of FOLDER, which is as for a training, are taken. In turn, several rounds of it:

    decode       from files to the rows of a new cache on disk; the bound is `load_image` on bytes in memory, in one process a core
    features     of the frozen backbone, of real pictures; the bound is the same ONNX session (torch on a GPU) on one random batch
    fine-tuning  the steps of the loop with all that belongs to them, such as augmentation and averages; the bound is forward,
                 backward and optimizer of the same network, on one random batch that lies on the device

Each figure is the median over the rounds; the ratio is taken within a round. A network has its pre-trained weights where a package
has them, else random ones, which are as quick; its batch normalisation is folded as in a training. A GPU fine-tunes in bfloat16.
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from multiprocessing.queues import SimpleQueue
from multiprocessing.synchronize import Barrier
from pathlib import Path

import machine
import numpy as np
import torch
from torch.nn import functional

from eyasd.core.errors import EyasError
from eyasd.core.evaluation import EpochMetrics
from eyasd.core.findings import DatasetReport
from eyasd.core.preprocess import Preprocess, load_image
from eyasd.core.processors import cpu_count
from eyasd.core.spec import TrainSpec
from eyasd.training.budget import Budget
from eyasd.training.data.audit import Audit
from eyasd.training.data.cache import Pictures, decode
from eyasd.training.data.listing import TEST, TRAIN, VALIDATION, File, Listing, list_files
from eyasd.training.data.targets import targets_of
from eyasd.training.device import layout, tune
from eyasd.training.head import features, weights
from eyasd.training.head.fold import fold
from eyasd.training.journal import Interrupted, Journal
from eyasd.training.machine import restart_tuned
from eyasd.training.network import Network, device_name, input_format, pick_device
from eyasd.training.recipe import DEFAULT_BACKBONE, Recipe, resolve
from eyasd.training.tuning.loop import FineTuning
from eyasd.training.tuning.optimizer import build_optimizer

ON_A_GPU = ("resnet50", "convnext_tiny", "efficientnet_b0", "vit_small_patch16_224")
PICTURES = 2048
WARM_UP = 3  # steps, in which memory is allocated and kernels are chosen
# Pictures/s beyond every backbone, so that no epoch ends within a round: what comes between two epochs is no step.
FASTEST = 8000
HEAD = EpochMetrics(epoch=0, train_loss=9.0, loss=9.0, accuracy=0.0, macro_precision=0.0, macro_recall=0.0, macro_f1=0.0)


class Stopwatch(Journal):
    """Takes the pace of a stage from what it says of its progress, and interrupts it when the time is up."""

    def __init__(self, folder: Path, seconds: float) -> None:
        super().__init__(folder / "progress.jsonl", {"stage": 1.0})
        self._seconds, self._steps = seconds, 0
        self.pace = 0.0  # share of the stage in a second

    def advance(self, fraction: float, *, images_per_second: float = 0.0, loss: float | None = None) -> None:
        """Counts a step."""
        super().advance(fraction, images_per_second=images_per_second, loss=loss)
        self._steps += 1
        if self._steps == WARM_UP:
            self._begun, self._start = fraction, now()
        elif self._steps > WARM_UP and time.perf_counter() - self._start > self._seconds:
            self.pace = (fraction - self._begun) / (now() - self._start)
            raise Interrupted


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=10.0, help="of each measurement (%(default)s)")
    parser.add_argument("--backbone", action="append", help=f"may be repeated ({DEFAULT_BACKBONE}; on a GPU four more)")
    options = parser.parse_args()
    restart_tuned()
    torch.set_num_threads(cpu_count())
    backbones = options.backbone or [DEFAULT_BACKBONE, *(ON_A_GPU if torch.cuda.is_available() else ())]
    try:
        files = list_files(options.folder.resolve()).files
        files = tuple(random.Random(0).sample(files, min(PICTURES, len(files))))  # noqa: S311 -- any sample will do
        specs = {name: input_format(name).preprocess(input_format(name).native_px) for name in backbones}
    except (EyasError, OSError) as error:
        sys.exit(str(error))
    print(f"{machine.describe()}, torch {torch.__version__} on {device_name()}")
    print(
        f"\n`python bench/stages.py` on {options.folder.name}\n\n| stage | pictures/s | bound | of the bound |\n|---|---|---|---|"
    )
    for name, spec in specs.items():
        with machine.scratch() as scratch:
            new_folder = partial(tempfile.mkdtemp, dir=scratch)
            rate, pictures = decoded(files, spec, new_folder())
            readable = [file for file, entry in zip(files, pictures.entries, strict=True) if not entry.problem]
            if len(readable) < cpu_count():
                sys.exit(f"{options.folder} has {len(readable)} readable pictures; name a folder with some hundreds.")
            if name == backbones[0]:
                measure_decode(readable[: max(cpu_count(), int(rate * options.seconds))], spec, options, new_folder)
            measure_network(name, files, pictures, options, new_folder)


def row(stage: str, options: argparse.Namespace, of_eyas: Callable[[], float], bound: Callable[[], float]) -> None:
    """Prints a line of the table, of functions that return pictures/s."""
    rounds = [(of_eyas(), bound()) for _ in range(options.rounds)]
    ours, bare = (statistics.median(column) for column in zip(*rounds, strict=True))
    ratios = [one / other for one, other in rounds]
    spread = f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"
    print(f"| {stage} | {ours:.1f} | {bare:.1f} | {spread} |", flush=True)


def measure_decode(files: Sequence[File], spec: Preprocess, options: argparse.Namespace, new_folder: Callable[[], str]) -> None:
    def bare() -> float:
        context = multiprocessing.get_context("forkserver")
        ready, rates = context.Barrier(cpu_count()), context.SimpleQueue()
        shares = [[file.path for file in files[core :: cpu_count()]] for core in range(cpu_count())]
        workers = [context.Process(target=decode_share, args=(share, spec, ready, rates)) for share in shares]
        for worker in workers:
            worker.start()
        return sum(rates.get() for _ in workers)

    row("decode", options, lambda: decoded(files, spec, new_folder())[0], bare)


def decoded(files: Sequence[File], spec: Preprocess, folder: str) -> tuple[float, Pictures]:
    start = now()
    pictures = decode(files, spec, Path(folder), None, Journal(Path(folder, "progress.jsonl"), {"stage": 1.0}))
    return len(files) / (now() - start), pictures


def decode_share(paths: Sequence[Path], spec: Preprocess, ready: Barrier, rates: SimpleQueue[float]) -> None:
    contents = [path.read_bytes() for path in paths]
    ready.wait()
    start = now()
    for content in contents:
        load_image(content, spec)
    rates.put(len(contents) / (now() - start))


def measure_network(
    name: str, files: tuple[File, ...], pictures: Pictures, options: argparse.Namespace, new_folder: Callable[[], str]
) -> None:
    listing, form, device = Listing(files, (), ()), input_format(name), pick_device()
    # So slow that random weights do not diverge.
    count = int(FASTEST * options.seconds)
    recipe = resolve(TrainSpec(backbone=name, learning_rate=1e-6), len(files), form.native_px, training=count)
    network = Network(recipe, form, len(listing.labels))
    if name in weights.at_hand(None):
        weights.load(network.backbone, name, None, hub=False)
    fold(network.body, recipe.image_size_px)
    network.to(device)
    images = pictures.images
    rows = np.resize([row for row, entry in enumerate(pictures.entries) if not entry.problem], count)
    splits, none = {TRAIN: rows, VALIDATION: rows[:32], TEST: rows[:32]}, np.zeros(len(images), np.bool_)
    data = Audit(listing.labels, splits, targets_of(listing, listing.labels), rows, none, DatasetReport((), (), (), ""))

    def paced(pictures: int, stage: Callable[[Path, Journal], object]) -> float:
        folder = Path(new_folder())
        watch = Stopwatch(folder, options.seconds)
        try:
            stage(folder, watch)
        except Interrupted:
            return watch.pace * pictures
        sys.exit("The stage ended before its time was up: raise FASTEST.")

    def extracted() -> float:
        return paced(len(rows), lambda folder, watch: features.extract(network.body, images, rows, folder, "", watch))

    def tuned() -> float:
        def stage(folder: Path, watch: Journal) -> None:
            next(FineTuning(network, recipe, images, data, Budget(), folder, "", watch).epochs(HEAD))

        return paced(recipe.samples, stage)  # the progress is that of all epochs

    forward = features._forward(network.body.eval(), device, recipe.image_size_px, len(rows), Path(new_folder()))
    batch = torch.randint(256, (features._BATCH, *images.shape[1:]), dtype=torch.uint8, device=device)
    row(f"features, {name}", options, extracted, lambda: repeated(lambda: forward(batch), len(batch), options.seconds))
    tune()
    row(f"fine-tuning, {name}", options, tuned, lambda: bare_steps(network, recipe, len(listing.labels), options.seconds))


def bare_steps(network: Network, recipe: Recipe, labels: int, seconds: float) -> float:
    """Trains in the mode in which the fine-tuning before has left the network."""
    device, px = pick_device(), recipe.image_size_px
    pixels = 255 * torch.rand(recipe.batch_size, 3, px, px, device=device).contiguous(memory_format=layout(recipe.backbone, device))
    targets = torch.randint(labels, (recipe.batch_size,), device=device)
    optimizer = build_optimizer(network, recipe)

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            logits = network(pixels)
        functional.cross_entropy(logits.float(), targets).backward()
        optimizer.step()

    return repeated(step, recipe.batch_size, seconds)


def repeated(call: Callable[[], object], pictures: int, seconds: float) -> float:
    """Repeats a call that takes so many pictures; returns pictures/s."""
    for _ in range(WARM_UP):
        call()
    start, calls = now(), 0
    while time.perf_counter() - start < seconds:
        call()
        calls += 1
    return calls * pictures / (now() - start)


def now() -> float:
    """Returns the seconds of a clock; what was given to a GPU is done by then."""
    if torch.cuda.is_initialized():
        torch.cuda.synchronize()
    return time.perf_counter()


if __name__ == "__main__":
    main()
