"""What it costs to pick pictures of production: `python bench/capture.py`.

calls      of a picture that was answered, in the event loop, in microseconds
overhead   pictures/s of a daemon that picks none, and of the same with a policy that is on, as in bench/telemetry.py
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
import timeit
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from statistics import median
from types import SimpleNamespace
from typing import Any

import machine
import numpy as np
import structlog
from serving import services
from serving.rows import table
from serving.subject import Subject, photographs, tiny_subject
from telemetry import CONCURRENCY, Mode, quartiles, serve

from eyasd.core.capture import CapturePolicy
from eyasd.registry.captured import Captured
from eyasd.registry.keeper import Keeper
from eyasd.serving.answer import Labelled, Prediction
from eyasd.serving.cache import Said
from eyasd.serving.capture.capture import Capture
from eyasd.serving.capture.writing import Writer
from eyasd.serving.drift.unusual import unusual
from eyasd.serving.feedback.ids import PredictionIds
from eyasd.serving.seen import Seen
from eyasd.storage.local import LocalStore
from eyasd.telemetry.metrics import Metrics

_LABELS = tuple(f"label {number}" for number in range(10))
_BYTES = 60_000


def main() -> None:
    options = arguments()
    print(machine.describe())
    for part in options.parts.split(","):
        if part == "calls":
            calls()
            continue
        options.data_dir.mkdir(parents=True, exist_ok=True)
        subjects = {"tiny": tiny_subject, "photographs": lambda folder: photographs(folder, options.folder)}
        for name in options.subjects.split(","):
            print(f"\n## {part}, {name}\n", flush=True)
            overhead(options, subjects[name](options.data_dir))


def calls() -> None:
    """Prints what a picture costs: where nothing is kept, and where it is sure, doubtful, or one of a flood of doubtful ones."""
    policies: dict[str, CapturePolicy] = {}
    with tempfile.TemporaryDirectory(prefix="eyas-bench-") as scratch:
        metrics = Metrics()
        writer = Writer(Keeper(Captured(LocalStore(Path(scratch))), 10**9), None, metrics, structlog.get_logger())
        capture = Capture(lambda: policies, writer, metrics, hourly_images=120, memory_bytes=64_000_000, unusual=unusual)
        on = CapturePolicy(on=True)
        lines = []
        for name, policy, best in (
            ("no policy is on", None, 0.99),
            ("a sure answer", on, 0.99),
            ("a doubtful answer, as every one is", on, 0.5),
        ):
            policies.clear()
            policies |= {"clothing": policy} if policy else {}
            seen = [_seen(best, number) for number in range(128)]
            number = 25_600
            each = min(
                timeit.repeat(lambda seen=seen: [capture.see(one) for one in seen], number=number // len(seen), repeat=9)  # type: ignore[misc]
            )
            lines.append((name, f"{each / (number) * 1e6:.2f}"))
        writer.close()
    print(f"\n{table(('', 'us'), lines)}\n")


def _seen(best: float, number: int) -> Seen:
    row = np.full(len(_LABELS), (1 - best) / (len(_LABELS) - 2), np.float32)
    row[:2] = best, max(best - 0.05, 0) if best < 0.6 else (1 - best) / (len(_LABELS) - 2)
    manifest = SimpleNamespace(labels=_LABELS, thresholds=None, unknown=None, reference=None)
    loaded: Any = SimpleNamespace(model="clothing", version=3, manifest=manifest)
    answer = Prediction(_LABELS[0], 0, float(row[0]), True)
    prediction = PredictionIds(["a key"]).mint("clothing", 3, answer, row, None, routed=True, canary=False)
    picture = os.urandom(_BYTES // 2) + number.to_bytes(4) + os.urandom(_BYTES // 2)
    return Seen(loaded, picture, None, Said(row, None), Labelled((answer,), row, prediction_id=prediction), routed=True)


def overhead(options: argparse.Namespace, subject: Subject) -> None:
    """Prints the pictures a second of each daemon, and their ratio to those of the first."""
    folder = options.data_dir / "capturing"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(subject.data_dir / "models", folder / "models")
    watched = replace(subject, data_dir=folder)
    watched.models.capturing.set(subject.model, CapturePolicy(on=True), actor="bench")
    rates: dict[str, list[float]] = {"nothing is kept": [], "a policy is on": []}
    with ExitStack() as stack:
        running = {
            name: stack.enter_context(serve(Mode(name), one, options.server_cores))
            for name, one in zip(rates, (subject, watched), strict=True)
        }
        time.sleep(2.0)  # until both have heard of their policies
        for number in range(options.rounds + 1):
            for name in (*rates,)[:: 1 if number % 2 else -1]:
                measured = services.measure(running[name], options.load_cores, options.seconds, concurrency=CONCURRENCY)
                if number:  # the first round warms
                    rates[name].append(len(measured.answered) / measured.seconds)
            print(".", end="", file=sys.stderr, flush=True)
    first = rates["nothing is kept"]
    lines = []
    for name, each in rates.items():
        low, middle, high = quartiles([rate / base for rate, base in zip(each, first, strict=True)])
        lines.append((name, f"{median(each):,.0f}", f"{middle:.3f}", f"{low:.3f} to {high:.3f}"))
    kept = len(Captured(LocalStore(folder / "captured")).pictures(subject.model))
    print(f"\n{table(('daemon', 'pictures/s', 'of the first', 'half of the rounds'), lines)}\n\n{kept} pictures were kept.\n")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", help="of pictures for `photographs`, one folder a label; else generated")
    parser.add_argument("--parts", default="calls,overhead", help="(%(default)s)")
    parser.add_argument("--subjects", default="tiny,photographs", help="(%(default)s)")
    parser.add_argument("--rounds", type=int, default=15, help="of overhead (%(default)s)")
    parser.add_argument("--seconds", type=float, default=2.0, help="of each load of overhead (%(default)s)")
    parser.add_argument("--data-dir", type=Path, default=Path("build/bench/serve"), help="of the daemons (%(default)s)")
    parser.add_argument("--server-cores", default="0", help="as taskset reads them (%(default)s)")
    parser.add_argument("--load-cores", default=str((os.cpu_count() or 1) - 1), help="(%(default)s)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
