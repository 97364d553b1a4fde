"""Eyas: the training program as the daemon starts it, preset `balanced`, all else at its default.

The clock runs until the program has ended: its budget also holds the search for copies and wrong labels, the calibration, the
export to ONNX, the proof of parity, the evaluation and the report. The predictions are those of the ONNX file, on pictures that
its own preprocessing made.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import rules

from eyasd.core import document, jobdir
from eyasd.core.bundle import MANIFEST, MODEL, Manifest, read_manifest
from eyasd.core.preprocess import load_image
from eyasd.core.spec import TrainSpec
from eyasd.core.tasks import TrainingTask

BATCH_SIZE = 32


def main() -> None:
    task = rules.task(__doc__)
    with tempfile.TemporaryDirectory(prefix="eyas-bench-") as folder:
        job = Path(folder)
        deadline = datetime.now(UTC) + timedelta(seconds=task.clock.left())
        asked = TrainingTask(
            job="bench",
            attempt=1,
            model="bench",
            dataset=str(task.folder.resolve()),
            spec=TrainSpec(seed=task.seed, horizontal_flip=None if task.flip else False),
            weights=str(task.weights.resolve()),
            hub=False,
            deadline=deadline,
        )
        (job / jobdir.TRAINING).write_text(document.dump(asked))
        subprocess.run([sys.executable, "-m", "eyasd.training", folder], check=True)
        seconds = task.clock.seconds()
        manifest = read_manifest((job / jobdir.BUNDLE / MANIFEST).read_bytes())
        probabilities = predict(job / jobdir.BUNDLE / MODEL, manifest, task.files("test"))
    note = f"{manifest.history[-1].epoch} epochs of {manifest.lineage.recipe['epochs']}"
    task.hand_in(seconds, manifest.labels, probabilities, note, ["eyas", "onnxruntime", "timm", "torch"])


def predict(model: Path, manifest: Manifest, files: list[Path]) -> list[list[float]]:
    """Returns the probabilities that the served file gives each picture."""
    from eyasd.training.outcome.evaluate import predict as run  # noqa: PLC0415 -- not while the clock runs
    from eyasd.training.outcome.session import open_session  # noqa: PLC0415

    with ThreadPoolExecutor() as pool:
        images = list(pool.map(lambda file: load_image(file.read_bytes(), manifest.preprocess), files))
    batches = [np.stack(images[start : start + BATCH_SIZE]) for start in range(0, len(images), BATCH_SIZE)]
    return run(open_session(model), batches).tolist()


if __name__ == "__main__":
    main()
