"""What is served: a model in a registry, and the pictures that are sent.

`photographs` is tf_efficientnet_lite0 at 224 px, trained on a folder or on generated pictures, with JPEGs of 500 x 375; `tiny` is
the network of `serving.tiny` with JPEGs of 32 x 32.
"""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps
from serving import tiny
from serving.load import pack

from eyasd.core import document, jobdir
from eyasd.core.bundle import MANIFEST, MODEL, Manifest, read_manifest
from eyasd.core.spec import Preset, TrainSpec
from eyasd.core.tasks import TrainingTask
from eyasd.core.variants import Precision
from eyasd.registry.models import Models
from eyasd.storage.local import LocalStore

SIZE_PX = (500, 375)
PICTURES = 128
JPEG_QUALITY = 90
BACKBONE = "tf_efficientnet_lite0"


@dataclass(frozen=True)
class Subject:
    """A model and its pictures.

    Attributes:
        data_dir: of the daemon that serves it.
        model: its name there.
        version: its newest version.
        manifest: of that version.
        pictures: JPEG files.
    """

    data_dir: Path
    model: str
    version: int
    manifest: Manifest
    pictures: tuple[bytes, ...]

    @property
    def models(self) -> Models:
        """The registry."""
        return Models(LocalStore(self.data_dir / "models"))

    @property
    def file(self) -> Path:
        """The network's."""
        return self.data_dir / "models" / self.model / str(self.version) / MODEL

    def copy_to(self, folder: Path) -> Subject:
        """Copies the model, and no other that may lie beside it, into a registry of its own in a folder."""
        shutil.copytree(self.data_dir / "models" / self.model, folder / "models" / self.model)
        return replace(self, data_dir=folder)

    def task(self, folder: Path, **more: object) -> Path:
        """Writes what the contestants of other houses are told, with `more`; returns the file."""
        spec = self.manifest.preprocess
        given = {
            "model": str(self.file.resolve()),
            "labels": self.manifest.labels,
            "crop_px": spec.crop_px,
            "crop_fraction": spec.crop_fraction,
            "interpolation": spec.interpolation,
        }
        file = Path(folder, "task.json")
        file.write_text(json.dumps(given | more))
        return file

    def write_pictures(self, folder: Path) -> Path:
        """Writes them into one file, see `load.pack`; returns it."""
        file = folder / "pictures"
        file.write_bytes(pack(self.pictures))
        return file


def photographs(data_dir: Path, folder: Path | None) -> Subject:
    """Returns the model of photographs; trains it where there is none yet."""
    models = Models(LocalStore(data_dir / "models"))
    if "photographs" not in models.names():
        with tempfile.TemporaryDirectory(prefix="eyas-bench-") as scratch:
            _publish(models, "photographs", _train(folder or generate(Path(scratch, "pictures")), Path(scratch, "job")))
    if folder:
        files = sorted(path for path in folder.rglob("*") if path.suffix.lower() in (".jpg", ".jpeg", ".png"))
        if not files:
            sys.exit(f"{folder} holds no .jpg or .png file.")
        chosen = random.Random(0).sample(files, min(PICTURES, len(files)))  # noqa: S311 - any sample will do
        pictures = [_as_jpeg(ImageOps.fit(Image.open(file).convert("RGB"), SIZE_PX)) for file in chosen]
    else:
        pictures = [_as_jpeg(_scene(number)) for number in range(PICTURES)]
    return _subject(data_dir, models, "photographs", pictures)


def tiny_subject(data_dir: Path) -> Subject:
    """Returns the model that costs nothing."""
    models = Models(LocalStore(data_dir / "models"))
    if "tiny" not in models.names():
        with tempfile.TemporaryDirectory(prefix="eyas-bench-") as scratch:
            _publish(models, "tiny", tiny.write_bundle(Path(scratch)))
    return _subject(data_dir, models, "tiny", tiny.pictures(PICTURES))


def generate(folder: Path) -> Path:
    """Writes 180 pictures of three kinds, a folder each, and returns the folder of these."""
    for number in range(3 * 60):
        place = folder / "abc"[number % 3]
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{number}.jpg").write_bytes(_as_jpeg(_scene(number)))
    return folder


def _subject(data_dir: Path, models: Models, name: str, pictures: list[bytes]) -> Subject:
    record = models.aliases.get(name, "production")
    assert record
    manifest = read_manifest((data_dir / "models" / name / str(record.version) / MANIFEST).read_bytes())
    return Subject(data_dir, name, record.version, manifest, tuple(pictures))


def _publish(models: Models, name: str, folder: Path) -> None:
    models.aliases.set(name, "production", models.publish(name, folder, "bench"), actor="bench", reason="")


def _train(folder: Path, job_dir: Path) -> Path:
    job_dir.mkdir()
    spec = TrainSpec(preset=Preset.FAST, backbone=BACKBONE, image_size_px=224, variants=(Precision.INT8,))
    task = TrainingTask(job="bench", attempt=1, model="photographs", dataset=str(folder.resolve()), spec=spec)
    (job_dir / jobdir.TRAINING).write_text(document.dump(task))
    subprocess.run([sys.executable, "-m", "eyasd.training", str(job_dir)], check=True)
    return job_dir / jobdir.BUNDLE


def _scene(number: int) -> Image.Image:
    """Returns soft blotches with some grain, of which a JPEG is about as large as one of a photograph; there are three kinds."""
    rng = np.random.default_rng(number)
    cells = (3, 9, 27)[number % 3]
    blotches = Image.fromarray(rng.integers(0, 256, (cells, cells, 3), np.uint8)).resize(SIZE_PX, Image.Resampling.BICUBIC)
    grain = rng.normal(0, 6, (SIZE_PX[1], SIZE_PX[0], 1))
    return Image.fromarray(np.clip(np.asarray(blotches) + grain, 0, 255).astype(np.uint8))


def _as_jpeg(picture: Image.Image) -> bytes:
    picture.save(buffer := BytesIO(), "JPEG", quality=JPEG_QUALITY)
    return buffer.getvalue()
