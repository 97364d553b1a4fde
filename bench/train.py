"""Eyas beside what its users would pick instead: `python bench/train.py photos=FOLDER digits`.

Each contestant, a program in bench/contestants, trains the same network from the same weights on the same pictures of this
machine for the same time; its probabilities on the test split are scored here, by scikit-learn. FOLDER holds train/,
validation/ and test/; `digits` are the handwritten digits of scikit-learn. A cell is one contestant, dataset, budget and seed,
and one line in the file of results; a cell that is there already is left out, so an interrupted run goes on where it was. Ends
with a table, and a plot beside the results.

Unless --untuned is given, the others get what Eyas gives itself, so that the difference is the method: its environment for the
C libraries and channels last in memory. `--python fastai=PATH` names an interpreter that has the contestant's packages; without
it an environment is made.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import curves
import machine
import numpy as np
from PIL import Image
from sklearn.datasets import load_digits
from sklearn.metrics import accuracy_score, log_loss

from eyasd.training.machine import tuned_environment

CONTESTANTS = Path(__file__).parent / "contestants"
BACKBONE = "tf_efficientnet_lite0"
# Those of the others run in the environment of Eyas.
PACKAGES = {"fastai": ["fastai", "timm"], "autogluon": ["autogluon.multimodal"]}
NAMES = ["eyas", "fastai", "torch", "autogluon"]


def main() -> None:
    options = arguments()
    home = options.environments.resolve()
    weights = write_weights(home / "weights")
    folders = {}
    for given in options.datasets:
        name, _, folder = given.partition("=")
        folders[name] = Path(folder).resolve() if folder else write_digits(home / "digits")
    for seed in map(int, options.seeds.split(",")):
        for budget in map(seconds, options.budgets.split(",")):
            for dataset, folder in folders.items():
                for name in options.contestants.split(","):
                    cell = {"contestant": name, "dataset": dataset, "budget": budget, "seed": seed, "tuned": not options.untuned}
                    if not any(cell.items() <= row.items() and "accuracy" in row for row in curves.read(options.results)):
                        row = cell | run(name, interpreter(name, options, home), cell, folder, weights)
                        row |= {"machine": machine.describe()}
                        with options.results.open("a") as file:
                            file.write(json.dumps(row) + "\n")
                        print(row, flush=True)
    print(curves.table(curves.read(options.results)))
    curves.plot(curves.read(options.results), options.results.with_suffix(".svg"))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("datasets", nargs="+", help="NAME=FOLDER, or `digits`")
    parser.add_argument("--contestants", default=",".join(NAMES), help="of %(default)s")
    parser.add_argument("--budgets", default="1m,3m,10m", help="such as 90s or 10m (%(default)s)")
    parser.add_argument("--seeds", default="0", help="such as 0,1,2 (%(default)s)")
    parser.add_argument("--results", type=Path, default=Path("build/bench/results.jsonl"), help="%(default)s")
    parser.add_argument("--python", action="append", default=[], metavar="NAME=PATH", help="interpreter of a contestant")
    parser.add_argument("--environments", type=Path, default=Path("build/bench"), help="what is made lies there (%(default)s)")
    parser.add_argument("--untuned", action="store_true", help="run the others as they come")
    options = parser.parse_args()
    if unknown := set(options.contestants.split(",")) - set(NAMES):
        parser.error(f"{unknown.pop()!r} is no contestant; those are {', '.join(NAMES)}.")
    if missing := [given for given in options.datasets if given != "digits" and not Path(given.partition("=")[2], "test").is_dir()]:
        parser.error(f"{missing[0]!r} is neither digits nor NAME=FOLDER of a folder with train/, validation/ and test/ inside.")
    options.results.parent.mkdir(parents=True, exist_ok=True)
    return options


def seconds(budget: str) -> float:
    """Returns the seconds of 90s or 10m."""
    return float(budget.removesuffix("m")) * 60 if budget.endswith("m") else float(budget.removesuffix("s"))


def run(name: str, python: str, cell: Mapping[str, object], folder: Path, weights: Path) -> dict[str, object]:
    """Runs a contestant, and returns its scores; or why it has none."""
    tuned = bool(cell["tuned"])
    # Nothing is downloaded while the clock runs.
    environment = os.environ | {"HF_HUB_OFFLINE": "1"}
    with tempfile.TemporaryDirectory(prefix="eyas-bench-") as scratch:
        out, log = Path(scratch, "answers.json"), Path(scratch, "log")
        command = [python, CONTESTANTS / f"with_{name}.py", folder, str(cell["budget"]), str(cell["seed"]), out, weights]
        command += ["--no-flip"] if cell["dataset"] == "digits" else []
        command += ["--channels-last"] if tuned else []
        with log.open("wb") as file:
            subprocess.run(
                command,
                cwd=scratch,
                env=tuned_environment(environment) if tuned else environment,
                stdout=file,
                stderr=file,
                check=False,
            )
        if not out.exists():
            said = log.read_text(errors="replace").strip()
            print(said, file=sys.stderr)
            return {"error": said.rpartition("\n")[2] or "It ended without a word."}
        answers = json.loads(out.read_text())
    probabilities = np.array(answers["probabilities"], np.float64)
    labels = np.array(answers["labels"])
    return {
        "accuracy": accuracy_score(answers["truth"], labels[probabilities.argmax(1)]),
        "log_loss": log_loss(answers["truth"], probabilities / probabilities.sum(1, keepdims=True), labels=labels),
        "seconds": round(answers["seconds"], 1),
        "pictures": len(probabilities),
        "note": answers["note"],
        "versions": answers["versions"],
    }


def interpreter(name: str, options: argparse.Namespace, home: Path) -> str:
    """Returns the interpreter of a contestant, after making its environment where there is none."""
    given = dict(pair.split("=", 1) for pair in options.python)
    if name in given or name not in PACKAGES:
        return given.get(name, sys.executable)
    environment = home / name
    if not (environment / "ready").exists():
        subprocess.run([sys.executable, "-m", "venv", environment], check=True)
        subprocess.run([environment / "bin/pip", "install", "--quiet", *PACKAGES[name]], check=True)
        (environment / "ready").touch()
    return str(environment / "bin/python")


def write_weights(folder: Path) -> Path:
    """Writes the weights that all begin with, in timm's names and with timm's configuration beside them."""
    file = folder / "pytorch_model.bin"
    if not file.exists():
        import timm  # noqa: PLC0415 -- takes seconds, once
        import torch  # noqa: PLC0415

        from eyasd.training.head import weights  # noqa: PLC0415

        folder.mkdir(parents=True, exist_ok=True)
        network = timm.create_model(BACKBONE, num_classes=0)
        print("The weights are those of", weights.load(network, BACKBONE, None, hub=False))
        config = {"architecture": BACKBONE, "num_features": network.num_features, "pretrained_cfg": network.pretrained_cfg}
        (folder / "config.json").write_text(json.dumps(config))
        torch.save(network.state_dict(), file)
    return file


def write_digits(folder: Path) -> Path:
    """Writes the 1,797 digits of scikit-learn, 8 x 8 grey pixels each, as pictures of 64 x 64; every sixth is for the test."""
    if not folder.is_dir():
        staging = folder.with_suffix(".writing")
        data = load_digits()
        for number, (pixels, digit) in enumerate(zip(data.images, data.target, strict=True)):
            place = staging / {0: "test", 1: "validation"}.get(number % 6, "train") / str(digit)
            place.mkdir(parents=True, exist_ok=True)
            grey = Image.fromarray((pixels * (255 / 16)).astype(np.uint8))
            grey.resize((64, 64), Image.Resampling.BICUBIC).save(place / f"{number:04d}.png")
        staging.rename(folder)
    return folder


if __name__ == "__main__":
    main()
