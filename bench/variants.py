"""A network in fp32, fp16 and int8, side by side: `python bench/variants.py FOLDER --backbone NAME`.

A training makes each backbone's version with both variants, as `eyas train --variant int8 --variant fp16` does, so accuracy,
agreement, calibration error and size are those of its manifest, on the test split. With `--epochs` it is fine-tuned, `--random
NAME` from random weights; without, such a network is exported as it is, for its size and speed, which are those of any weights.

Then the server's own session runs each in turns with fp32, several rounds of it, on one thread and on all, one picture and a full
batch; the ratio is of the quickest run of each. On a CPU that is int8 with weights of 7 and of 8 bits, on a GPU fp16.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import machine
import numpy as np
import torch

from eyasd.core import document, jobdir
from eyasd.core.bundle import GOLDEN, LOGITS, MANIFEST, MODEL, PROBABILITIES, Golden, Manifest, read_manifest
from eyasd.core.device import Device
from eyasd.core.spec import Loss, Preset, TrainSpec
from eyasd.core.stopwatch import quickest
from eyasd.core.tasks import TrainingTask
from eyasd.core.variants import Precision
from eyasd.serving.network.providers import CPU, CUDA, DEFAULT_BATCH_SIZES, choose_provider
from eyasd.serving.network.session import Session
from eyasd.training.network import Network, Servable, input_format
from eyasd.training.outcome.export import to_onnx
from eyasd.training.outcome.precision import to_fp16, to_int8
from eyasd.training.recipe import resolve

BUILDERS = {
    CPU: {f"int8, weights of {bits} bits": partial(to_int8, weight_bits=bits) for bits in (7, 8)},
    CUDA: {"fp16": to_fp16},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--backbone", action="append", default=[], help="with its pre-trained weights; may be repeated")
    parser.add_argument("--random", action="append", default=[], help="from random weights; may be repeated")
    parser.add_argument("--epochs", type=int, default=0, help="of fine-tuning (the head alone)")
    parser.add_argument("--image-size", type=int, help="in pixels (the backbone's own)")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--keep", type=Path, help="folder in which the versions are left, and found again")
    options = parser.parse_args()
    provider = choose_provider(Device.AUTO)
    print(f"{machine.describe()}, on {provider}, `python bench/variants.py {' '.join(sys.argv[1:])}`")
    answers, speeds = [], []
    with machine.scratch() as scratch:
        for name in (*options.backbone, *options.random):
            px = options.image_size or input_format(name).native_px
            folder = Path(options.keep or scratch) / f"{name}-{px}-{options.epochs}"
            title = f"{name}, {px} px"
            if name in options.random and not options.epochs:
                model, images = exported(name, px, folder)
                title += ", random weights"
            else:
                bundle = trained(options.folder, name, px, options, folder)
                model, images = bundle / MODEL, Golden.from_bytes((bundle / GOLDEN).read_bytes()).images
                answers += [f"| {title} | {row}" for row in figures(read_manifest((bundle / MANIFEST).read_bytes()))]
            speeds += [f"| {title} | {row}" for row in timed(model, images, provider, options.rounds)]
    columns = ("network", "precision", "size, MB", "accuracy", "agreement", "log loss", "calibration error", "gate")
    times = ("network", "variant", "share of the size", "threads", "at once", "fp32, pictures/s", "times as fast")
    for names, rows in ((columns, answers), (times, speeds)):
        print(f"\n| {' | '.join(names)} |\n|{len(names) * '---|'}", *rows, sep="\n")


def trained(folder: Path, name: str, px: int, options: argparse.Namespace, job_dir: Path) -> Path:
    """Returns the bundle of a training, of one that was done before if there was one."""
    if not (job_dir / jobdir.RESULT).exists():
        job_dir.mkdir(parents=True, exist_ok=True)
        spec = TrainSpec(
            preset=Preset.BALANCED if options.epochs else Preset.FAST,
            backbone=name,
            pretrained=name not in options.random,
            epochs=options.epochs,
            image_size_px=px,
            variants=(Precision.INT8, Precision.FP16),
        )
        task = TrainingTask(job="bench", attempt=1, model="bench", dataset=str(folder.resolve()), spec=spec)
        (job_dir / jobdir.TRAINING).write_text(document.dump(task))
        subprocess.run([sys.executable, "-m", "eyasd.training", str(job_dir)], check=True)
    return job_dir / jobdir.BUNDLE


def exported(name: str, px: int, folder: Path) -> tuple[Path, np.ndarray]:
    """Returns the file of a network with random weights for ten labels, and pictures of noise."""
    folder.mkdir(parents=True, exist_ok=True)
    network = Network(resolve(TrainSpec(backbone=name, image_size_px=px), 100, px), input_format(name), 10)
    servable = Servable(network, Loss.CROSS_ENTROPY, 1.0).eval()
    to_onnx(servable, torch.zeros(1, px, px, 3, dtype=torch.uint8), folder / MODEL, [PROBABILITIES, LOGITS], {})
    return folder / MODEL, np.random.default_rng(0).integers(0, 256, (8, px, px, 3), np.uint8)


def figures(manifest: Manifest) -> Iterator[str]:
    scored = manifest.evaluation
    row = f"{scored.accuracy:.4f} | | {scored.log_loss:.3f} | {scored.calibration_error:.3f}"
    yield f"fp32 | {manifest.model_bytes / 1e6:.1f} | {row} | |"
    for variant in manifest.variants:
        gate = variant.refusal or "accepted"
        if (test := variant.test) is None:
            yield f"{variant.precision} | | | | | | {gate} |"
        else:
            row = f"{test.accuracy:.4f} | {test.agreement:.4f} | {test.log_loss:.3f} | {test.calibration_error:.3f}"
            yield f"{variant.precision} | {variant.size_bytes / 1e6:.1f} | {row} | {gate} |"


def timed(model: Path, images: np.ndarray, provider: str, rounds: int) -> Iterator[str]:
    most = DEFAULT_BATCH_SIZES[provider]
    for kind, make in BUILDERS[provider].items():
        with tempfile.TemporaryDirectory() as scratch:
            variant = Path(scratch) / "variant.onnx"
            make(model, variant, images)
            files = [model.read_bytes(), variant.read_bytes()]
        for threads in sorted({1, len(os.sched_getaffinity(0)) if provider == CPU else 1}):
            sessions = [Session(file, provider=provider, threads=threads, max_batch_size=most) for file in files]
            for session in sessions:
                session.warm(images[0])
            for size in (1, most):
                batch = np.repeat(images[:1], size, axis=0)
                before, after = quickest([partial(session.run, batch) for session in sessions], rounds)
                share = len(files[1]) / len(files[0])
                yield f"{kind} | {share:.2f} | {threads} | {size} | {size / before:.0f} | {before / after:.2f} |"


if __name__ == "__main__":
    main()
