"""Eyas from end to end on one machine: `make demo`, or `python examples/demo.py --data FOLDER`.

Writes handwritten digits as class folders (or takes yours), starts a daemon, trains, evaluates, classifies, and says what it did.
Uses the public client alone; everything it makes lies in .demo/.
"""

from __future__ import annotations

import argparse
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image
from rich.console import Console
from rich.table import Table
from sklearn.datasets import load_digits

import eyas

HOME = Path(".demo")
BIN = Path(sys.executable).parent
WANTED_ACCURACY = 0.95
# Small pictures need no 224 pixels, and a mirrored digit is another one or none.
DIGITS = ["--budget", "2m", "--set", "image_size_px=96", "--set", "epochs=4", "--set", "horizontal_flip=false"]
console = Console(highlight=False)


def main() -> int:
    """Runs the demo, and returns the exit status: 1 if something failed or the digits were learned badly."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="a folder of class folders, or of train/, validation/ and test/")
    parser.add_argument("--preset", choices=["fast", "balanced", "best"], default="balanced")
    parser.add_argument("--budget", default="10m", help="wall-clock time the training on your pictures may take (10m)")
    options = parser.parse_args()
    HOME.mkdir(exist_ok=True)
    folder = options.data.expanduser().resolve() if options.data else write_digits(HOME.resolve() / "digits")
    model = "photos" if options.data else "digits"
    try:
        with daemon() as address, eyas.Client(address) as client:
            settings = ["--budget", options.budget] if options.data else DIGITS
            accuracy = show(client, folder, model, ["--preset", options.preset, *settings])
    except eyas.EyasError as error:
        console.print(f"demo: {error.message}", markup=False, style="red", soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        return 130
    if options.data is None and accuracy < WANTED_ACCURACY:
        console.print(f"demo: the accuracy is below {WANTED_ACCURACY}.", style="red")
        return 1
    return 0


def write_digits(folder: Path) -> Path:
    """Writes the 1,797 digits of scikit-learn, 8 x 8 grey pixels each, as pictures of 64 x 64: every sixth for the test."""
    if not folder.is_dir():
        staging = folder.with_suffix(".writing")
        shutil.rmtree(staging, ignore_errors=True)
        data = load_digits()
        for number, (pixels, digit) in enumerate(zip(data.images, data.target, strict=True)):
            place = staging / ("test" if number % 6 == 0 else "train") / str(digit)
            place.mkdir(parents=True, exist_ok=True)
            grey = Image.fromarray((pixels * (255 / 16)).astype(np.uint8))
            grey.resize((64, 64), Image.Resampling.BICUBIC).save(place / f"{number:04d}.png")
        staging.rename(folder)
    return folder


@contextmanager
def daemon() -> Iterator[str]:
    """Starts `eyasd all`, yields its address once it answers, and stops it."""
    address, metrics_port = f"127.0.0.1:{free_port()}", str(free_port())
    log = HOME / "eyasd.log"
    step(f"Starting eyasd all on {address}; its log is {log}")
    with log.open("wb") as file:
        command = [BIN / "eyasd", "all", "--data-dir", HOME / "eyas-data", "--listen", address, "--metrics-port", metrics_port]
        process = subprocess.Popen(command, stderr=file, start_new_session=True)  # Ctrl-C is for the demo, which then stops it
    try:
        await_answer(address, process, log)
        yield address
    finally:
        process.terminate()
        process.wait()


def await_answer(address: str, process: subprocess.Popen[bytes], log: Path) -> None:
    """Waits until the daemon answers."""
    while process.poll() is None:
        try:
            with eyas.Client(address, timeout=2) as client:
                list(client.list_models())
        except eyas.Unavailable:
            time.sleep(0.1)
        else:
            return
    raise eyas.Unavailable(f"eyasd did not start: {log.read_text()[-1000:].strip()}")


def show(client: eyas.Client, folder: Path, model: str, settings: list[str]) -> float:
    """Does the main job with the `eyas` command, as a user would, and returns the test accuracy."""
    address = client.address
    began = time.monotonic()
    run(address, "train", folder, "--model", model, "--alias", "production", *settings)
    trained = time.monotonic() - began
    job = next(job for job in client.list_jobs() if job.type == eyas.JobType.TRAINING)
    if job.evaluation is None or job.version is None:
        raise eyas.JobFailed(job.error.message if job.error else f"The training is {job.state}.")
    run(address, "evaluate", f"{model}@production", folder / "test" if (folder / "test").is_dir() else folder)
    samples = pick(folder)
    run(address, "classify", model, *samples, "--top-k", "2")
    encoded, latencies = samples[0].read_bytes(), []
    for _ in range(50):
        began = time.monotonic()
        client.classify(model, encoded)
        latencies.append(time.monotonic() - began)
    report, scored = job.dataset_report, job.evaluation
    count = sum(row.train + row.validation + row.test for row in report.labels) if report else 0
    table = Table(title="What was done", title_justify="left", show_header=False)
    for name, value in (
        ("pictures", f"{count} in {relative(folder)}"),
        ("version", f"{job.version}, preset {job.settings['preset']}"),
        ("test accuracy", f"{scored.accuracy:.4f} ({scored.accuracy_interval.low:.3f} to {scored.accuracy_interval.high:.3f})"),
        ("training, evaluation and export", f"{trained:.0f} s"),
        ("one picture classified", f"{1000 * sorted(latencies)[25]:.1f} ms (median of 50, from call to answer)"),
    ):
        table.add_row(name, value)
    console.print(table)
    console.print("\nGo on by yourself:\n")
    for line in (
        f"{relative(BIN)}/eyasd all --data-dir {HOME}/eyas-data",
        f"{relative(BIN)}/eyas classify {model} {relative(samples[0])} --top-k 3",
        f"{relative(BIN)}/eyas models show {model}",
        f"{relative(BIN)}/eyas train ./photos --model clothing",
    ):
        console.print(f"  {line}", markup=False, soft_wrap=True)
    console.print(f"\nThe report of the training: {HOME}/eyas-data/models/{job.version}/report.html", soft_wrap=True)
    return job.evaluation.accuracy


def run(address: str, *arguments: str | Path) -> None:
    """Runs and shows one `eyas` command."""
    words = [str(relative(word)) if isinstance(word, Path) else word for word in arguments]
    step(f"eyas {' '.join(words)}")
    status = subprocess.run([BIN / "eyas", *arguments], env=os.environ | {"EYAS_ADDRESS": address}, check=False).returncode
    if status:
        raise eyas.EyasError(f"`eyas {words[0]}` ended with status {status}.")


def pick(folder: Path, count: int = 4) -> list[Path]:
    """Returns a few pictures of different labels."""
    root = folder / "test" if (folder / "test").is_dir() else folder
    labels = sorted(path for path in root.iterdir() if path.is_dir())
    return [next(file for file in sorted(label.iterdir()) if not file.name.startswith(".")) for label in labels[:count]]


def relative(path: Path) -> Path:
    """Returns the path as seen from here, where that is shorter."""
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def step(text: str) -> None:
    """Prints what happens next."""
    console.print(f"\n[bold cyan]>[/] [bold]{text}[/]", soft_wrap=True)


def free_port() -> int:
    """Returns a port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    sys.exit(main())
