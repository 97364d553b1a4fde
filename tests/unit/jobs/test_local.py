"""jobs.local and jobs.guard with real processes, whose programs are a few lines of Python instead of the trainer."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import pytest

from eyasd.core import jobdir, stacks
from eyasd.jobs import guard, local
from eyasd.jobs.local import LocalOptions, LocalRunner
from eyasd.jobs.runner import Cause, DevicesTaken, Ending, Launch, Process
from processes import listed
from waits import until

_T = TypeVar("_T")
SLEEP = "time.sleep(60)"
# Says that it is at work, and who its processes are.
SAY = "open(sys.argv[1] + '/said', 'a').write(f'{os.getpid()}\\n'); "
CHILD = "subprocess.Popen([sys.executable, '-c', 'import os, sys, time; ' + {!r}, sys.argv[1]], start_new_session=True); "


class House:
    """A job's folder, and a runner that starts a few lines of Python in the trainer's place."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder / "job"
        self.folder.mkdir()
        self.locks = folder / "gpus"
        self._program = ""
        start = asyncio.create_subprocess_exec

        async def replaced(*command: str, **how: object) -> asyncio.subprocess.Process:
            at = command.index(str(self.folder))
            assert command[at + 2 :] == ("-m", "eyasd.training", str(self.folder))
            return await start(*command[: at + 2], "-c", self._program, str(self.folder), **how)  # type: ignore[arg-type]

        monkeypatch.setattr(local.asyncio, "create_subprocess_exec", replaced)

    async def start(self, program: str, **options: object) -> Process:
        self._program = f"import os, signal, subprocess, sys, time\n{program}\n"
        runner = LocalRunner(LocalOptions(locks=self.locks, **options))  # type: ignore[arg-type]
        return await runner.start(self.launch)

    @property
    def launch(self) -> Launch:
        return Launch(job="job", attempt=1, job_dir=self.folder)

    async def said(self, count: int) -> list[int]:
        """Returns the process ids of the program's processes, once so many have spoken."""
        return await until(lambda: self._said(count))

    def _said(self, count: int) -> list[int] | None:
        path = self.folder / "said"
        lines = path.read_text().split() if path.exists() else []
        return [int(line) for line in lines] if len(lines) == count else None


def alive(process: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{process}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):  # before it was opened, or before it was read
        return False


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    return House(tmp_path, monkeypatch)


def test_the_guard_uses_the_words_of_those_whom_it_must_not_import() -> None:
    assert (guard.ENDING, guard.LOCK, guard.LEASE, guard._TERMINATED) == (
        jobdir.ENDING,
        jobdir.LOCK,
        jobdir.LEASE,
        jobdir.TERMINATED,
    )
    assert {guard.OUT_OF_MEMORY, guard.TIME_LIMIT, guard.LOST, guard.PROGRAM} <= set(Cause)
    imported = "import sys, eyasd.jobs.guard; print([m for m in sys.modules if m.startswith(('numpy', 'PIL', 'eyasd.core.'))])"
    assert subprocess.check_output([sys.executable, "-c", imported], text=True) == "['eyasd.core.kin']\n"


@pytest.mark.parametrize(
    ("program", "ending"),
    [
        ("pass", Ending(0)),
        ("sys.exit(42)", Ending(42)),
        ("os.kill(os.getpid(), 15)", Ending(jobdir.TERMINATED)),
        ("os.kill(os.getpid(), 9)", Ending(-9, Cause.LOST)),
    ],
)
async def test_an_attempt_ends_as_its_program_did(house: House, program: str, ending: Ending) -> None:
    process = await house.start(program)
    assert await process.wait() == ending
    runner = LocalRunner(LocalOptions(locks=house.locks))
    assert await runner.attach(house.launch) is None


async def test_one_that_has_ended_by_itself_is_stopped_to_its_end(house: House) -> None:
    process = await house.start("pass")
    while alive(process._pid):  # and the loop does not come around, so it does not hear of that
        pass
    end = time.monotonic() + 1  # for asyncio, where it waits for its children in threads
    while os.path.exists(f"/proc/{process._pid}") and time.monotonic() < end:  # noqa: ASYNC240, PTH110
        pass
    await process.stop(60)
    assert process._child.returncode == 0


async def test_a_program_is_not_told_what_is_for_its_daemon_alone(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("EYASD_API__TOKEN", "EYASD_JOBS__DATABASE", "EYASD_TRACKERS__MLFLOW__TOKEN", "OTEL_EXPORTER_OTLP_HEADERS"):
        monkeypatch.setenv(name, "hunter2")
    monkeypatch.setenv("AWS_REGION", "fetches datasets")
    process = await house.start(SAY + SLEEP)
    (program,) = await house.said(1)
    guard = int((house.folder / jobdir.LOCK).read_text())
    for pid in (guard, program):
        assert "hunter2" not in listed(pid)
        assert "AWS_REGION=fetches datasets" in listed(pid)
    await process.stop(0)


async def test_nothing_of_a_program_outlives_it_not_even_in_a_session_of_its_own(house: House) -> None:
    process = await house.start(CHILD.format(SAY + SLEEP) + f"{SAY}\nwhile len(open(sys.argv[1] + '/said').readlines()) < 2: pass")
    assert await process.wait() == Ending(0)
    assert not any(map(alive, await house.said(2)))


async def test_a_guard_that_is_killed_takes_its_program_along(house: House) -> None:
    process = await house.start(SAY + SLEEP)
    (program,) = await house.said(1)
    os.kill(int((house.folder / jobdir.LOCK).read_text()), signal.SIGKILL)
    assert await process.wait() == Ending(-9, Cause.LOST)
    assert not alive(program)


async def test_a_later_daemon_finds_the_attempt_and_its_exit_status(house: House) -> None:
    await house.start(f"{SAY}\nwhile not os.path.exists(sys.argv[1] + '/go'): time.sleep(0.01)\nsys.exit(42)")
    await house.said(1)
    runner = LocalRunner(LocalOptions(locks=house.locks))
    with pytest.raises(BlockingIOError):
        await runner.start(house.launch)
    found = await runner.attach(house.launch)
    assert found is not None
    (house.folder / "go").touch()
    assert await found.wait() == Ending(42)


async def test_a_guard_that_a_killed_daemon_has_only_just_started_is_found(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local.asyncio, "create_subprocess_exec", None)  # as where the daemon ends at this very moment
    runner = LocalRunner(LocalOptions(locks=house.locks))
    (house.folder / jobdir.LOCK).write_text("1")  # of an earlier attempt
    with pytest.raises(TypeError):
        await runner.start(house.launch)
    monkeypatch.undo()
    holds = "import fcntl, sys, time; lock = open(sys.argv[1] + '/lock', 'r+'); fcntl.flock(lock, 2); print(flush=True); input()"
    started = await asyncio.create_subprocess_exec(
        sys.executable, "-c", holds, house.folder, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )
    assert started.stdout is not None
    await started.stdout.readline()
    finding = asyncio.create_task(runner.attach(house.launch))
    await asyncio.sleep(0.05)
    assert not finding.done()
    (house.folder / jobdir.LOCK).write_text(str(started.pid))
    found = await finding
    assert found is not None
    started.kill()
    assert await found.wait() == Ending(None, Cause.LOST)
    await started.wait()


@pytest.mark.parametrize("deaf", [False, True])
async def test_an_attempt_is_asked_to_end_and_killed_with_all_its_processes_if_it_does_not(house: House, deaf: bool) -> None:
    ignore = "signal.signal(15, signal.SIG_IGN); "
    process = await house.start((ignore if deaf else "") + CHILD.format(SAY + SLEEP) + SAY + SLEEP)
    processes = await house.said(2)
    await process.stop(0.3 if deaf else 30)
    assert await process.wait() == (Ending(-9, Cause.LOST) if deaf else Ending(jobdir.TERMINATED))
    assert not any(map(alive, processes))


async def test_a_guard_that_does_not_hear_is_killed(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "_LAST_GRACE_SECONDS", 0.05)
    process = await house.start(SAY + SLEEP)
    (program,) = await house.said(1)
    os.kill(int((house.folder / jobdir.LOCK).read_text()), signal.SIGSTOP)
    await process.stop(0.05)
    assert (await process.wait()).cause is Cause.LOST
    assert not alive(program)


async def test_an_attempt_that_takes_too_much_memory_is_killed_and_told_how_much(house: House) -> None:
    """All its processes count; what they map of files does not."""
    hold = "held = b'x' * 60_000_000; time.sleep(60)"
    process = await house.start(CHILD.format(hold) + hold, memory_bytes=100_000_000)
    ending = await process.wait()
    assert (ending.status, ending.cause) == (-9, Cause.OUT_OF_MEMORY)
    assert ending.message.startswith("The training program took 0.1")
    assert ending.message.endswith("GB of memory, and may take 0.10 GB.")


@pytest.mark.parametrize("deaf", [False, True])
async def test_an_attempt_that_runs_too_long_is_ended(house: House, deaf: bool) -> None:
    hears = "signal.SIG_IGN" if deaf else "lambda *_: sys.exit(143)"
    limit = 0.5
    while True:
        process = await house.start(
            f"signal.signal(15, {hears}); {SAY + SLEEP}", time_limit_seconds=limit, grace_seconds=0.1 if deaf else 60
        )
        ending = await process.wait()
        assert ending.cause is Cause.TIME_LIMIT
        assert ending.message == f"The training program ran for {limit:g} s, which is as long as an attempt may."
        if house.folder.joinpath("said").exists():
            break
        limit *= 4  # it was no further than its start
    assert ending.status == (-9 if deaf else jobdir.TERMINATED)


async def test_an_attempt_whose_lease_nobody_renews_ends_by_itself(house: House) -> None:
    process = await house.start(SAY + SLEEP, lease_seconds=2)
    await house.said(1)
    lease = house.folder / jobdir.LEASE
    for moment in range(12):
        lease.touch()
        os.utime(lease, (moment, moment))  # whatever the clock says
        await asyncio.sleep(0.2)
    assert await LocalRunner(LocalOptions(locks=house.locks)).attach(house.launch) is not None
    ending = await process.wait()
    assert (ending.status, ending.cause) == (jobdir.TERMINATED, Cause.LOST)
    assert ending.message == "No daemon has renewed the lease of the job for 2 s."


async def test_what_was_stopped_for_long_does_not_take_an_old_lease_for_a_new_one(house: House) -> None:
    process = await house.start(SAY + SLEEP, lease_seconds=3)
    await house.said(1)
    guard = int((house.folder / jobdir.LOCK).read_text())
    os.kill(guard, signal.SIGSTOP)
    (house.folder / jobdir.LEASE).touch()
    await asyncio.sleep(3.1)
    os.kill(guard, signal.SIGCONT)
    begun = time.monotonic()
    assert (await process.wait()).cause is Cause.LOST
    assert time.monotonic() - begun < 3


def test_what_the_kernel_killed_for_want_of_memory_is_told_so(tmp_path: Path) -> None:
    # In a process of its own, as a guard ends all that descends from its process.
    program = "from eyasd.jobs import guard; kills = iter([3, 4]); guard._memory_kills = lambda: next(kills); exit(guard.main())"
    command = [sys.executable, "-c", program, str(tmp_path), sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"]
    assert subprocess.run(command, check=False).returncode == 128 + 9
    told = json.loads((tmp_path / jobdir.ENDING).read_text())
    assert (told["cause"], told["message"][:33]) == (Cause.OUT_OF_MEMORY, "The machine ran out of memory, an")


async def test_a_job_has_its_gpus_alone_where_there_are_enough(house: House) -> None:
    process = await house.start(SAY + SLEEP, gpus=("0", "1"))
    await house.said(1)
    assert process.standing().place == "GPU 0"  # all but a training takes one
    (second := house.folder.parent / "second").mkdir()
    house.folder = second
    other = await house.start(SAY + SLEEP, gpus=("0", "1"))
    await house.said(1)
    assert other.standing().place == "GPU 1"
    (third := house.folder.parent / "third").mkdir()
    house.folder = third
    with pytest.raises(DevicesTaken, match="It wants 1 of 2 GPUs, and 0 are free"):
        await house.start(SAY + SLEEP, gpus=("0", "1"))
    runner = LocalRunner(LocalOptions(locks=house.locks, gpus=("0", "1")))  # of a daemon that was started again
    assert runner.taken(()) == ["GPU 0", "GPU 1"]
    assert await runner.attach(replace(house.launch, job_dir=second)) is not None
    assert runner.taken({"job"}) == ["GPU 0"]
    await process.stop(5)
    await other.stop(5)


@pytest.mark.parametrize(
    ("options", "launch", "processes"),
    [
        ({}, {"training": True}, 1),
        ({"gpus": ("0", "1")}, {"training": True}, 2),
        ({"gpus": ("0", "1"), "processes": 8}, {"training": True}, 8),
        ({"gpus": ("0", "1"), "processes": 8}, {"training": True, "devices": 1}, 1),
        ({"gpus": ("0", "1"), "processes": 8}, {}, 1),
    ],
)
def test_a_training_alone_takes_several_processes(options: dict[str, object], launch: dict[str, object], processes: int) -> None:
    runner = LocalRunner(LocalOptions(locks=Path("gpus"), **options))  # type: ignore[arg-type]
    assert runner._processes(Launch(job="j", attempt=1, job_dir=Path("j"), **launch)) == processes  # type: ignore[arg-type]


async def test_it_says_where_its_threads_are_whatever_holds_them_up(house: House) -> None:
    """A process that would be ended by the question is not asked."""
    program = "import faulthandler\nfaulthandler.register(signal.SIGUSR1)\n" + CHILD.format(SAY + SLEEP)
    process = await house.start(f"{program}\ndef hangs():\n    {SAY}{SLEEP}\nhangs()")
    _, *_ = both = await house.said(2)
    assert stacks.place(await process.stacks()) == "hangs (<string>:6)"
    assert all(alive(one) for one in both)
    await process.stop(10)
    assert await process.stacks() == ""
