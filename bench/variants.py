"""A network in fp32, fp16 and int8, side by side: `python bench/variants.py FOLDER --backbone NAME`.

A training makes each backbone's version with both variants, as `eyas train --variant int8 --variant fp16` does, so accuracy,
agreement, calibration error and size are those of its manifest, on the test split. Then the server's own session runs them in
turns, several rounds of it, on one thread and on all, one picture and a full batch; the ratio is of the quickest run of each. A
variant that the gate refused is made once more for it, from the golden pictures.

`--random NAME` is a backbone whose weights are not at hand: from random ones its accuracy says nothing unless `--epochs` trains it,
but its size and speed are those of any weights. fp16 is timed where ONNX Runtime has a GPU, and nowhere else.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import machine
import numpy as np

from eyasd.core import document, jobdir
from eyasd.core.bundle import GOLDEN, MANIFEST, MODEL, Golden, Manifest, read_manifest
from eyasd.core.spec import Preset, TrainSpec
from eyasd.core.stopwatch import quickest
from eyasd.core.types import Device, TrainingTask
from eyasd.core.variants import Precision
from eyasd.serving.precision import VARIANTS
from eyasd.serving.session import CPU, DEFAULT_BATCH_SIZES, Session, choose_provider
from eyasd.training.outcome.precision import to_fp16, to_int8

BOTH = (Precision.INT8, Precision.FP16)


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
        for name, pretrained in [*((n, True) for n in options.backbone), *((n, False) for n in options.random)]:
            spec = TrainSpec(
                preset=Preset.BALANCED if options.epochs else Preset.FAST,
                backbone=name,
                pretrained=pretrained,
                epochs=options.epochs,
                image_size_px=options.image_size,
                variants=BOTH,
            )
            bundle = trained(options.folder, spec, (options.keep or scratch) / f"{name}-{options.image_size}-{options.epochs}")
            manifest = read_manifest((bundle / MANIFEST).read_bytes())
            title = f"{name}{'' if pretrained else ', random weights'}, {manifest.preprocess.crop_px} px"
            answers += [f"| {title} | {row}" for row in figures(manifest)]
            speeds += [f"| {title} | {row}" for row in timed(bundle, manifest, provider, options.rounds)]
    columns = ("network", "precision", "size, MB", "accuracy", "agreement", "log loss", "calibration error", "gate")
    times = ("network", "threads", "at once", "fp32, pictures/s", "variant", "times as fast")
    for names, rows in ((columns, answers), (times, speeds)):
        print(f"\n| {' | '.join(names)} |\n|{len(names) * '---|'}", *rows, sep="\n")


def trained(folder: Path, spec: TrainSpec, job_dir: Path) -> Path:
    """Returns the bundle of a training, of one that was done before if there was one."""
    if not (job_dir / jobdir.RESULT).exists():
        job_dir.mkdir(parents=True, exist_ok=True)
        task = TrainingTask(job="bench", attempt=1, model="bench", dataset=str(folder.resolve()), spec=spec)
        (job_dir / jobdir.TRAINING).write_text(document.dump(task))
        subprocess.run([sys.executable, "-m", "eyasd.training", str(job_dir)], check=True)
    return job_dir / jobdir.BUNDLE


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


def timed(bundle: Path, manifest: Manifest, provider: str, rounds: int) -> Iterator[str]:
    precision, most = VARIANTS[provider], DEFAULT_BATCH_SIZES[provider]
    images = Golden.from_bytes((bundle / GOLDEN).read_bytes()).images
    if precision not in manifest.accepted():
        make = {Precision.INT8: to_int8, Precision.FP16: to_fp16}[precision]
        make(bundle / MODEL, bundle / precision.file, images)
    for threads in sorted({1, len(os.sched_getaffinity(0)) if provider == CPU else 1}):
        sessions = [
            Session((bundle / kind.file).read_bytes(), provider=provider, threads=threads, max_batch_size=most)
            for kind in (Precision.FP32, precision)
        ]
        for session in sessions:
            session.warm(images[0])
        for size in (1, most):
            batch = np.repeat(images[:1], size, axis=0)
            before, after = quickest([partial(session.run, batch) for session in sessions], rounds)
            yield f"{threads} | {size} | {size / before:.0f} | {precision} | {before / after:.2f} |"


if __name__ == "__main__":
    main()
