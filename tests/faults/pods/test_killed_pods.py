"""Pods that are killed, drained and cut off from their trainer at random moments: what the last of them leaves is whole and known.

The pods are real, and so are their trainer and their store; the training program counts, so that every step can be told from every
other.
"""

from __future__ import annotations

import asyncio
import os
import random
import re
import signal
import sys
import time
from collections.abc import Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest
import structlog
from tests.faults.conftest import Tell
from tests.integration.conftest import Daemon, daemon, data_dir

from eyasd.app import App, Role
from eyasd.core import jobdir
from eyasd.core.jobs import Job, JobState, JobType, Lease
from eyasd.jobs.permits import Permits, kept_key
from eyasd.jobs.store import JobStore
from eyasd.pod.layout import place, receive_newest, send
from eyasd.storage.address import open_store
from proxy import Proxy

__all__ = ["daemon", "data_dir"]  # fixtures

STEPS = 100
KILLS = 3  # of one attempt
# Counts from where a checkpoint says, a line a step, and says in its result how it went.
COUNTING = f"""
import os, signal, sys, time
from datetime import datetime, UTC
folder, stopped = sys.argv[-1], []
signal.signal(signal.SIGTERM, lambda *_: stopped.append(1))
def write(name, text):
    with open(f"{{folder}}/{{name}}.new", "w") as file:
        file.write(text)
    os.replace(f"{{folder}}/{{name}}.new", f"{{folder}}/{{name}}")
try:
    start = step = int(open(f"{{folder}}/{jobdir.CHECKPOINT}").read())
except FileNotFoundError:
    start = step = 0
def tell():
    with open(f"{{folder}}/{jobdir.PROGRESS}", "a") as lines:
        lines.write('{{"time": "%s", "message": "%s from %d at %d", "sequence": %d}}\\n' % (
            datetime.now(UTC).isoformat(), os.environ["POD"], start, step, step - start + 1))
tell()
while step < {STEPS}:
    step += 1
    tell()
    if step % 5 == 0 or stopped:
        write("{jobdir.CHECKPOINT}", str(step))
    if stopped:
        sys.exit({jobdir.TERMINATED})
    time.sleep(0.02)
os.mkdir(f"{{folder}}/{jobdir.BUNDLE}")
write("{jobdir.BUNDLE}/model", os.environ["POD"] * 100_000)
write("{jobdir.RESULT}", os.environ["POD"])
"""
# A pod whose training program is that one, with a checkpoint whenever there is one.
POD = """
import sys
from eyasd.pod import __main__, checkpoints, layout, program
program.Group.command = lambda self, folder: [sys.executable, "-I", "-S", "-c", {code!r}, str(folder)]
checkpoints._SECONDS = 0.0
{planted}
sys.exit(__main__.main())
"""
PLANTED = {
    # No pod has a number of its own, and the list of the first stays: what the second leaves does not fit it.
    "no result is left": """
layout.claim = lambda *_: 1
layout._write_list = lambda store, prefix, files: store.create(
    prefix + ".json", layout.document.dump(layout.Handover(tuple(files))).encode()
)
""",
    "had come to": "checkpoints.Checkpoints.look = lambda *_, **__: None",
}


class Trial:
    """An attempt of a job, whose pods have what was done to them.

    Attributes:
        pods: how many there were.
        drained: names of those that had to make way, and did.
    """

    def __init__(self, app: App, jobs: JobStore, address: str, tmp_path: Path, number: int, planted: str) -> None:
        self.jobs, self.address, self.folder, self.job = jobs, address, tmp_path / str(number), f"j{number}"
        self._program = POD.format(code=COUNTING, planted=planted)
        self.store = open_store(address, tmp_path)
        self.pods = 0
        self.drained: list[str] = []
        (self.folder / "in").mkdir(parents=True)
        (self.folder / "in" / jobdir.TRAINING).write_text("{}")
        send(self.store, place(self.job, 1, "in"), self.folder / "in", [self.folder / "in" / jobdir.TRAINING])
        jobs.submit(Job(id=self.job, type=JobType.TRAINING, create_time=datetime.now(UTC), model="m", dataset="/d"), None, "r")
        assert jobs.leases.claim("elsewhere", [self.job]) is not None
        jobs.update(Lease(self.job, 1, "elsewhere"), state=JobState.RUNNING)
        self._token = Permits(kept_key(tmp_path / "data" / "report.key")).make(self.job, 1)

    async def pod(self, port: int) -> asyncio.subprocess.Process:
        self.pods += 1
        words = ("--trainer", f"127.0.0.1:{port}", "--store", self.address, "--job", self.job, "--attempt", "1")
        name = chr(ord("a") + self.pods - 1)
        return await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", self._program, *words, "--scratch", str(self.folder / name)),
            env={**os.environ, "EYAS_REPORT_TOKEN": self._token, "POD": name},
            start_new_session=True,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )

    def check(self) -> None:
        """Raises AssertionError where a promise was broken."""
        said = [event.message for event in self.jobs.events(self.job, 1) if event.message]
        steps: dict[str, list[int]] = {}
        starts: dict[str, int] = {}
        for message in said:
            found = re.fullmatch(r"(\w) from (\d+) at (\d+)", message)
            assert found is not None, message
            starts[found[1]] = int(found[2])
            steps.setdefault(found[1], []).append(int(found[3]))
        assert list(steps) == sorted(steps), "pods' lines are mixed"
        for pod, told in steps.items():
            wanted = range(starts[pod], starts[pod] + len(told))
            assert told == list(wanted), f"lines of pod {pod} are lost or twice: {told}"
        last = max(steps)
        assert steps[last][-1] == STEPS, "the last lines are lost"
        for pod in self.drained:
            reached = steps[pod][-1] if pod in steps else 0
            later = min((one for one in starts if one > pod), default=pod)
            assert starts.get(later, 0) >= reached, f"pod {later} began at {starts[later]}, and pod {pod} had come to {reached}"
        back = self.folder / "back"
        receive_newest(self.store, place(self.job, 1, "out"), back)
        assert (back / jobdir.RESULT).exists(), "no result is left"
        assert (back / jobdir.RESULT).read_text() == last
        assert (back / jobdir.BUNDLE / "model").read_text() == last * 100_000


@pytest.fixture
def trials(
    daemon: Daemon, data_dir: Path, tmp_path: Path, s3_address: str, log: structlog.typing.FilteringBoundLogger
) -> Callable[..., object]:
    @asynccontextmanager
    async def run() -> object:
        async with daemon(Role.TRAINER) as app, Proxy(app.port, []) as way:
            jobs = JobStore(data_dir / "jobs.sqlite", log)

            async def renew() -> None:
                while True:
                    jobs.leases.renew("elsewhere")
                    await asyncio.sleep(1)

            renewing = asyncio.create_task(renew())
            try:
                yield lambda number, planted="": Trial(app, jobs, s3_address, tmp_path, number, planted), way
            finally:
                renewing.cancel()
                await asyncio.gather(renewing, return_exceptions=True)
                jobs.close()

    return run


async def torment(trial: Trial, way: Proxy, chance: random.Random, seconds: float, counts: dict[str, int]) -> None:
    """Does things to pods at random moments of the time that one takes, until one has seen it through."""
    for _ in range(KILLS):
        pod = await trial.pod(way.port)
        what = chance.choice(("kill", "drain", "cut"))
        try:
            status = await asyncio.wait_for(pod.wait(), chance.uniform(0.2, seconds))
        except TimeoutError:
            counts[what] += 1
            if what == "cut":
                way.leave()
                await asyncio.sleep(chance.uniform(0, seconds))
                way.away = False
                status = await pod.wait()
            elif what == "drain":
                with suppress(ProcessLookupError):  # it has just ended
                    pod.terminate()
                status = await pod.wait()
                if status == jobdir.TERMINATED:
                    trial.drained.append(chr(ord("a") + trial.pods - 1))
            else:
                with suppress(ProcessLookupError):
                    os.killpg(pod.pid, signal.SIGKILL)
                status = await pod.wait()
        if status == jobdir.OK:
            return
    assert await (await trial.pod(way.port)).wait() == jobdir.OK


async def test_whatever_befalls_pods_the_last_leaves_a_whole_result(trials, all_faults: bool, tell: Tell) -> None:
    chance, counts = random.Random(6), dict.fromkeys(("kill", "drain", "cut"), 0)
    async with trials() as (start, way):
        first, begun = start(0), time.monotonic()
        assert await (await first.pod(way.port)).wait() == jobdir.OK
        seconds = time.monotonic() - begun
        first.check()
        attempts = 20 if all_faults else 1
        for number in range(1, attempts + 1):
            trial = start(number)
            await torment(trial, way, chance, seconds, counts)
            trial.check()
    what = f"{counts['kill']} pods killed, {counts['drain']} drained, {counts['cut']} cut off from their trainer, at random moments"
    tell(f"{what} of {attempts} attempts, on a real S3 server", str(sum(counts.values())), "0")


@pytest.mark.parametrize("found", PLANTED)
async def test_a_bug_that_is_planted_is_found(trials, found: str) -> None:
    async with trials() as (start, way):
        trial = start(0, PLANTED[found])
        pod = await trial.pod(way.port)
        while not (trial.folder / "a" / jobdir.PROGRESS).exists():
            await asyncio.sleep(0.01)
        pod.terminate()
        assert await pod.wait() == jobdir.TERMINATED
        trial.drained = ["a"]
        assert await (await trial.pod(way.port)).wait() == jobdir.OK
        with pytest.raises(AssertionError, match=found):
            trial.check()
