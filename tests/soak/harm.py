"""The bad input: pictures that cost, requests that nobody sane sends, frames that are none, and callers who leave."""

from __future__ import annotations

import asyncio
import itertools
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Final

import grpc

import eyas
import eyas.aio
from builders import noise, picture
from callers import is_refused
from eyas.v1 import job_service_pb2
from hostile import torture, web
from hostile.calls import attack, is_well
from hostile.torture import Attack
from trainers import TESTS

from .daemons import STAYS, SWAPPED

# Of the pictures that are made to cost: those that are small as files.
_LARGEST_BYTES: Final = 600_000
# As often as a server that is to do other things, too, has time for; the rare ones cost it seconds.
_COMMON: Final[tuple[tuple[str, Attack, int], ...]] = (
    ("gRPC", torture.garbage, 3),
    ("gRPC", torture.malformed, 1),
    ("gRPC", torture.left, 2),
    ("gRPC", torture.half_sent, 20),
    ("gRPC", torture.resets, 200),
    ("gRPC", torture.too_many, 100),
    ("gRPC", torture.pings, 200),
    ("gRPC", torture.changes_of_settings, 100),
    ("gRPC", torture.empty_data, 200),
    ("gRPC", torture.continuations, 20),
    ("gRPC", torture.header_bombs, 5),
    ("gRPC", torture.metadata, 4),
    ("gRPC", torture.lengths_that_lie, 4),
    ("gRPC", torture.no_readers, 1),
    ("HTTP", web.slow, 20),
    ("metrics", web.pages, 1),
    ("metrics", web.slow, 20),
)
_RARE: Final[tuple[tuple[str, Attack, int], ...]] = (("gRPC", torture.compressed_bombs, 1), ("HTTP", web.bodies, 1))
# Reflection names it, and several acceptors say UNIMPLEMENTED.
_NOT_OF_SEVERAL: Final = "/ModelStatistics"
_LEAVE_SECONDS: Final = 2.0
_PICTURE_SECONDS: Final = 10.0
_REQUESTS_SECONDS: Final = 20.0
_EACH: Final = 16  # requests of a method, of which the later ones are made of those that got far
_OF_SERVER: Final = ("Classification", "Feedback", "Capture", "Model", "inference", "Health")
_OF_TRAINER: Final = ("Dataset", "Job", "Training", "Capture", "Model", "Health")
_ATTACK_SECONDS: Final = 8.0

Ports = dict[str, int]


def costly_pictures() -> dict[str, bytes]:
    """Returns the pictures of `hostile.costly` that are small as files, each made by a process that may take what it needs."""
    script = (
        "import sys\n"
        "from hostile import costly\n"
        "made = costly.PICTURES[sys.argv[1]]()\n"
        "sys.stdout.buffer.write(made if len(made) <= int(sys.argv[2]) else b'')"
    )
    names = subprocess.run(
        [sys.executable, "-c", "from hostile import costly; print('\\n'.join(costly.PICTURES))"],
        cwd=TESTS,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.splitlines()
    made = {}
    for name in names:
        command = [sys.executable, "-c", script, name, str(_LARGEST_BYTES)]
        if content := subprocess.run(command, cwd=TESTS, check=True, capture_output=True).stdout:
            made[name] = content
    return made


class Harm:
    """All that is bad, until it is told to end.

    Attributes:
        done: how often each kind was done.
        found: what came of it and should not have.
    """

    def __init__(self, server: str, trainer: str, ports: Ports, seed: int) -> None:
        """Makes pictures, which takes half a minute.

        Args:
            server: its address.
            trainer: likewise.
            ports: of the server, by what they speak.
            seed: of every choice.
        """
        self._server, self._trainer, self._ports = server, trainer, ports
        self._random = Random(seed)
        self._ending = asyncio.Event()
        self._costly = itertools.cycle(costly_pictures().items())
        asked = [(server, is_well, word) for word in _OF_SERVER] + [(trainer, _lists, word) for word in _OF_TRAINER]
        self._services = itertools.cycle(asked)
        self._attacks = itertools.cycle((*_COMMON, *_COMMON, *_RARE))
        ways = (self._cancelled, self._late, self._gone, self._stream_left, self._upload_left)
        self._ways = itertools.cycle(ways)
        self._large = [noise(seed, (900, 700), form) for seed, form in enumerate(("PNG", "JPEG"))]
        self.done: Counter[str] = Counter()
        self.found: list[str] = []

    def end(self) -> None:
        """Has nothing further begun."""
        self._ending.set()

    async def run(self) -> None:
        """Does harm until `end`."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._every(_PICTURE_SECONDS, self._show))
            group.create_task(self._every(_REQUESTS_SECONDS, self._request))
            group.create_task(self._every(_ATTACK_SECONDS, self._attack))
            group.create_task(self._every(_LEAVE_SECONDS, self._leave))

    async def _every(self, seconds: float, act: Callable[[], Awaitable[None]]) -> None:
        while not self._ending.is_set():
            try:
                await act()
            except Exception as error:  # noqa: BLE001 - whatever it is, it is to be told in the end, and the rest goes on
                self._tell(act.__name__, error)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._ending.wait(), seconds)

    async def _show(self) -> None:
        """Shows a picture that costs, beside a good one, which is answered."""
        name, content = next(self._costly)
        self.done["pictures that cost"] += 1
        async with eyas.aio.Client(self._server, timeout=60) as client:
            bad, good = await client.classify_many(STAYS, [content, picture()])
        if isinstance(good, eyas.EyasError):
            self._tell(f"beside {name}", good)
        if isinstance(bad, eyas.EyasError) and not isinstance(bad, eyas.InvalidArgument):
            self._tell(name, bad)

    def _tell(self, what: str, error: Exception) -> None:
        """Takes down what came of something; of a server that was full, only how often."""
        if is_refused(error):
            self.done["harm that was asked to come again"] += 1
        else:
            self.found.append(f"{what}: {error!r}")

    async def _request(self) -> None:
        """Sends drawn requests to the methods of one service after the other, of the server and of the trainer."""
        address, well, word = next(self._services)
        tally = await attack(int(address.rpartition(":")[2]), _EACH, self._random.randrange(10**6), [word], well)
        for path, how, sent in tally.found:
            if not path.endswith(_NOT_OF_SEVERAL):
                self.found.append(f"{path}: {how}, by {[one[:200].hex() for one in sent]}")
        self.done["requests that nobody sane sends"] += tally.total

    async def _attack(self) -> None:
        """Does what no client's library would, at each port."""
        protocol, act, times = next(self._attacks)
        with suppress(ConnectionError):  # as the server may close what it does not like
            self.done[f"{protocol}: {act.__name__}"] += await act(self._ports[protocol], times)

    async def _leave(self) -> None:
        """Calls whose caller leaves in the middle: cancelled, past its deadline, or with its connection."""
        way = next(self._ways)
        self.done[f"callers who leave: {way.__name__.strip('_').replace('_', ' ')}"] += 1
        with suppress(eyas.EyasError, TimeoutError):
            await way()

    def _moment(self) -> float:
        return self._random.uniform(0.001, 0.04)

    async def _cancelled(self) -> None:
        async with eyas.aio.Client(self._server) as client:
            await asyncio.wait_for(client.classify_many(STAYS, self._large * 2), self._moment())

    async def _late(self) -> None:
        async with eyas.aio.Client(self._server) as client:
            await client.classify(STAYS, self._random.choice(self._large), timeout=self._moment())

    async def _gone(self) -> None:
        client = eyas.aio.Client(self._server, retries=False)
        async with client:
            calls = [asyncio.ensure_future(client.classify(SWAPPED, one)) for one in self._large]
            await asyncio.sleep(self._moment())
        await asyncio.wait(calls)
        for call in calls:
            if not call.cancelled():
                call.exception()

    async def _stream_left(self) -> None:
        async def endless() -> AsyncIterator[bytes]:
            while True:
                yield self._random.choice((picture(), b"no picture", self._large[1]))
                await asyncio.sleep(0.01)

        async with eyas.aio.Client(self._server) as client:
            async with asyncio.timeout(5 * self._moment()):
                async for _ in client.classify_stream(SWAPPED, endless(), ordered=False):
                    pass

    async def _upload_left(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            for number in range(4):
                content = noise(self._random.randrange(10**9), (120, 90))
                (Path(folder) / "red").mkdir(exist_ok=True)
                (Path(folder) / "red" / f"{number}.png").write_bytes(content)
            async with eyas.aio.Client(self._trainer) as client:
                made = await asyncio.wait_for(client.upload_dataset(folder, "left"), 3 * self._moment())
                await client.delete_dataset(made.name)


async def _lists(channel: grpc.aio.Channel) -> bool:
    """Returns whether a trainer answers a good call."""
    request = job_service_pb2.ListJobsRequest(page_size=1)
    method = channel.unary_unary("/eyas.v1.JobService/ListJobs")
    return isinstance(await method(request.SerializeToString(), timeout=60), bytes)
