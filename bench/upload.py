"""How long 10,000 small pictures take to a daemon on this machine, beside writing them one after another as safely.

python bench/upload.py [COUNT [BYTES]]
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import eyas
from eyasd.storage.local import LocalStore


def main() -> None:
    count, size_bytes = (int(argument) for argument in (*sys.argv[1:], "10000", "8000")[:2])
    with tempfile.TemporaryDirectory(dir=".") as place:
        root = Path(place)
        photos = root / "photos"
        for number in range(count):
            picture = photos / str(number % 10) / f"{number}.jpg"
            picture.parent.mkdir(parents=True, exist_ok=True)
            picture.write_bytes(os.urandom(size_bytes))
        store, begun = LocalStore(root / "plain"), time.monotonic()
        for path in photos.rglob("*.jpg"):
            store.create(path.name, path.read_bytes())
        plain = time.monotonic() - begun
        first, again = uploaded(root, photos)
    print(f"{count:,} pictures of {size_bytes:,} bytes, {os.cpu_count()} cores")
    print(f"written one after another, each flushed: {plain:.1f} s")
    print(f"uploaded: {first:.1f} s, {plain / first:.1f} times as quick; once more, when all are there: {again:.1f} s")


def uploaded(root: Path, photos: Path) -> tuple[float, float]:
    """Returns how long an upload takes, in seconds, and one of the same pictures after it."""
    address = "127.0.0.1:50951"
    command = [
        sys.executable,
        "-m",
        "eyasd",
        "trainer",
        "--data-dir",
        str(root / "data"),
        "--listen",
        address,
        "--metrics-port",
        "0",
    ]
    daemon = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        with eyas.Client(address) as client:
            while True:
                try:
                    next(client.list_datasets(), None)
                    break
                except eyas.Unavailable:
                    time.sleep(0.1)
            times = []
            for _ in range(2):
                begun = time.monotonic()
                client.upload_dataset(photos)
                times.append(time.monotonic() - begun)
    finally:
        daemon.terminate()
        daemon.wait()
    return times[0], times[1]


if __name__ == "__main__":
    main()
