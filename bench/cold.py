"""How long a new server takes to say SERVING whose models are in a bucket: `python bench/cold.py`.

With one version to load, the processes new each time: without `registry.cache_dir`, with an empty folder, and with what another
server has left there, on this machine's disk and in the kernel's memory. The bucket is SeaweedFS on this machine, behind a relay
that answers later and has so many megabytes a second. The versions are trained here first, once, for one epoch from random weights
at 64 px, and kept in --data-dir.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import machine
from relay import further
from serving.subject import generate

from eyasd.core import document, jobdir
from eyasd.core.bundle import GOLDEN, MANIFEST, MODEL
from eyasd.core.spec import Preset, TrainSpec
from eyasd.core.tasks import TrainingTask
from eyasd.registry.models import Models
from eyasd.storage.address import open_store

sys.path.append(str(Path(__file__).parents[1] / "tests"))
from s3_server import BUCKET, S3Server, environment

WAYS = ("no cache", "empty", "filled")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, default=Path("build/bench/cold"), help="(%(default)s)")
    parser.add_argument("--backbone", nargs="+", default=["tf_efficientnet_lite0", "resnet50"], help="(%(default)s)")
    parser.add_argument("--late", type=float, default=10.0, metavar="MS", help="how much later each answer comes (%(default)s)")
    parser.add_argument("--rate", type=float, default=100.0, metavar="MB/S", help="of all connections (%(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="(%(default)s)")
    options = parser.parse_args()
    print(f"{machine.describe()}\n\n`{' '.join(['python', *sys.argv])}`\n")
    print(f"| network | MB | {' | '.join(f'{way}, s' for way in WAYS)} |\n|{5 * '---|'}", flush=True)
    bundles = {backbone: trained(backbone, options.data_dir) for backbone in options.backbone}
    with machine.scratch() as scratch:
        server = S3Server(Path(scratch, "server"))
        try:
            os.environ.update(environment(server.port))
            sizes = {backbone: publish(backbone, bundle) for backbone, bundle in bundles.items()}
            with further(server.port, options.late, options.rate) as port:
                os.environ.update(environment(port))
                for backbone, size in sizes.items():
                    times = [started(backbone, size, Path(scratch)) for _ in range(options.rounds)]
                    medians = (statistics.median(times_of) for times_of in zip(*times, strict=True))
                    print(f"| `{backbone}` | {size / 1e6:.0f} | {' | '.join(f'{one:.2f}' for one in medians)} |", flush=True)
        finally:
            server.close()


def trained(backbone: str, data_dir: Path) -> Path:
    """Returns the bundle of a version; trains it where there is none yet."""
    folder = data_dir.resolve() / backbone
    if not (folder / jobdir.BUNDLE / MANIFEST).exists():
        folder.mkdir(parents=True, exist_ok=True)
        spec = TrainSpec(preset=Preset.FAST, backbone=backbone, pretrained=False, epochs=1, image_size_px=64)
        dataset = str(generate(data_dir.resolve() / "pictures"))
        task = TrainingTask(job="bench", attempt=1, model="photographs", dataset=dataset, spec=spec)
        (folder / jobdir.TRAINING).write_text(document.dump(task))
        subprocess.run([sys.executable, "-m", "eyasd.training", str(folder)], check=True, stdout=subprocess.DEVNULL)
    return folder / jobdir.BUNDLE


def publish(backbone: str, bundle: Path) -> int:
    """Puts a version into a place of its own in the bucket; returns the bytes that a server reads of it."""
    models = Models(open_store(f"s3://{BUCKET}/{backbone}", Path()))
    version = models.publish("photographs", bundle, "bench")
    models.aliases.set("photographs", "production", version, actor="bench", reason="")
    return sum((bundle / name).stat().st_size for name in (MODEL, GOLDEN))


def started(backbone: str, size_bytes: int, scratch: Path) -> list[float]:
    """Returns how long a server took in each of the ways, in seconds; a cache is filled once it has so many bytes."""
    cache = Path(tempfile.mkdtemp(dir=scratch))
    registry = {"EYASD_REGISTRY__URL": f"s3://{BUCKET}/{backbone}", "EYASD_CAPTURE__URL": f"s3://{BUCKET}/captured"}
    found = []
    for settings in ({}, {"EYASD_REGISTRY__CACHE_DIR": str(cache)}, {"EYASD_REGISTRY__CACHE_DIR": str(cache)}):
        with machine.daemon("server", scratch / "data", settings=registry | settings) as daemon:
            found.append(daemon.seconds_to_serving)
            while settings and sum(path.stat().st_size for path in cache.glob("[0-9a-f]*")) < size_bytes:
                time.sleep(0.05)
    return found


if __name__ == "__main__":
    main()
