"""What a service is made of, each part a process or more of this machine: what can be killed, stopped, filled, cut off and set."""

from __future__ import annotations

import signal
import threading
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import pytest

import eyas
from eyasd.registry.models import Models
from eyasd.storage.bucket import Bucket
from faults.clock import Clock
from faults.disk import Disk, mounted
from ports import free_port
from postgres import Postgres
from processes import children, command
from s3_server import BUCKET, Proxy, S3Server, environment, proxied
from trainers import Trainer, program
from wire import Wire

PROGRAMS = Path(__file__).parents[1] / "programs"
MAX_ATTEMPTS = 10  # the most that there may be
_ENGINE_TRIES_SECONDS = 2.0  # until a version that seven engines in a row could not answer with is tried again
_DISK_MEGABYTES = 64
_STARTED_AGAIN_SECONDS = 0.2
_STOP_SECONDS = 60.0
_SHARED = Path("/dev/shm")  # noqa: S108 - where segments lie, not a place to write
_PYTORCHS = "torchinductor_"  # a cache that all processes of a user have in common
SERVER, TRAINER = "server", "trainer"
# Which role a process has, by a word of its command line; any other below a daemon is some worker.
_ROLES = {
    "eyasd.acceptor": "acceptor",
    "eyasd.serving.engine": "engine",
    "eyasd.serving.decoding": "decoder",
    "eyasd.jobs.guard": "guard",
    "eyasd.training": "program",
}


@dataclass
class Machine:
    """A daemon, and what lies between it and all others.

    Attributes:
        daemon: which is started again whenever it has ended, until the house is closed.
        store: the way to the object store.
        clock: of the daemon and all that it starts.
        disk: that its data folder is on; None where none may be mounted.
        scratch: where temporary files lie.
        ends: exit statuses of those that ended, and when.
    """

    daemon: Trainer
    store: Proxy
    clock: Clock
    disk: Disk | None
    scratch: Path
    ends: list[tuple[float, int]] = field(default_factory=list)

    def start(self) -> None:
        ways = {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.store.port}", "TMPDIR": str(self.scratch)}
        self.daemon.start(**self.clock.environment, **ways)


class House:
    """A server of several acceptors and a trainer, on one S3 store and one PostgreSQL."""

    def __init__(self, folder: Path, store: S3Server, postgres: Postgres, plant: str = "") -> None:
        """Starts no daemon yet; `plant` is a bug that they have, see `plants`."""
        self.runs = folder / "runs"
        self.scratch = folder / "scratch"
        self.scratch.mkdir()
        self.machines: dict[str, Machine] = {}
        self.taken: set[str] = set()  # to which something is done at the moment
        self.without = ""  # what cannot be tried here, and why
        self._closing = threading.Event()
        self._stack = ExitStack()
        self._shared = set(_SHARED.iterdir())
        with ExitStack() as stack:
            patch = stack.enter_context(pytest.MonkeyPatch.context())
            for variable, value in environment(store.port).items():
                patch.setenv(variable, value)
            self.address = f"s3://{BUCKET}/{uuid4().hex}"
            self.models = Models(Bucket(self.address))
            self.postgres = postgres
            name = postgres.create()
            self.database = postgres.url(name)
            (folder / "wire").mkdir()
            self.wire = Wire(folder / "wire", postgres.folder)
            stack.callback(self.wire.end)
            shared = {"REGISTRY__URL": self.address, "EYAS_TEST_RUNS": self.runs} | ({"EYAS_TEST_PLANT": plant} if plant else {})
            self.http_address = f"127.0.0.1:{free_port()}"
            serving = {
                "SERVING__ACCEPTORS": 2,
                "SERVING__DECODE_PROCESSES": 2,
                "SERVING__RETRY_INTERVAL_SECONDS": _ENGINE_TRIES_SECONDS,
            }
            jobs = {"JOBS__DATABASE": self.postgres.url(name, self.wire.folder), "JOBS__MAX_ATTEMPTS": MAX_ATTEMPTS}
            jobs |= {"JOBS__RETRY_SECONDS": 0.5, "JOBS__MAX_RUNNING": 2}
            own = {SERVER: serving | {"API__HTTP_LISTEN": self.http_address}, TRAINER: jobs}
            for role, settings in own.items():
                place = folder / role
                place.mkdir()
                disk = self._mount(stack, place / "disk")
                daemon = Trainer(place / "home", PROGRAMS, role=role, **shared, **settings)
                if disk:
                    daemon.data.rmdir()
                    daemon.data.symlink_to(disk.folder)
                machine = Machine(daemon, stack.enter_context(proxied(store.port)), Clock(place), disk, self.scratch)
                stack.callback(daemon.end)
                self.machines[role] = machine
            self._stack = stack.pop_all()
        self._keeping = threading.Thread(target=self._keep, name="keeps the daemons", daemon=True)

    def _mount(self, stack: ExitStack, place: Path) -> Disk | None:
        try:
            return stack.enter_context(mounted(place, _DISK_MEGABYTES))
        except PermissionError as error:
            self.without = str(error)
            return None

    def begin(self) -> None:
        """Starts the daemons, each again whenever it has ended."""
        for machine in self.machines.values():
            machine.start()
        for machine in self.machines.values():
            machine.daemon.client().close()
        self._keeping.start()

    def _keep(self) -> None:
        while not self._closing.wait(_STARTED_AGAIN_SECONDS):
            for machine in self.machines.values():
                if machine.daemon.killed and machine.daemon.process is not None:
                    machine.ends.append((time.monotonic(), machine.daemon.process.returncode))
                    machine.start()

    def client(self, role: str) -> eyas.Client:
        """Returns a client of a daemon that is there, or will be."""
        return eyas.Client(self.machines[role].daemon.address, timeout=15)

    def processes(self, role: str, jobs: list[str]) -> list[int]:
        """Returns the processes of a role; those of jobs outlive their daemon, so they are found by the job."""
        if role in self.machines:
            process = self.machines[role].daemon.process
            return [process.pid] if process is not None and process.poll() is None else []
        if role in {"guard", "program"}:
            guards = [guard for job in jobs if (guard := self.machines[TRAINER].daemon.guard(job))]
            return guards if role == "guard" else [found for guard in guards if (found := program(guard))]
        return [pid for name in self.machines for pid in self._below(name) if _role(pid) == role]

    def _below(self, name: str) -> list[int]:
        found, new = list[int](), self.processes(name, [])
        while new:
            new = [child for pid in new for child in children(parent=pid)]
            found += new
        return found

    def close(self) -> list[str]:
        """Ends the daemons as whoever runs them does, and returns what is wrong with that, or has been left behind."""
        wrong = []
        self._closing.set()
        self._keeping.join()
        for role, machine in self.machines.items():
            process = machine.daemon.process
            assert process is not None
            process.send_signal(signal.SIGTERM)
            try:
                if (status := process.wait(_STOP_SECONDS)) != 0:
                    wrong.append(f"the {role} ended with status {status} when it was told to end")
            except Exception:  # noqa: BLE001 - it is killed below
                wrong.append(f"the {role} did not end within {_STOP_SECONDS:g} s")
        wrong += self._left_behind()
        return wrong

    def _left_behind(self) -> list[str]:
        marker, found = f"EYAS_TEST_RUNS={self.runs}".encode(), []
        for environ in Path("/proc").glob("[0-9]*/environ"):
            with suppress(OSError):
                if marker in environ.read_bytes():
                    found.append(f"a process was left: {command(int(environ.parent.name))!r}")
        # A segment is a file; others of this machine may have made theirs meanwhile, and use them.
        new = set(_SHARED.iterdir()) - self._shared
        found += [f"{path} was left" for path in new if path.is_file() and not _is_used(path)]
        return found + [f"{path} was left" for path in self.scratch.iterdir() if not path.name.startswith(_PYTORCHS)]

    def end(self) -> None:
        """Ends whatever still runs."""
        self._closing.set()
        self._stack.close()


def _role(pid: int) -> str:
    words = command(pid).split("\0")
    return next((role for word, role in _ROLES.items() if word in words), "worker" if any(words) else "")


def _is_used(path: Path) -> bool:
    for maps in Path("/proc").glob("[0-9]*/maps"):
        with suppress(OSError):
            if str(path) in maps.read_text():
                return True
    return False
