"""Whether drift is seen, how soon, and how often nothing is: `python bench/drift.py DATA_DIR/models/clothing/1 --data FOLDER`.

The pictures of the dataset's splits validation and test, which the network was not fitted to, are shuffled and halved: one half is
the reference, the other stands for production. Its files are spoiled (blurred, darkened ...), saved, read again as a server does,
and shown to model.onnx. What fires is the rule of k8s/monitoring/rules/drift.yaml, in numpy:

    pictures        the smallest number of those tried, of which nine in ten draws with replacement make the rule's condition true,
                    by the signal that needs the fewest
    false alarms    days are simulated: pictures of the held-out ones arrive at random and nothing drifts, the rules are evaluated
                    every two minutes over their two windows, and fire once their condition has held for half an hour. Each
                    simulated version has a reference that was drawn anew. Alarms of all signals are added up. "Alike" is how many
                    equal pictures come in a row.
    cost            microseconds of the event loop a picture
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final

import machine
import numpy as np
from drift_rules import HELD_STEPS, STEP_SECONDS, UNKNOWN, WINDOWS, Found, binned, bound, holds, index
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from eyasd.core.bundle import MANIFEST, MODEL, Manifest, read_manifest
from eyasd.core.preprocess import load_image
from eyasd.core.reference import Reference, Signal, answer_values, pixel_values, shorter_side, summarise
from eyasd.serving.cache import Said
from eyasd.serving.drift.tally import Tally
from eyasd.serving.drift.watcher import Drift
from eyasd.telemetry.metrics import Metrics
from eyasd.training.outcome.evaluate import predict
from eyasd.training.outcome.session import open_session

Spoil = Callable[[Image.Image, np.random.Generator], Image.Image]

NUMBERS: Final = (100, 200, 300, 500, 1000, 2000, 5000, 10000, 20000)
DRAWS: Final = 200


def blur(radius: float) -> Spoil:
    return lambda picture, _: picture.filter(ImageFilter.GaussianBlur(radius))


def darken(factor: float) -> Spoil:
    return lambda picture, _: picture.point(lambda value: value * factor)


def noise(deviation: float) -> Spoil:
    def spoil(picture: Image.Image, random: np.random.Generator) -> Image.Image:
        pixels = np.asarray(picture, np.float32)
        return Image.fromarray(np.clip(pixels + random.normal(0, deviation, pixels.shape), 0, 255).astype(np.uint8))

    return spoil


def shrink(factor: float) -> Spoil:
    return lambda picture, _: picture.resize((round(picture.width * factor), round(picture.height * factor)))


def compress(quality: int) -> Spoil:
    return lambda picture, _: Image.open(BytesIO(saved(picture, quality))).convert("RGB")


SPOILT: Final[Mapping[str, Spoil]] = {
    "saved again": lambda picture, _: picture,
    **{f"blur, {radius} px": blur(radius) for radius in (0.5, 1, 2, 4)},
    **{f"darkness, {factor:.0%} of the light": darken(factor) for factor in (0.9, 0.75, 0.5, 0.25)},
    **{f"noise, {deviation} of 255": noise(deviation) for deviation in (3, 8, 20, 40)},
    **{f"JPEG quality {quality}": compress(quality) for quality in (60, 30, 10)},
    **{f"sides of {factor:.0%}": shrink(factor) for factor in (0.9, 0.5)},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("version", type=Path, help="folder of a version of one label a picture")
    parser.add_argument("--data", type=Path, required=True, help="with the splits validation and test, one folder a label in each")
    parser.add_argument("--keep", type=Path, help="folder in which what was seen in the pictures is kept")
    parser.add_argument("--days", type=int, default=20, help="simulated for each version")
    parser.add_argument("--versions", type=int, default=25, help="simulated")
    options = parser.parse_args()
    print(f"{machine.describe()}, {options.version}\n", flush=True)
    files = [path for split in ("validation", "test") for path in sorted((options.data / split).glob("*/*"))]
    if not files:
        sys.exit(f"{options.data} has no pictures in the folders validation and test.")
    with machine.scratch() as scratch:
        bench = Bench(options.version, files, options.keep or Path(scratch))
        bench.show_drift()
        bench.show_halves(1000)
        bench.show_false_alarms(options.versions, options.days)
    asyncio.run(show_cost(bench.manifest, bench.reference(np.arange(len(files)))))


def saved(picture: Image.Image, quality: int = 95) -> bytes:
    buffer = BytesIO()
    picture.save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


class Bench:
    """A version, and what it sees in pictures."""

    def __init__(self, folder: Path, files: Sequence[Path], keep: Path) -> None:
        self.manifest = read_manifest((folder / MANIFEST).read_bytes())
        self._session = open_session(folder / MODEL)
        self._keep = keep
        keep.mkdir(parents=True, exist_ok=True)
        self._files = files
        self._random = np.random.default_rng(0)
        order = self._random.permutation(len(files))
        self._first, self._second = order[: len(files) // 2], order[len(files) // 2 :]
        self._shown = np.array([file.parent.name for file in files])
        self._held_out = self._seen("as they are", [file.read_bytes for file in files])

    def reference(self, rows: NDArray[np.int64]) -> Reference:
        """Returns the reference of int64 [n] rows of the held-out pictures."""
        known = {name: seen[rows] for name, seen in self._held_out.items()}
        values = {signal: known[signal] for signal in Signal if signal in known and signal != Signal.LABEL}
        predicted, unknown = known[Signal.LABEL].astype(np.int64), int(known[UNKNOWN].sum())
        return summarise(self.manifest.labels, predicted, values, split="half", unknown=unknown)

    def show_drift(self) -> None:
        """Prints how many pictures it takes, of each kind and strength."""
        reference = self.reference(self._first)
        rows = self._second
        print(f"| production | accuracy | pictures | signals, by their index with {len(rows)} pictures | unknown |")
        print("|---|---|---|---|---|")
        self._print("held-out pictures as they are", reference, [self._held_out], [1.0], rows)
        for name, spoil in SPOILT.items():
            self._print(name, reference, [self._spoilt(name, spoil)], [1.0], np.arange(len(rows)), rows)
        for label in ("hat", "shoes", "t-shirt"):
            if label in self._shown:
                self._print(f"no {label}", reference, [self._held_out], [1.0], rows[self._shown[rows] != label])
        digits = self._digits()
        usual = {name: seen[rows] for name, seen in self._held_out.items()}
        for share in (0.05, 0.2, 1.0):
            self._print(f"{share:.0%} handwritten digits", reference, [digits, usual], [share, 1 - share], None)
        split = np.array([file.parts[-3] for file in self._files])
        test, validation = (np.flatnonzero(split == name) for name in ("test", "validation"))
        self._print("the test split, against the validation split", self.reference(validation), [self._held_out], [1.0], test)

    def _print(
        self,
        name: str,
        reference: Reference,
        found: Sequence[Found],
        weights: Sequence[float],
        rows: NDArray[np.int64] | None,
        shown: NDArray[np.int64] | None = None,
    ) -> None:
        """Prints a line: of some rows of what was found, or of a mixture of all rows."""
        chosen = [{signal: seen if rows is None else seen[rows] for signal, seen in one.items()} for one in found]
        psi, fewest, live = {}, {}, len(chosen[-1][Signal.LABEL])
        for signal, (places, expected) in binned(reference, chosen, self.manifest.labels).items():
            shares_of = [np.bincount(part, minlength=len(expected)) / len(part) for part in places]
            mixed = sum(weight * share for weight, share in zip(weights, shares_of, strict=True))
            drawn = {n: self._random.multinomial(n, mixed, DRAWS) for n in NUMBERS}
            psi[signal] = float(index(signal, mixed[None] * live, expected)[0])
            fires = (n for n in NUMBERS if holds(signal, drawn[n], expected, reference).mean() >= 0.9)
            fewest[signal] = next(fires, None)
        first = min((n for n in fewest.values() if n), default=None)
        unknown = f"{'**' if fewest[UNKNOWN] else ''}{psi.pop(UNKNOWN):.1%}{'**' if fewest[UNKNOWN] else ''}"
        order = sorted(psi, key=lambda signal: -psi[signal])
        signals = ", ".join(
            f"{'**' if fewest[s] else ''}{s} {psi[s]:.2f}{'**' if fewest[s] else ''}" for s in order if psi[s] >= 0.1
        )
        said = np.array(self.manifest.labels)[chosen[0][Signal.LABEL].astype(int)]
        truth = None if rows is None else self._shown[rows if shown is None else shown]
        accuracy = "" if truth is None else f"{(said == truth).mean():.3f}"
        print(f"| {name} | {accuracy} | {first or 'silent'} | {signals} | {unknown} |", flush=True)

    def _spoilt(self, name: str, spoil: Spoil) -> Found:
        random = np.random.default_rng(0)

        def read(row: int) -> bytes:
            with Image.open(self._files[row]) as picture:
                return saved(spoil(picture.convert("RGB"), random))

        return self._seen(name, [lambda row=row: read(row) for row in self._second])  # type: ignore[misc]

    def _digits(self) -> Found:
        from sklearn.datasets import load_digits  # type: ignore[import-untyped]  # noqa: PLC0415

        images = (load_digits().images[:300] * (255 / 16)).astype(np.uint8)
        large = [Image.fromarray(image).convert("RGB").resize((400, 400)) for image in images]
        return self._seen("digits", [lambda picture=picture: saved(picture) for picture in large])  # type: ignore[misc]

    def _seen(self, name: str, read: Sequence[Callable[[], bytes]]) -> Found:
        """Returns the signals of files, float64 [n] each."""
        kept = self._keep / f"{name.replace(' ', '_').replace('%', '')}.npz"
        if not kept.exists():
            found: dict[str, list[float]] = {}
            images = []
            for each in read:
                encoded = each()
                images.append(load_image(encoded, self.manifest.preprocess))
                values: dict[Signal, float] = pixel_values(images[-1]) | {Signal.SIZE: float(shorter_side(encoded) or 0)}
                for signal, value in values.items():
                    found.setdefault(signal, []).append(value)
            batches = [np.stack(images[first : first + 32]) for first in range(0, len(images), 32)]
            probabilities, scores = predict(self._session, batches)
            answers = answer_values(probabilities, None if scores is None else scores.astype(np.float64), multi_label=False)
            np.savez(kept, **{str(k): np.array(v) for k, v in found.items()}, **answers, label=probabilities.argmax(1))
        with np.load(kept) as arrays:
            found = {str(signal): arrays[signal].astype(np.float64) for signal in Signal if signal in arrays}
        rules, scores = self.manifest.unknown, found.get(Signal.OOD_SCORE)
        scored = [None] * len(read) if scores is None else scores.tolist()
        rows = zip(found[Signal.LABEL].astype(int), found[Signal.CONFIDENCE], scored, strict=True)
        return found | {UNKNOWN: np.array([float(rules is not None and rules.verdict(*row) is not None) for row in rows])}

    def show_halves(self, times: int) -> None:
        """Prints how often one half of the held-out pictures is taken for drift from the other."""
        fired, largest = 0, 0.0
        for _ in range(times):
            order = self._random.permutation(len(self._files))
            first, second = order[: len(order) // 2], order[len(order) // 2 :]
            reference = self.reference(first)
            found = [{signal: seen[second] for signal, seen in self._held_out.items()}]
            indices = []
            for signal, ((place,), expected) in binned(reference, found, self.manifest.labels).items():
                counts = np.bincount(place, minlength=len(expected))[None]
                indices.append(float((index(signal, counts, expected) / bound(signal, counts, expected, reference))[0]))
            fired += max(indices) > 1
            largest = max(largest, *indices)
        print(f"\nOf {times} random halves {fired} differ from the other; the largest index is {largest:.2f} of its bound.")

    def show_false_alarms(self, versions: int, days: int) -> None:
        """Prints how often the rule fires where nothing drifts."""
        print("\n| pictures of the reference | a second | alike | days | times a day the condition becomes true | alarms a day |")
        print("|---|---|---|---|---|---|")
        for pictures, alike in ((200, 5), (372, 1), (372, 5), (372, 10)):
            for rate in (0.01, 0.1, 1.0, 10.0):
                counts = [self._alarms(pictures, rate, alike, days) for _ in range(versions)]
                true, fired = np.sum(counts, 0) / (versions * days)
                print(f"| {pictures} | {rate:g} | {alike} | {versions * days} | {true:.3f} | {fired:.4f} |", flush=True)

    def _alarms(self, pictures: int, rate: float, alike: int, days: int) -> tuple[int, int]:
        """Returns how often the condition became true in some days with a new reference, and how often the alert fired."""
        count = len(self._files)
        reference = self.reference(self._random.integers(count, size=pictures))
        bins = binned(reference, [self._held_out], self.manifest.labels)
        steps = days * 86400 // STEP_SECONDS + WINDOWS["1d"]
        true = fired = 0
        for signal, ((place,), expected) in bins.items():
            shown = np.bincount(place, minlength=len(expected)) / count
            arrived = alike * self._random.poisson(rate / alike * STEP_SECONDS * shown, (steps, len(expected)))
            sums = np.concatenate([np.zeros((1, len(expected)), np.int64), arrived.cumsum(0)])
            for window in WINDOWS.values():
                live = (sums[window:] - sums[:-window])[WINDOWS["1d"] - window :]
                held = holds(signal, live, expected, reference)
                true += int((held[1:] & ~held[:-1]).sum() + held[0])
                runs = np.diff(np.flatnonzero(np.concatenate([[True], ~held, [True]]))) - 1
                fired += int((runs > HELD_STEPS).sum())
        return true, fired


async def show_cost(manifest: Manifest, reference: Reference) -> None:
    """Prints what watching takes of the event loop, and of the thread."""
    count, metrics = 20_000, Metrics()
    random = np.random.default_rng(0)
    rows = random.dirichlet(np.ones(len(manifest.labels)), count).astype(np.float32)
    loaded: Any = SimpleNamespace(model="m", version=1, manifest=SimpleNamespace(**fields_of(manifest, reference)))
    drift = Drift(metrics)
    drift.watch(loaded)
    seen: list[Any] = [SimpleNamespace(loaded=loaded, picture=b"", pixels=None, said=Said(row, 0.5)) for row in rows]
    start = time.thread_time()
    for _ in seen:
        drift.wants(loaded)
    asked = time.thread_time() - start
    start = time.thread_time()
    for one in seen:
        drift.see(one)
    told = time.thread_time() - start
    px = manifest.preprocess.crop_px
    image = random.integers(0, 256, (px, px, 3), np.uint8)
    start = time.thread_time()
    for _ in range(1000):
        pixel_values(image)
    looked = (time.thread_time() - start) / 1000
    tally = Tally("m", 2, manifest, reference, metrics)
    values = pixel_values(image)
    start = time.thread_time()
    for _ in range(1000):
        tally.picture(values)
    counted = (time.thread_time() - start) / 1000
    drift.close()
    print("\n| of a picture | us |\n|---|---|")
    print(f"| to be asked whether its pixels are wanted | {asked / count * 1e6:.2f} |")
    print(f"| its answer, counted in bunches | {told / count * 1e6:.2f} |")
    print(f"| its pixels, of those that are drawn, in the thread | {looked * 1e6:.0f} |")
    print(f"| what they are like, counted | {counted * 1e6:.0f} |")


def fields_of(manifest: Manifest, reference: Reference) -> dict[str, Any]:
    return {"labels": manifest.labels, "thresholds": manifest.thresholds, "unknown": manifest.unknown, "reference": reference}


if __name__ == "__main__":
    main()
