"""An hour of everything: the load, the harm and the changes at the same time, and what the daemons hold meanwhile."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

import aiohttp
import numpy as np

from callers import Call

from .changes import Changes
from .daemons import Daemons
from .harm import Harm
from .mixture import Mixture
from .samples import Process, by_role, shared_memory, size

_SAMPLE_SECONDS: Final = 2.0
_SLOW: Final = 10  # of so many samples, one looks at the disk and at the pages of metrics, which costs more
_MOST_TOLD: Final = 20


class Soak:
    """A run.

    Attributes:
        done: how often each kind of thing was done.
        calls: good calls that were made.
        refused: how often one of them was asked to come again.
        found: what should not have come of anything, good calls that failed among it.
        ended: how the daemons ended.
    """

    def __init__(self, folder: Path, minutes: float, seed: int, leak: str = "") -> None:
        self._seconds = minutes * 60
        self._daemons = Daemons(folder / "run", leak)
        self._seed = seed
        self._rows = (folder / "samples.jsonl").open("a")
        self._cpu: dict[int, float] = {}
        self.done: Counter[str] = Counter()
        self.calls = self.refused = 0
        self.found: list[str] = []
        self._told = folder / "found.txt"
        self.ended: dict[str, int] = {}

    async def run(self) -> None:
        """Runs it all."""
        server, trainer = self._daemons.server.address, self._daemons.trainer.address
        ports = {"gRPC": server, "HTTP": self._daemons.http, "metrics": self._daemons.pages["server"]}
        mixture = Mixture(server, trainer, self._daemons.http)
        harm = Harm(server, trainer, {name: int(one.rpartition(":")[2]) for name, one in ports.items()}, self._seed)
        changes = Changes(self._daemons, self._seed)
        try:
            self._daemons.start()
            async with asyncio.TaskGroup() as group:
                parts = [group.create_task(one.run()) for one in (mixture, harm, changes)]
                await self._sample(mixture, parts, (harm.found, changes.found))
                for one in (mixture, harm, changes):
                    one.end()
        finally:
            self.ended = await asyncio.to_thread(self._daemons.end)
            self._rows.close()
        self.done = harm.done + changes.done
        self.found += harm.found + changes.found
        self.found += [f"the {name} ended with {status}" for name, status in self.ended.items() if status]

    async def _sample(self, mixture: Mixture, parts: Iterable[asyncio.Task[None]], others: Iterable[list[str]]) -> None:
        begun, number = time.monotonic(), 0
        while (seconds := time.monotonic() - begun) < self._seconds:
            if any(part.done() for part in parts):
                return  # it failed, and says so
            row = {"seconds": seconds} | await asyncio.to_thread(self._look)
            if number % _SLOW == 0:
                row |= await asyncio.to_thread(self._look_at_the_disk) | await self._look_at_pages()
            row |= self._count(mixture, _SAMPLE_SECONDS)
            self._rows.write(json.dumps(row) + "\n")
            self._rows.flush()
            self._told.write_text("".join(f"{one}\n" for found in (self.found, *others) for one in found))
            number += 1
            await asyncio.sleep(begun + number * _SAMPLE_SECONDS - time.monotonic())

    def _look(self) -> dict[str, float]:
        row: dict[str, float] = {}
        everyone: list[Process] = []
        for role, processes in by_role(*self._daemons.pids).items():
            everyone += processes
            row[f"{role}: processes"] = len(processes)
            if processes:
                row[f"{role}: memory (RSS)"] = sum(one.rss for one in processes)
                row[f"{role}: anonymous memory"] = sum(one.anonymous for one in processes)
                row[f"{role}: anonymous memory of each"] = row[f"{role}: anonymous memory"] / len(processes)
                row[f"{role}: descriptors"] = sum(one.files for one in processes)
                row[f"{role}: threads"] = sum(one.threads for one in processes)
        cpu = {one.pid: one.cpu for one in everyone}
        had = sum(now - self._cpu.get(pid, 0.0) for pid, now in cpu.items())
        if self._cpu:
            row["all: processors"] = had / _SAMPLE_SECONDS
        self._cpu = cpu
        row["all: processes"] = len(everyone)
        row["all: memory (PSS)"] = sum(one.pss for one in everyone)
        row["all: memory shared by descriptors"] = sum(one.shared for one in everyone)
        row["all: descriptors"] = sum(one.files for one in everyone)
        row["shared memory: files"], row["shared memory: bytes"] = shared_memory(*self._daemons.pids)
        row["machine: load"] = os.getloadavg()[0]
        return row

    def _look_at_the_disk(self) -> dict[str, float]:
        row: dict[str, float] = {}
        row["temporary files"], row["temporary bytes"] = size(self._daemons.temporary)
        places = {
            "models": self._daemons.store / "models",
            "captured": self._daemons.store / "models-captured",
            "datasets": self._daemons.store / "models-datasets",
            "trainer": self._daemons.trainer.data,
            "server": self._daemons.server.data,
        }
        for name, place in places.items():
            row[f"disk: files of {name}"], row[f"disk: {name}"] = size(place)
        return row

    async def _look_at_pages(self) -> dict[str, float]:
        row: dict[str, float] = {}
        async with aiohttp.ClientSession() as session:
            for name, address in self._daemons.pages.items():
                with suppress(aiohttp.ClientError):
                    async with session.get(f"http://{address}/metrics") as answer:
                        page = await answer.text()
                    row[f"{name}: series of metrics"] = sum(not line.startswith("#") for line in page.splitlines())
                    row[f"{name}: bytes of the page"] = len(page)
        return row

    def _count(self, mixture: Mixture, seconds: float) -> dict[str, float]:
        calls = mixture.calls()
        self.calls += len(calls)
        self.refused = sum(callers.refused for callers in mixture.callers.values())
        failed = [call.error for call in calls if call.error]
        if len(self.found) < _MOST_TOLD:
            self.found += [f"a good call: {error}" for error in failed]
        row = {"good calls a second": len(calls) / seconds, "failed": float(len(failed))}
        return row | _quantiles([call for call in calls if not call.error])


def _quantiles(calls: list[Call]) -> dict[str, float]:
    if not calls:
        return {}
    p50, p99 = np.quantile([call.seconds for call in calls], (0.5, 0.99)) * 1000
    return {"p50": float(p50), "p99": float(p99)}
