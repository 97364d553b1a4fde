"""No server: the pictures one after another through Eyas's own decoding and session, on one thread. `python own_loop.py TASK`."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from eyasd.core.preprocess import Interpolation, Preprocess, load_image
from eyasd.serving.network.providers import CPU
from eyasd.serving.network.session import Session

sys.path.append(str(Path(__file__).parents[2]))
from serving.load import unpack


def main() -> None:
    given = json.loads(Path(sys.argv[1]).read_text())
    spec = Preprocess(given["crop_px"], given["crop_fraction"], Interpolation(given["interpolation"]))
    pictures = unpack(Path(given["pictures"]).read_bytes())
    session = Session(Path(given["model"]).read_bytes(), provider=CPU, threads=1, max_batch_size=1)
    for picture in pictures[:8]:  # warms
        session.run(load_image(picture, spec)[None])
    seconds: list[float] = []
    start = now = time.perf_counter()
    while now - start < given["seconds"]:
        session.run(load_image(pictures[len(seconds) % len(pictures)], spec)[None]).probabilities.argmax()
        before, now = now, time.perf_counter()
        seconds.append(now - before)
    json.dump({"answers": {}, "seconds": seconds}, sys.stdout)


if __name__ == "__main__":
    main()
