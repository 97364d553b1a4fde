"""What changes all the time: versions that come, answer and go, and trainings that are asked for, watched and cancelled."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter
from contextlib import suppress
from random import Random
from typing import Final

import eyas
import eyas.aio
from builders import picture

from .daemons import LEARNED, SWAPPED, Daemons

_SWAP_SECONDS: Final = 20.0
_JOB_SECONDS: Final = 30.0
_KEPT: Final = 3  # versions of a model; older ones are deleted
_REAL: Final = 10  # one of so many trainings is a real one
_TINY: Final = {"backbone": "test_resnet", "pretrained": False, "image_size_px": 32, "epochs": 1}
_LONGEST_SECONDS: Final = 120.0  # until a version answers, or a job has ended


class Changes:
    """Swaps and trainings, until they are told to end.

    Attributes:
        done: how often each kind was done.
        found: what came of it and should not have.
    """

    def __init__(self, daemons: Daemons, seed: int) -> None:
        self._daemons = daemons
        self._random = Random(seed)
        self._ending = asyncio.Event()
        self.done: Counter[str] = Counter()
        self.found: list[str] = []

    def end(self) -> None:
        """Has nothing further begun."""
        self._ending.set()

    async def run(self) -> None:
        """Changes things until `end`."""
        async with eyas.aio.Client(self._daemons.server.address) as client:
            await client.set_capture_policy(SWAPPED, enabled=True, percent=20, max_images=50)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._swaps())
            group.create_task(self._jobs())

    async def _pause(self, until: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._ending.wait(), max(0.0, until - time.monotonic()))

    async def _swaps(self) -> None:
        for turn in itertools.count():
            next_one = time.monotonic() + _SWAP_SECONDS
            # Either daemon may be asked.
            async with eyas.aio.Client((self._daemons.server, self._daemons.trainer)[turn % 2].address) as client:
                try:
                    await self._swap(client, turn)
                except Exception as error:  # noqa: BLE001 - whatever it is, it is to be told in the end, and the rest goes on
                    self.found.append(f"a swap: {error!r}")
            await self._pause(next_one)
            if self._ending.is_set():
                return

    async def _swap(self, client: eyas.aio.Client, turn: int) -> None:
        """Publishes a version, lets it be a shadow, or a canary, or neither, and then production; rolls some back."""
        bundle = self._daemons.bundles[turn % len(self._daemons.bundles)]
        version = await asyncio.to_thread(self._daemons.models.publish, SWAPPED, bundle, f"swap{turn}")
        self._count("versions published")
        match turn % 4:
            case 1:
                await client.set_traffic(SWAPPED, shadow=eyas.Shadow(f"{SWAPPED}/{version}", 50), reason="soak")
                self._count("shadows")
                await self._pause(time.monotonic() + 5)
                await client.set_traffic(SWAPPED, reason="soak")
            case 2:
                canary = eyas.Canary(f"{SWAPPED}/{version}", 30, max_latency_ratio=1000)
                await client.set_traffic(SWAPPED, canary=canary, reason="soak")
                self._count("canaries")
                await self._pause(time.monotonic() + 5)
                await client.set_traffic(SWAPPED, reason="soak")
            case _:
                pass
        await client.set_alias(SWAPPED, "production", version, reason="soak")
        await self._answers(version)
        self._count("swaps")
        if turn % 4 == 3:
            back = await client.rollback_alias(SWAPPED, reason="soak")
            await self._answers(int(back.version.rpartition("/")[2]))
            self._count("roll-backs")
            await client.set_alias(SWAPPED, "production", version, reason="soak")
        await self._forget(client, SWAPPED)

    async def _answers(self, version: int) -> None:
        """Waits until a version answers for its alias."""
        async with eyas.aio.Client(self._daemons.server.address) as client:
            deadline = time.monotonic() + _LONGEST_SECONDS
            while True:
                with suppress(eyas.Overloaded):
                    if (await client.classify(SWAPPED, picture())).version == f"{SWAPPED}/{version}":
                        return
                if time.monotonic() > deadline:
                    self.found.append(f"version {version} did not answer within {_LONGEST_SECONDS:.0f} s")
                    return
                await asyncio.sleep(0.2)

    async def _forget(self, client: eyas.aio.Client, model: str) -> None:
        """Deletes old versions, but for one that an alias or a canary still holds."""
        numbers = sorted([int(one.name.rpartition("/")[2]) async for one in client.list_model_versions(model)])
        for number in numbers[:-_KEPT]:
            with suppress(eyas.FailedPrecondition, eyas.NotFound):
                await client.delete_model_version(model, number)
                self._count("versions deleted")

    async def _jobs(self) -> None:
        for turn in itertools.count():
            next_one = time.monotonic() + _JOB_SECONDS
            async with eyas.aio.Client(self._daemons.trainer.address) as client:
                try:
                    async with asyncio.timeout(_LONGEST_SECONDS):
                        await self._job(client, turn)
                except TimeoutError:
                    self.found.append(f"a job did not end within {_LONGEST_SECONDS:.0f} s")
                except Exception as error:  # noqa: BLE001 - as above
                    self.found.append(f"a job: {error!r}")
            await self._pause(next_one)
            if self._ending.is_set():
                return

    async def _job(self, client: eyas.aio.Client, turn: int) -> None:
        """Asks for a training and watches it; some are cancelled, some are of pictures that are bad, few are real."""
        kind = "real" if turn % _REAL == 1 else ("good", "cancelled", "bad")[turn % 3]
        dataset = self._daemons.photos / ("bad" if kind == "bad" else "good")
        settings = _TINY if kind == "real" else {}
        job = await client.train(dataset, LEARNED, preset="fast", alias="production", **settings)
        watching = asyncio.create_task(self._watch(client, job.id))
        if kind == "cancelled":
            await asyncio.sleep(self._random.uniform(0, 1))
            try:
                await client.cancel_job(job.id)
            except eyas.FailedPrecondition:
                kind = "good"  # it was faster
        await watching
        state = (await client.get_job(job.id)).state
        expected = {"good": eyas.JobState.SUCCEEDED, "real": eyas.JobState.SUCCEEDED, "bad": eyas.JobState.FAILED}
        if kind in expected and state is not expected[kind]:
            self.found.append(f"the {kind} job {job.id} is {state.name}")
        self._count(f"trainings, {kind}")
        await self._forget(client, LEARNED)

    async def _watch(self, client: eyas.aio.Client, job: str) -> None:
        """Watches a job to its end, and leaves in the middle once, as people do."""
        seen = 0
        async for event in client.watch_job(job):
            seen = event.sequence
            if seen == 3:
                break
        async for event in client.watch_job(job, seen + 1):
            if event.sequence != seen + 1:
                self.found.append(f"of job {job}, event {event.sequence} came after {seen}")
            seen = event.sequence
        self._count("watches")

    def _count(self, what: str) -> None:
        self.done[what] += 1
