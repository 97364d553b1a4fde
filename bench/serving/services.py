"""The contestants: how each is started on given cores, what it is sent, and how long calls to it take."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import grpc
import machine
import onnxruntime
from serving.load import pack, tree
from serving.subject import Subject

from eyasd.config import Settings

PROGRAMS = Path(__file__).parent / "contestants"
# All with the ONNX Runtime and the gRPC that Eyas has here, so that the difference is the service.
_COMMON = (f"onnxruntime=={onnxruntime.__version__}", f"grpcio=={version('grpcio')}", "simplejpeg", "pillow")
PACKAGES = {"hand": (*_COMMON, "protobuf"), "mlserver": (*_COMMON, "mlserver"), "ray": (*_COMMON, "ray[serve-grpc]")}
OWN = "own"  # the environment that this runs in
START_SECONDS = 120
WARM_SECONDS = 1.0
STATUSES = {code.value[0]: code.name for code in grpc.StatusCode}


class LeftOut(Exception):
    """A contestant that cannot take part; says why."""


@dataclass(frozen=True)
class Contestant:
    """A service.

    Attributes:
        name: in the tables.
        environment: a key of PACKAGES, or OWN; None is Eyas.
        program: in PROGRAMS, with its arguments.
        settings: of Eyas: environment variables.
        path: of the method that labels a picture.
    """

    name: str
    environment: str | None
    program: tuple[str, ...] = ()
    settings: Mapping[str, str] = field(default_factory=dict)
    path: str = "/bench.Classifier/Classify"

    def request(self, subject: Subject, picture: bytes) -> bytes:
        """Returns the message that asks for a picture's label."""
        if self.environment is None:
            return _field(1, f"models/{subject.model}".encode()) + _field(2, _field(1, picture))
        if (
            self.environment == "mlserver"
        ):  # inference.ModelInferRequest: model_name, and inputs with name, datatype, shape, contents
            tensor = _field(1, b"image") + _field(2, b"BYTES") + _field(3, b"\1") + _field(5, _field(8, picture))
            return _field(1, b"bench") + _field(5, tensor)
        return _field(1, picture)


def eyas(name: str = "Eyas", **settings: str) -> Contestant:
    """Returns Eyas with settings, such as `serving__precision="fp32"`."""
    named = {f"EYASD_{setting.upper()}": value for setting, value in settings.items()}
    return Contestant(name, None, (), named, "/eyas.v1.ClassificationService/Classify")


SYNC = Contestant("grpcio by hand, sync", "hand", ("sync_service.py", "4"))
SYNC_BATCHES = Contestant("grpcio by hand, sync, batches", "hand", ("sync_service.py", "16", "8"))
AIO = Contestant("grpcio by hand, aio", "hand", ("aio_service.py", "2"))
AIO_BATCHES = Contestant("grpcio by hand, aio, batches", "hand", ("aio_service.py", "1", "8"))
MLSERVER = Contestant("MLServer", "mlserver", ("mlserver_runtime.py", "2"), path="/inference.GRPCInferenceService/ModelInfer")
RAY = Contestant("Ray Serve, gRPC", "ray", ("ray_service.py", "2"))
ECHO_SYNC = Contestant("echo, sync", "hand", ("echo.py", "sync"))
ECHO_AIO = Contestant("echo, aio", "hand", ("echo.py", "aio"))
ECHO_DOOR = Contestant("echo, Eyas' door", OWN, ("echo.py", "door"))


class Environments:
    """Interpreters that have what the contestants need, made where there is none."""

    def __init__(self, home: Path) -> None:
        """Takes a folder for them."""
        self._home = home

    def interpreter(self, name: str) -> str:
        """Returns the path of one. Raises LeftOut."""
        if name == OWN:
            return sys.executable
        environment = self._home / name
        ready = environment / "ready"
        wanted = "\n".join(PACKAGES[name])
        if not ready.exists() or ready.read_text() != wanted:
            print(f"Making the environment {environment}.", flush=True)
            for command in (
                [sys.executable, "-m", "venv", environment],
                [environment / "bin/pip", "install", "--quiet", *PACKAGES[name]],
            ):
                done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
                if done.returncode:
                    raise LeftOut(f"{name} cannot be installed: {_last_line(done.stdout)}")
            ready.write_text(wanted)
        return str(environment / "bin/python")


@dataclass(frozen=True)
class Service:
    """A contestant that answers.

    Attributes:
        contestant: which.
        subject: what it serves.
        address: of its gRPC server.
        pid: of its first process.
        folder: for files, gone with the service.
        seconds_to_serving: from the start of the process to the first SERVING; 0 where nobody looked.
    """

    contestant: Contestant
    subject: Subject
    address: str
    pid: int
    folder: Path
    seconds_to_serving: float = 0.0

    def requests(self) -> Path:
        """Returns a file with a request for each picture."""
        file = self.folder / "requests"
        if not file.exists():
            file.write_bytes(pack([self.contestant.request(self.subject, picture) for picture in self.subject.pictures]))
        return file

    def memory_mib(self) -> float:
        """Returns the memory of all its processes; what they share counts once (PSS)."""
        total = 0
        for pid in tree(self.pid):
            try:
                rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
            except OSError:  # it has ended meanwhile
                continue
            total += next(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:"))
        return total / 1024


@contextmanager
def serve(contestant: Contestant, subject: Subject, environments: Environments, cores: str | None) -> Iterator[Service]:
    """Starts a contestant on cores such as 0 or 0-3, waits until it answers, and ends it with all that it started.

    Raises:
        LeftOut: it cannot be installed, or does not answer.
    """
    with machine.scratch() as scratch:
        if contestant.environment is None:
            _check_settings(contestant)
            with machine.daemon("server", subject.data_dir, cores=cores, settings=contestant.settings) as daemon:
                yield Service(contestant, subject, daemon.address, daemon.pid, Path(scratch), daemon.seconds_to_serving)
            return
        python = environments.interpreter(contestant.environment)
        port = machine.free_port()
        task = subject.task(Path(scratch), port=port)
        command = [python, PROGRAMS / contestant.program[0], task, *contestant.program[1:]]
        log = Path(scratch, "log")
        with (
            log.open("wb") as out,
            subprocess.Popen(_pinned(command, cores), stdout=out, stderr=out, env=_environment()) as process,
        ):
            service = Service(contestant, subject, f"127.0.0.1:{port}", process.pid, Path(scratch))
            try:
                _await_answer(service, process, log)
                yield service
            finally:
                _end(process)


@dataclass(frozen=True)
class Measured:
    """What a load was answered with.

    Attributes:
        began: when, on the clock of `time.time`.
        seconds: of the load.
        calls: of each its start, how many seconds it took, its status, and whether that came with a RetryInfo.
        server_cpu: processor time of the service, in cores.
        load_cpu: of the load generator; near 1 it was the load that was measured.
        lag_ms: the longest time by which a call started late.
        answers: for some pictures, by number, what was answered.
    """

    began: float
    seconds: float
    calls: list[tuple[float, float, int, int]]
    server_cpu: float
    load_cpu: float
    lag_ms: float
    answers: dict[int, bytes]

    @property
    def answered(self) -> list[float]:
        """How many seconds each call took that was answered."""
        return [seconds for _, seconds, status, _ in self.calls if not status]

    @property
    def failures(self) -> dict[str, int]:
        """How many calls ended with each status that is not OK."""
        return dict(Counter(STATUSES[status] for _, _, status, _ in self.calls if status))

    def figures(self) -> dict[str, float]:
        """Returns what goes into a row."""
        return {
            "rate": round(len(self.answered) / self.seconds, 2),
            **{f"p{q}": round(1000 * percentile(self.answered, q), 3) for q in (50, 99)},
            "failed": sum(self.failures.values()),
            **{f"failed_{name}": count for name, count in self.failures.items()},
            "server_cpu": round(self.server_cpu, 3),
            "load_cpu": round(self.load_cpu, 3),
        }


def measure(service: Service, cores: str | None, seconds: float, *, timeout_ms: int = 20_000, **load: float) -> Measured:
    """Loads a service from cores of the load's own; `load` is `concurrency`, or `rate` and `seed`."""
    return finish(begin(service, cores, seconds, timeout_ms=timeout_ms, **load))


def measure_together(
    service: Service, cores: str | None, seconds: float, concurrency: int, processes: int, connections: int
) -> Measured:
    """Loads a service from several processes, which share the calls; 0 connections are as many as the calls need."""
    load = {"concurrency": -(-concurrency // processes)} | ({"connections": connections} if connections else {})
    loads = [begin(service, cores, seconds, **load) for _ in range(processes)]
    parts = [finish(started) for started in loads]
    if processes == 1:
        return parts[0]
    return Measured(
        began=min(part.began for part in parts),
        seconds=seconds,
        calls=[call for part in parts for call in part.calls],
        server_cpu=statistics.fmean(part.server_cpu for part in parts),
        load_cpu=max(part.load_cpu for part in parts),
        lag_ms=0.0,
        answers=parts[0].answers,
    )


def begin(
    service: Service, cores: str | None, seconds: float, *, timeout_ms: int = 20_000, **load: float
) -> subprocess.Popen[bytes]:
    """Starts what `measure` does; `finish` ends it."""
    task = {
        "address": service.address,
        "path": service.contestant.path,
        "requests": str(service.requests()),
        "timeout_ms": timeout_ms,
        "seconds": seconds,
        "warm": WARM_SECONDS,
        "pid": service.pid,
    }
    command = _pinned([sys.executable, "-m", "serving.load", json.dumps(task | load)], cores)
    return subprocess.Popen(command, cwd=PROGRAMS.parents[1], stdout=subprocess.PIPE)


def finish(load: subprocess.Popen[bytes]) -> Measured:
    """Waits for a load's end, and returns what it was answered with."""
    said, _ = load.communicate()
    if load.returncode:
        sys.exit("The load generator failed.")
    result: dict[str, Any] = json.loads(said)
    result["answers"] = {int(number): bytes.fromhex(answer) for number, answer in result["answers"].items()}
    return Measured(**result)


def loop(
    subject: Subject, environments: Environments, cores: str | None, seconds: float
) -> tuple[dict[str, float], dict[int, str]]:
    """Runs the bare loop; returns its figures, and the label of some pictures by number."""
    return _loop([environments.interpreter("hand"), PROGRAMS / "bare_loop.py"], subject, cores, seconds, _environment())


def own_loop(subject: Subject, cores: str | None, seconds: float) -> dict[str, float]:
    """Runs the loop of Eyas's own decoding and session; returns its figures."""
    return _loop([sys.executable, PROGRAMS / "own_loop.py"], subject, cores, seconds, os.environ)[0]


def _loop(
    command: Sequence[object], subject: Subject, cores: str | None, seconds: float, environment: Mapping[str, str]
) -> tuple[dict[str, float], dict[int, str]]:
    with machine.scratch() as scratch:
        pictures = str(subject.write_pictures(Path(scratch)))
        task = subject.task(Path(scratch), port=0, pictures=pictures, seconds=seconds)
        done = subprocess.run(_pinned([*command, task], cores), stdout=subprocess.PIPE, env=environment, check=True)
    result = json.loads(done.stdout)
    took: list[float] = result["seconds"]
    figures = {"rate": round(len(took) / sum(took), 2), **{f"p{q}": round(1000 * percentile(took, q), 3) for q in (50, 99)}}
    return figures, {int(number): answer.split()[0] for number, answer in result["answers"].items()}


def agreement(measured: Measured, labels: Mapping[int, str]) -> float:
    """Returns the share of the known pictures whose answer names the label that the bare loop gave."""
    known = [(answer, labels[number]) for number, answer in measured.answers.items() if number in labels]
    return sum(label.encode() in answer for answer, label in known) / len(known) if known else 1.0


def percentile(values: Sequence[float], percent: float) -> float:
    """Returns the value below which so many percent lie; NaN of none."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))] if ordered else float("nan")


def _check_settings(contestant: Contestant) -> None:
    """Raises LeftOut where this Eyas has not got a setting."""
    for name in contestant.settings:
        room, _, setting = name.removeprefix("EYASD_").lower().partition("__")
        if setting not in type(getattr(Settings(), room)).model_fields:
            raise LeftOut(f"This Eyas has no setting {room}.{setting}.")


def _pinned(command: Sequence[object], cores: str | None) -> list[str]:
    words = list(map(str, command))
    return ["taskset", "-c", cores, *words] if cores else words


def _environment() -> dict[str, str]:
    """Returns the environment of a contestant: Eyas's own paths are not its business, and a core has room for one thread."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | {"OMP_NUM_THREADS": "1"}


def _await_answer(service: Service, process: subprocess.Popen[bytes], log: Path) -> None:
    request = service.contestant.request(service.subject, service.subject.pictures[0])
    end = time.monotonic() + START_SECONDS
    with grpc.insecure_channel(service.address, options=[("grpc.max_reconnect_backoff_ms", 100)]) as channel:
        call = channel.unary_unary(service.contestant.path)
        while process.poll() is None and time.monotonic() < end:
            try:
                call(request, timeout=2)
            except grpc.RpcError:
                time.sleep(0.05)
            else:
                return
    print(log.read_text(errors="replace")[-4000:], file=sys.stderr)
    ended = "ended" if process.poll() is not None else f"gave no answer within {START_SECONDS} s"
    raise LeftOut(f"{service.contestant.name} {ended}: {_last_line(log.read_text(errors='replace'))}")


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ends a process and its descendants, kindly first."""
    family = tree(process.pid)
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
    for pid in family[1:]:
        if Path(f"/proc/{pid}").exists():
            subprocess.run(["kill", "-9", str(pid)], stderr=subprocess.DEVNULL, check=False)


def _field(number: int, content: bytes) -> bytes:
    """Returns a field of a protobuf message that has a length."""
    size, encoded = len(content), bytearray([number << 3 | 2])
    while size > 127:
        encoded.append(size & 127 | 128)
        size >>= 7
    return bytes(encoded) + bytes([size]) + content


def _last_line(text: str) -> str:
    return text.strip().rpartition("\n")[2] or "it said nothing."
