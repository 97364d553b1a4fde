"""What explanations cost: `python bench/explain.py [BACKBONE ...]`.

Exports each backbone with random weights, with and without the output `feature_map`, and runs both files on one thread, in turn and
many rounds of it, so that a machine whose speed drifts does not favour anyone:

    beside    the file with the output, which nobody asks for: what every answer pays
    asked     the output is asked for: what an answer pays that is explained, beside its drawing

Each is the median over the rounds of its time as a multiple of the time of the file without the output in the same round.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import machine
import numpy as np
import torch

from eyasd.core.spec import Loss, TrainSpec
from eyasd.serving.network.providers import CPU
from eyasd.serving.network.session import Session
from eyasd.training.network import Network, Servable, input_format
from eyasd.training.outcome.activation import head_weights, map_sizes
from eyasd.training.outcome.export import to_onnx
from eyasd.training.recipe import resolve

BACKBONES = ("tf_efficientnet_lite0", "resnet50")
BATCHES = (1, 8)
LABELS = 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("backbones", nargs="*", default=BACKBONES)
    parser.add_argument("--rounds", type=int, default=60)
    options = parser.parse_args()
    print(f"{machine.describe()}\n\n| backbone | pictures at once | beside | asked | drawing one, ms |\n|---|---|---|---|---|")
    with machine.scratch() as folder:
        for backbone in options.backbones:
            measure(backbone, Path(folder), options.rounds)


def measure(backbone: str, folder: Path, rounds: int) -> None:
    form = input_format(backbone)
    recipe = resolve(TrainSpec(backbone=backbone, pretrained=False), 1000, form.native_px)
    network, px = Network(recipe, form, LABELS).eval(), recipe.image_size_px
    sizes = map_sizes(network, px)
    if sizes is None:
        print(f"| {backbone} | has no map |")
        return
    without, with_map = (session(Servable(network, Loss.CROSS_ENTROPY, 1.0, map_), px, folder) for map_ in (None, sizes))
    images = np.random.default_rng(0).integers(0, 256, (max(BATCHES), px, px, 3), np.uint8)
    feature_map = with_map.run(images[:1], maps=True).feature_maps
    assert feature_map is not None
    head = head_weights(network)
    drawing = 1000 * statistics.median(seconds(lambda: head.explain(images[0], feature_map[0], 0)) for _ in range(rounds))
    for size in BATCHES:
        batch = images[:size]
        beside, asked = [], []
        for _ in range(rounds):
            plain = seconds(lambda: without.run(batch))  # noqa: B023 - it is called here
            beside.append(seconds(lambda: with_map.run(batch)) / plain)  # noqa: B023
            asked.append(seconds(lambda: with_map.run(batch, maps=True)) / plain)  # noqa: B023
        print(f"| {backbone} | {size} | {statistics.median(beside):.3f} | {statistics.median(asked):.3f} | {drawing:.1f} |")


def session(servable: Servable, px: int, folder: Path) -> Session:
    path = folder / "model.onnx"
    to_onnx(servable.eval(), torch.zeros(1, px, px, 3, dtype=torch.uint8), path, list(servable.outputs), {})
    made = Session(path.read_bytes(), provider=CPU, threads=1, max_batch_size=max(BATCHES))
    made.warm(np.zeros((px, px, 3), np.uint8))
    return made


def seconds(work: Callable[[], object]) -> float:
    start = time.process_time()  # of the processor, which is one thread's here: another program takes none of it
    work()
    return time.process_time() - start


if __name__ == "__main__":
    main()
