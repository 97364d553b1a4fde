"""A version of which a bit was changed, by chance or by somebody who may write to the repository, while another one answers."""

from __future__ import annotations

import hashlib
import json
import math
import random
from pathlib import Path

import numpy as np
import pytest
import structlog
from tests.faults.conftest import Tell

from builders import golden, write_bundle
from eyasd.core.bundle import GOLDEN, MANIFEST, MODEL
from eyasd.core.device import Transport
from eyasd.core.errors import BrokenBundle
from eyasd.registry.models import Models
from eyasd.serving.engine.loading import EngineOptions, LoadedVersion, Loader
from eyasd.serving.network.providers import CPU
from eyasd.storage.local import LocalStore
from eyasd.telemetry.metrics import Metrics

OPTIONS = EngineOptions(
    provider=CPU, precision="auto", threads=1, max_batch_size=2, max_delay_seconds=0, slots=4, transport=Transport.THREAD
)
NOTED = "manifest.sha256"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A repository with two versions that know colours."""
    models = Models(LocalStore(tmp_path / "models"))
    for number in (1, 2):
        models.publish("colours", write_bundle(tmp_path / f"bundle{number}", job=f"job{number}"), f"job{number}")
    return tmp_path / "models"


async def loaded(root: Path, version: int, metrics: Metrics) -> LoadedVersion:
    """Loads a version as a server does that has never seen it."""
    loader = Loader(Models(LocalStore(root)), OPTIONS, metrics, structlog.get_logger())
    return await loader.load("colours", version, lambda _: None)


async def answers_rightly(version: LoadedVersion, row: int) -> bool:
    async with version.engine.slot(math.inf) as slot:
        slot.pixels[:] = golden().images[row]
        answer = await slot.infer(math.inf)
    return np.allclose(answer.probabilities, golden().probabilities[row], atol=1e-3)


def flipped(rng: random.Random, content: bytes) -> bytes:
    made = bytearray(content)
    made[rng.randrange(len(made))] ^= 1 << rng.randrange(8)
    return bytes(made)


@pytest.mark.parametrize("name", [MODEL, MANIFEST])
async def test_a_flipped_bit_is_refused_and_the_version_before_answers_on(
    root: Path, metrics: Metrics, name: str, all_faults: bool, tell: Tell
) -> None:
    rng, file, flips = random.Random(name), root / "colours/2" / name, 1000 if all_faults else 25
    sound, first = file.read_bytes(), await loaded(root, 1, metrics)
    for number in range(flips):
        file.write_bytes(flipped(rng, sound))
        with pytest.raises(BrokenBundle, match=f"{name} of colours/2.* was changed"):
            await loaded(root, 2, metrics)
        assert await answers_rightly(first, number % 3)
    file.write_bytes(sound)
    second = await loaded(root, 2, metrics)
    assert await answers_rightly(second, 0)
    for version in (first, second):
        await version.close()
    tell(f"a bit of {name} flipped, the version loaded, and another one asked", f"{flips:,}", "0")


def forge(folder: Path, name: str, content: bytes) -> None:
    """Puts a content in the place of a file, and its digests in those of the others, as somebody would who means it."""
    (folder / name).write_bytes(content)
    if name != MANIFEST:
        manifest = json.loads((folder / MANIFEST).read_text())
        manifest["files"][name] = hashlib.sha256(content).hexdigest()
        (folder / MANIFEST).write_text(json.dumps(manifest))
    digest = hashlib.sha256((folder / MANIFEST).read_bytes()).hexdigest()
    (folder / NOTED).write_text(f"{digest}  {MANIFEST}\n")


@pytest.mark.parametrize("name", [MODEL, GOLDEN, MANIFEST])
async def test_a_forged_version_is_refused_or_gives_its_recorded_answers(
    root: Path, metrics: Metrics, name: str, all_faults: bool, tell: Tell
) -> None:
    rng, folder, flips = random.Random(name), root / "colours/2", 1000 if all_faults else 25
    sound, manifest, refused = (folder / name).read_bytes(), (folder / MANIFEST).read_bytes(), 0
    for number in range(flips):
        (folder / MANIFEST).write_bytes(manifest)
        forge(folder, name, flipped(rng, sound))
        try:
            version = await loaded(root, 2, metrics)
        except BrokenBundle:
            refused += 1
            continue
        assert await answers_rightly(version, number % 3)
        await version.close()
    assert refused
    tell(
        f"a bit of {name} flipped, and all digests made to fit: refused, or answers as recorded",
        f"{flips:,}, of which {refused:,} refused",
        "0",
    )
