"""How long small pictures take to be fetched from an S3 server: `python bench/fetch.py`; --late MS puts it that far away.

Beside what one would write without Eyas: a loop of GETs over a connection that is kept, each object written to a file of its own,
with boto3, which most use (`pip install --group bench`), and with obstore, which Eyas uses. A third loop keeps nothing. Every round
has a cache of its own; the server has the objects in memory, for all alike. It is SeaweedFS on this machine, so it takes its
share of the cores; as no network here is slow, `--late` holds every answer back, by a proxy in a process of its own.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path

import boto3
import machine
import obstore
from obstore.store import from_url
from relay import further

from eyasd.storage.bucket_reader import BucketReader
from eyasd.storage.cache import ObjectCache
from eyasd.storage.fetching import fetch, find_objects

sys.path.append(str(Path(__file__).parents[1] / "tests"))
from s3_server import BUCKET, S3Server, environment

FETCHED = "fetched: listed, verified, in the cache"


class _Quiet:
    """Hears of progress and stops nothing."""

    def check(self) -> None:
        """Stops nothing."""

    def advance(self, fraction: float) -> None:
        """Notes nothing."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=10_000, help="(%(default)s)")
    parser.add_argument("--bytes", type=int, default=10_000, help="of each, about (%(default)s)")
    parser.add_argument("--late", type=float, default=0.0, metavar="MS", help="how much later each answer comes (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3, help="(%(default)s)")
    options = parser.parse_args()
    print(f"{machine.describe()}\n\n`{' '.join(['python', *sys.argv])}`\n\n| what | seconds | pictures/s |\n|---|---|---|")
    with machine.scratch() as scratch:
        server = S3Server(Path(scratch, "server"))
        try:
            os.environ.update(environment(server.port))
            put(options.pictures, options.bytes)
            with further(server.port, options.late) if options.late else nullcontext(server.port) as port:
                os.environ.update(environment(port))
                compare(Path(scratch), options.pictures, options.rounds)
        finally:
            server.close()


def compare(scratch: Path, pictures: int, rounds: int) -> None:
    """Prints the medians of the ways to fetch, and how many times as fast as the loops Eyas is."""
    times: dict[str, list[float]] = {}

    def timed(what: str, call: Callable[[], None]) -> None:
        start = time.perf_counter()
        call()
        times.setdefault(what, []).append(time.perf_counter() - start)

    cache = None
    for _ in range(rounds):
        for what, keys_and_get in (("boto3", boto3_gets), ("obstore", obstore_gets)):
            folder = Path(tempfile.mkdtemp(dir=scratch))
            timed(f"a loop of {what}'s GETs into files", lambda gets=keys_and_get, folder=folder: loop(gets, folder))  # type: ignore[misc]
            shutil.rmtree(folder)
        timed("the latter, nothing kept", lambda: loop(obstore_gets, None))
        cache = ObjectCache(Path(tempfile.mkdtemp(dir=scratch)), 1e12, "bench")
        timed(FETCHED, lambda cache=cache: fetched(cache, pictures))  # type: ignore[misc]
        timed("again: listed, all there", lambda cache=cache: fetched(cache, pictures))  # type: ignore[misc]
    medians = {what: statistics.median(took) for what, took in times.items()}
    for what, seconds in medians.items():
        print(f"| {what} | {seconds:.2f} | {pictures / seconds:,.0f} |")
    ratios = ", ".join(f"{seconds / medians[FETCHED]:.1f} times {what}" for what, seconds in list(medians.items())[:3])
    print(f"\nFetched {ratios}; peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:,.0f} MiB.")


def put(pictures: int, size_bytes: int) -> None:
    """Puts as many objects of about that size, none like another, into the bucket."""
    store = from_url(f"s3://{BUCKET}", client_options={"allow_http": True})
    numbers = random.Random(0)  # noqa: S311 - the same every time
    contents = [numbers.randbytes(numbers.randrange(size_bytes // 2, size_bytes * 3 // 2)) for _ in range(pictures)]
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda n: obstore.put(store, f"photos/{n % 10}/{n:06}.jpg", contents[n]), range(pictures)))


def loop(gets: Callable[[], Iterator[bytes | obstore.Bytes]], folder: Path | None) -> None:
    """Gets one object after the other."""
    for number, content in enumerate(gets()):
        if folder:
            (folder / f"{number}.jpg").write_bytes(content)


def obstore_gets() -> Iterator[bytes | obstore.Bytes]:
    store = from_url(f"s3://{BUCKET}", client_options={"allow_http": True})
    for page in obstore.list(store, "photos"):
        for found in page:
            yield obstore.get(store, found["path"]).bytes()


def boto3_gets() -> Iterator[bytes | obstore.Bytes]:
    client = boto3.client("s3")
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix="photos"):
        for found in page["Contents"]:
            yield client.get_object(Bucket=BUCKET, Key=found["Key"])["Body"].read()


def fetched(cache: ObjectCache, pictures: int) -> None:
    """Fetches them as a job does."""
    bucket = BucketReader(f"s3://{BUCKET}")
    pieces = fetch(bucket, find_objects(bucket, "photos", _Quiet()), cache, 1e12, _Quiet())
    assert len(pieces) == pictures


if __name__ == "__main__":
    main()
