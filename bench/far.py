"""What HTTP/2's first window gives callers who are far away: `python bench/far.py`.

A server, started anew with each `api.window_bytes`, behind a relay by which its bytes come later. Its network costs nothing, so
that the line is all that is waited for.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import statistics
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import machine
import numpy as np
from PIL import Image
from relay import further

import eyas
from eyasd.registry.models import Models
from eyasd.storage.local import LocalStore

sys.path.append(str(Path(__file__).parents[1] / "tests"))
from builders import write_bundle

SIDES_PX = (120, 400, 1000, 2200)
MANY_PX = 400  # of the pictures that are sent side by side, and in a stream
CALLS, AT_ONCE, IN_STREAM = 9, 8, 40


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--late", type=float, default=40.0, metavar="MS", help="how much later the server's bytes come (%(default)s)"
    )
    parser.add_argument("--windows", type=int, nargs="+", default=[64, 256, 512, 1024], metavar="KIB", help="(%(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="(%(default)s)")
    options = parser.parse_args()
    pictures = {side: photograph(side) for side in SIDES_PX}
    sizes = " | ".join(f"{len(content) / 1e3:.0f} KB, ms" for content in pictures.values())
    print(f"{machine.describe()}\n\n`{' '.join(['python', *sys.argv])}`\n")
    print(f"| window, KiB | {sizes} | {AT_ONCE} at once, /s | a stream, /s |\n|{(len(pictures) + 3) * '---|'}")
    with machine.scratch() as scratch:
        models = Models(LocalStore(Path(scratch, "data", "models")))
        models.publish("colours", write_bundle(Path(scratch, "bundle")), "bench")
        models.aliases.set("colours", "production", 1, actor="bench", reason="")
        found: dict[int, list[list[float]]] = {window: [] for window in options.windows}
        for _ in range(options.rounds):
            for window, rounds in found.items():
                settings = {"EYASD_API__WINDOW_BYTES": str(window * 1024)}
                with (
                    machine.daemon("server", Path(scratch, "data"), settings=settings) as daemon,
                    further(int(daemon.address.rpartition(":")[2]), options.late) as port,
                ):
                    rounds.append(asyncio.run(measured(f"127.0.0.1:{port}", pictures)))
    for window, rounds in found.items():
        medians = (statistics.median(values) for values in zip(*rounds, strict=True))
        print(f"| {window} | {' | '.join(f'{value:.0f}' for value in medians)} |")


def photograph(side: int) -> bytes:
    """Returns a JPEG of noise, of which a pixel takes about a byte."""
    content = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (side, side, 3), np.uint8)).save(content, "JPEG", quality=90)
    return content.getvalue()


async def measured(address: str, pictures: dict[int, bytes]) -> list[float]:
    """Returns the median milliseconds of a call with each picture, and the pictures a second side by side and in a stream."""
    async with eyas.aio.Client(address) as client:
        found = []
        for content in pictures.values():
            await client.classify("colours", content)  # which the connection grows used to
            found.append(1e3 * statistics.median([await seconds(client, content) for _ in range(CALLS)]))
        many = pictures[MANY_PX]
        await asyncio.gather(*(client.classify("colours", many) for _ in range(AT_ONCE)))
        start = time.perf_counter()
        for _ in range(CALLS):
            await asyncio.gather(*(client.classify("colours", many) for _ in range(AT_ONCE)))
        found.append(CALLS * AT_ONCE / (time.perf_counter() - start))
        start = time.perf_counter()
        answers = [answer async for answer in client.classify_stream("colours", repeated(many))]
        return [*found, len(answers) / (time.perf_counter() - start)]


async def seconds(client: eyas.aio.Client, content: bytes) -> float:
    start = time.perf_counter()
    await client.classify("colours", content)
    return time.perf_counter() - start


async def repeated(content: bytes) -> AsyncIterator[bytes]:
    for _ in range(IN_STREAM):
        yield content


if __name__ == "__main__":
    main()
