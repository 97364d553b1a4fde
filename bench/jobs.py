"""How long 10,000 jobs take to be asked for, added to and watched: `python bench/jobs.py [postgresql://user@host/empty_database]`.

Through the ledger, as the RPCs do, from one event loop, one call at a time; SQLite on this machine's disk, and PostgreSQL if one is
named. A watch is timed from before an event is written, by the daemon itself or by another replica, until the watcher has it.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import machine
import structlog

from eyasd.config import read_settings
from eyasd.core.jobs import Job, JobEvent, JobState, JobType, Lease
from eyasd.core.spec import TrainSpec
from eyasd.jobs import rows
from eyasd.jobs.intake import Intake
from eyasd.jobs.ledger import Ledger
from eyasd.jobs.replica import Replica
from eyasd.jobs.store import JobStore
from eyasd.machine import open_datasets
from eyasd.registry.models import Models
from eyasd.storage.local import LocalStore
from eyasd.telemetry.metrics import Metrics

PAGE = 50


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("postgres", nargs="?", help="URL of an empty database")
    parser.add_argument("--jobs", type=int, default=10_000, help="(%(default)s)")
    parser.add_argument("--calls", type=int, default=1000, help="of each kind (%(default)s)")
    parser.add_argument("--watches", type=int, default=200, help="events watched (%(default)s)")
    options = parser.parse_args()
    print(f"{machine.describe()}\n\n`python bench/jobs.py`, {options.jobs:,} jobs\n")
    print("| what | database | p50, ms | p99, ms |\n|---|---|---|---|")
    with machine.scratch() as scratch:
        asyncio.run(measure("SQLite", Path(scratch, "jobs.sqlite"), Path(scratch), options))
        if options.postgres:
            asyncio.run(measure("PostgreSQL", options.postgres, Path(scratch), options))


async def measure(name: str, place: Path | str, scratch: Path, options: argparse.Namespace) -> None:
    stores = [JobStore(place, structlog.get_logger()) for _ in range(2)]
    made = [job(number) for number in range(options.jobs)]
    stores[0]._database.write(lambda connection: [rows.add(connection, one, None, "") for one in made])
    here, there = (ledger(store, scratch) for store in stores)
    intake = Intake(here, Models(LocalStore(scratch / "models")))
    (scratch / "photos").mkdir(exist_ok=True)
    dice = random.Random(0)  # noqa: S311
    places = [dice.randrange(PAGE, options.jobs) for _ in range(options.calls)]

    async def submit() -> None:
        await intake.train(model="m", dataset=str(scratch / "photos"), spec=TrainSpec(), alias=None, request_id=None)

    calls: dict[str, Callable[[], Awaitable[object]]] = {
        "a job is got": lambda: here.get(dice.choice(made).id),
        f"{PAGE} jobs are listed, from anywhere": lambda: here.page(dice.choice(places), PAGE),
        "a job is submitted": submit,
    }
    for what, call in calls.items():
        report(what, name, [await timed(call) for _ in range(options.calls)])
    queued = len(await here.queued())
    report(f"the whole queue, {queued:,} jobs, is read", name, [await timed(here.queued) for _ in range(100)])
    for what, writer, store in (("itself", here, stores[0]), ("another replica", there, stores[1])):
        report(f"an event of {what} reaches a watcher", name, await watched(here, writer, store, options.watches))
    for store in stores:
        store.close()


async def watched(reader: Ledger, writer: Ledger, store: JobStore, count: int) -> list[float]:
    """Returns how long each of so many events took to reach a watcher, in ms."""
    started = await writer.claim([one.id for one in (await writer.queued())[:1]], 0)
    assert started is not None
    lease: Lease = writer.lease(started)
    times: list[float] = []
    news = reader.watch(started.id, len(store.events(started.id, 1)) + 1)
    for _ in range(count):
        waiting = asyncio.ensure_future(anext(news))
        await asyncio.sleep(0.01 + random.random())  # noqa: S311 - a moment that has nothing to do with the reader's
        start = time.perf_counter()
        await writer.record(lease, [JobEvent(0, datetime.now(UTC), message="hello")], 0)
        await waiting
        times.append(1000 * (time.perf_counter() - start))
    await news.aclose()  # type: ignore[attr-defined]
    return times


def job(number: int) -> Job:
    """Returns a training that was submitted and, but for every tenth, has succeeded."""
    made = Job(
        id=f"job{number}", type=JobType.TRAINING, create_time=datetime.now(UTC), model="clothing", dataset="/d", spec=TrainSpec()
    )
    return made if number % 10 == 0 else replace(made, state=JobState.SUCCEEDED, version=number, end_time=datetime.now(UTC))


def ledger(store: JobStore, scratch: Path) -> Ledger:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    datasets = open_datasets(read_settings(None, {"data_dir": scratch}))
    return Ledger(store, datasets, scratch / "jobs", Replica(scratch / "replicas"), Metrics(), structlog.get_logger())


async def timed(call: Callable[[], Awaitable[object]]) -> float:
    start = time.perf_counter()
    await call()
    return 1000 * (time.perf_counter() - start)


def report(what: str, database: str, times: list[float]) -> None:
    late = statistics.quantiles(times, n=100, method="inclusive")[98]
    print(f"| {what} | {database} | {statistics.median(times):.2f} | {late:.2f} |", flush=True)


if __name__ == "__main__":
    main()
