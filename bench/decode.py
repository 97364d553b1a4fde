"""From bytes to the pixels that a network sees: `python bench/decode.py [FOLDER]`.

Pictures of several sizes, made here or taken from FOLDER, become 224 x 224 pixels (the central 7/8, bicubic) in turn by

    Pillow       decode at half, a quarter or an eighth where that leaves twice what is needed, and one resize with `box`
    OpenCV       whole decode, cut, INTER_AREA; where `cv2` is installed
    Eyas, old    `load_image` of bundles that do not say how pictures are resized: Pillow, within bounds
    Eyas         `load_image` as new trainings have it: libjpeg-turbo and a resize by products of matrices
    nvJPEG       the same with `--gpu`, as `serving.decoder = "gpu"` has it; wait for the second table, as a card's time is nobody's
    decode only  libjpeg-turbo, whole, which is what no way that decodes the whole picture can beat

Milliseconds of processor time a picture, the median over the rounds; then the pictures/s of several threads on all cores.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import machine
import numpy as np
import PIL
import simplejpeg
from numpy.typing import NDArray
from PIL import Image, ImageOps

from eyasd.core.errors import UndecodableImage
from eyasd.core.preprocess import Preprocess, Resize, load_image
from eyasd.serving.nvjpeg import GpuDecoder

try:
    import cv2
except ImportError:
    cv2 = None
else:
    cv2.setNumThreads(1)

SIDE, FRACTION = 224, 0.875
OLD = Preprocess(SIDE, FRACTION)
NEW = Preprocess(SIDE, FRACTION, oversampling=1.25, resize=Resize.MATRIX)
ROUND_SECONDS = 0.4  # of each way on each set


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", help="of pictures to measure as well; at most 64 are taken")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--gpu", action="store_true", help="measure decoding on a GPU as well")
    options = parser.parse_args()
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, [min(cores)])
    sets = {
        "500 x 375, JPEG": [photograph(seed, (500, 375), "JPEG") for seed in range(16)],
        "4032 x 3024, JPEG": [photograph(0, (4032, 3024), "JPEG")],
        "32 x 32, JPEG": [photograph(seed, (32, 32), "JPEG") for seed in range(16)],
        "500 x 375, PNG": [photograph(seed, (500, 375), "PNG") for seed in range(4)],
    }
    if options.folder:
        files = sorted(path for path in options.folder.rglob("*") if path.is_file())
        files = files[:: max(1, len(files) // 64)]
        sets[options.folder.name] = [content for content in map(Path.read_bytes, files) if readable(content)]
    ways: dict[str, Callable[[bytes], object]] = {"Pillow": by_pillow}
    if cv2:
        ways["OpenCV"] = by_opencv
    ways |= {"Eyas, old": lambda content: load_image(content, OLD), "Eyas": lambda content: load_image(content, NEW)}
    if options.gpu:
        by_card = GpuDecoder(lambda _: None).decode
        ways["nvJPEG"] = lambda content: load_image(content, NEW, decode=by_card)
    ways["decode only"] = decode_only
    versions = f"Pillow {PIL.__version__}, simplejpeg {simplejpeg.__version__}" + (f", OpenCV {cv2.__version__}" if cv2 else "")
    print(f"{machine.describe()}, one core, {versions}\n\n`python bench/decode.py`, ms a picture\n")
    print("| picture | KB | " + " | ".join(ways) + " | Pillow / Eyas |\n" + "|---" * (len(ways) + 3) + "|")
    for name, contents in sets.items():
        columns = measure(contents, ways, options.rounds)
        cells = " | ".join(f"{column:.2f}" if column else "-" for column in columns.values())
        kilobytes = statistics.mean(map(len, contents)) / 1000
        print(f"| {name} | {kilobytes:,.0f} | {cells} | {columns['Pillow'] / columns['Eyas']:.2f} |", flush=True)
    os.sched_setaffinity(0, cores)
    counts = sorted({1, len(cores), 2 * len(cores)})
    print(
        f"\n| pictures/s on {len(cores)} cores | "
        + " | ".join(f"{count} threads" for count in counts)
        + " |\n"
        + "|---" * (len(counts) + 1)
        + "|"
    )
    contents = sets["500 x 375, JPEG"]
    for name in [name for name in ("Pillow", "Eyas, old", "Eyas", "nvJPEG") if name in ways]:
        rates = [statistics.median(in_threads(contents, ways[name], count) for _ in range(options.rounds)) for count in counts]
        print(f"| {name} | " + " | ".join(f"{rate:.0f}" for rate in rates) + " |", flush=True)


def photograph(seed: int, size: tuple[int, int], form: str) -> bytes:
    """Returns a picture with structure of every size, as photographs have it, about as compressible as they are."""
    rng, picture = np.random.default_rng(seed), np.zeros((size[1], size[0], 3), np.float32)
    picture += rng.normal(0, 4, (size[1], size[0], 1))  # of the sensor; it makes most of the bytes
    for octave in range(8):
        grid = rng.normal(0, 60 / 1.6**octave, (2 << octave, 2 << octave)).astype(np.float32)
        picture += np.asarray(Image.fromarray(grid).resize(size, Image.Resampling.BICUBIC))[:, :, None]
        tint = rng.normal(0, 20 / 2**octave, (2 << octave, 2 << octave)).astype(np.float32)
        picture[:, :, octave % 3] += np.asarray(Image.fromarray(tint).resize(size, Image.Resampling.BICUBIC))
    buffer = BytesIO()
    options = {"quality": 85} if form == "JPEG" else {}
    Image.fromarray(np.clip(picture + 128, 0, 255).astype(np.uint8)).save(buffer, form, **options)
    return buffer.getvalue()


def readable(content: bytes) -> bool:
    try:
        load_image(content, OLD)
    except UndecodableImage:
        return False
    return True


def measure(contents: list[bytes], ways: dict[str, Callable[[bytes], object]], rounds: int) -> dict[str, float]:
    """Returns the milliseconds of each way; 0 where it cannot decode them."""
    taken: dict[str, list[float]] = {name: [] for name in ways}
    jpeg = all(content.startswith(b"\xff\xd8") for content in contents)
    for _ in range(rounds):
        for name, way in ways.items():
            if name == "decode only" and not jpeg:
                continue
            way(contents[0])
            start, count = time.process_time(), 0
            while (seconds := time.process_time() - start) < ROUND_SECONDS:
                for content in contents:
                    way(content)
                count += len(contents)
            taken[name].append(seconds / count * 1000)
    return {name: statistics.median(figures) if figures else 0.0 for name, figures in taken.items()}


def in_threads(contents: list[bytes], way: Callable[[bytes], object], count: int) -> float:
    """Returns the pictures/s of that many threads."""
    with ThreadPoolExecutor(count) as pool:
        list(pool.map(way, contents * count))
        start, pictures = time.perf_counter(), contents * 16 * count
        list(pool.map(way, pictures))
        return len(pictures) / (time.perf_counter() - start)


def by_pillow(content: bytes) -> NDArray[np.uint8]:
    picture = Image.open(BytesIO(content))
    needed = round(2 * SIDE / FRACTION)
    picture.draft(None, (needed, needed))
    upright = ImageOps.exif_transpose(picture).convert("RGB")
    left, top, right, bottom = box_of(*upright.size)
    return np.asarray(upright.resize((SIDE, SIDE), Image.Resampling.BICUBIC, box=(left, top, right, bottom)))


def by_opencv(content: bytes) -> NDArray[np.uint8]:
    picture = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR_RGB)
    left, top, right, bottom = map(round, box_of(picture.shape[1], picture.shape[0]))
    square: NDArray[np.uint8] = cv2.resize(picture[top:bottom, left:right], (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    return square


def decode_only(content: bytes) -> NDArray[np.uint8]:
    pixels: NDArray[np.uint8] = simplejpeg.decode_jpeg(content)
    return pixels


def box_of(width: int, height: int) -> tuple[float, float, float, float]:
    side = FRACTION * min(width, height)
    left, top = (width - side) / 2, (height - side) / 2
    return left, top, left + side, top + side


if __name__ == "__main__":
    main()
