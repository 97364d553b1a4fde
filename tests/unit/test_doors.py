"""The one-way doors: what each room may never import, tried in a fresh process."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

import eyasd

TORCH = ("torch", "timm", "torchvision")
ROOT = Path(eyasd.__file__).parent
NO_GRPC = ("grpc", "google.protobuf", "eyas.v1")
TRAINER_PARTS = ("eyasd.training",)


def modules(room: str) -> list[str]:
    files = sorted(path for path in (ROOT / room).rglob("*.py") if path.stem not in {"__init__", "__main__", "env"})
    return [".".join(("eyasd", *path.relative_to(ROOT).with_suffix("").parts)) for path in files]


def training(*rooms: str) -> tuple[str, ...]:
    return tuple(f"eyasd.training.{room}" for room in rooms)


DOORS = {
    "core": (modules("core"), (*TORCH, *NO_GRPC, "onnxruntime", "pydantic", "prometheus_client", "structlog", "eyasd.telemetry")),
    "telemetry": (modules("telemetry"), (*TORCH, *NO_GRPC, "onnxruntime")),
    "access": (
        modules("access"),
        (*TORCH, *NO_GRPC, "onnxruntime", "aiohttp", "eyasd.storage", "eyasd.registry", "eyasd.serving", "eyasd.jobs", "eyasd.api"),
    ),
    "storage": (
        modules("storage"),
        (*TORCH, *NO_GRPC, "onnxruntime", "eyasd.telemetry", "eyasd.registry", "eyasd.serving", "eyasd.jobs", *TRAINER_PARTS),
    ),
    "registry": (modules("registry"), (*TORCH, *NO_GRPC, "onnxruntime", "eyasd.serving", "eyasd.jobs", *TRAINER_PARTS)),
    "serving": (modules("serving"), (*TORCH, *NO_GRPC, "eyasd.storage", "eyasd.registry", "eyasd.jobs", *TRAINER_PARTS)),
    "serving/queue": (
        modules("serving/queue"),
        ("asyncio", "onnxruntime", "PIL", "eyasd.telemetry", "eyasd.serving.engine", "eyasd.serving.traffic"),
    ),
    "serving/traffic": (modules("serving/traffic"), ("onnxruntime", "PIL", "eyasd.serving.engine", "eyasd.serving.queue")),
    "an engine's process": (
        ["eyasd.serving.engine.program", "eyasd.serving.engine.watch"],
        ("asyncio", "eyasd.telemetry", "prometheus_client", "pydantic", "structlog"),
    ),
    "jobs": (modules("jobs"), (*TORCH, *NO_GRPC, "onnxruntime", "eyasd.serving", *TRAINER_PARTS)),
    "trackers": (
        modules("trackers"),
        (*TORCH, *NO_GRPC, "onnxruntime", "tensorboard", "eyasd.serving", "eyasd.jobs", "eyasd.api", *TRAINER_PARTS),
    ),
    # It tells its trainer by the contract what it does, and starts the training program.
    "pod": (
        [*modules("pod"), "eyasd.pod.__main__"],
        (*TORCH, "onnxruntime", "eyasd.api", "eyasd.jobs", "eyasd.registry", "eyasd.serving", "eyasd.telemetry", *TRAINER_PARTS),
    ),
    # Of it jobs know how folders are handed over.
    "pod/layout": (["eyasd.pod.layout"], NO_GRPC),
    # google.protobuf comes in with onnx, which is a protobuf.
    "training": (modules("training"), ("grpc", "eyas.v1", "eyasd.registry", "eyasd.serving", "eyasd.jobs", "eyasd.api")),
    "training/data": (modules("training/data"), (*TORCH, *training("outcome", "scoring", "tuning", "head", "choice"))),
    "training/outcome": (modules("training/outcome"), training("scoring", "tuning", "head", "choice")),
    "training/scoring": (modules("training/scoring"), (*TORCH, *training("tuning", "head", "choice"))),
    "training/tuning": (modules("training/tuning"), training("scoring", "head", "choice")),
    "training/head": (modules("training/head"), training("scoring", "choice")),
    "training/choice": (modules("training/choice"), training("scoring")),
    "api": (modules("api"), (*TORCH, *TRAINER_PARTS)),
    "api/messages": (modules("api/messages"), ("eyasd.storage", "eyasd.registry", "eyasd.jobs")),
    "app": (
        [
            *modules("backup"),
            "eyasd.app",
            "eyasd.daemon",
            "eyasd.entrance",
            "eyasd.machine",
            "eyasd.runners",
            "eyasd.followers",
            "eyasd.check",
            "eyasd.supervisor",
            "eyasd.acceptor",
            "eyasd.__main__",
        ],
        (*TORCH, *TRAINER_PARTS, "aiohttp", "sqlalchemy", "alembic", "jwt", "cryptography"),
    ),
    # It is run every few seconds.
    "health": (["eyasd.health"], (*TORCH, "numpy", "pydantic", "structlog", "eyas", "eyasd.core", "eyasd.telemetry", "eyasd.api")),
    "client": (["eyas", "eyas._public", "eyas.aio"], (*TORCH, "numpy", "PIL", "click", "rich", "eyasd")),
}


# Torch takes seconds: the rooms that may import it are tried one after the other in one process.
HEAVY = tuple(
    room for room, (names, forbidden) in DOORS.items() if names[0].startswith("eyasd.training") and TORCH[0] not in forbidden
)
EACH = """
import importlib, json, sys
for names in json.loads(sys.argv[1]):
    for name in [name for name in sys.modules if name.partition(".")[0] in {"eyasd", "eyas"}]:
        del sys.modules[name]
    for name in names:
        importlib.import_module(name)
    print(*sys.modules)
"""


def loaded_by(*rooms: str) -> dict[str, list[str]]:
    """Returns what has been imported when all of a room has."""
    command = [sys.executable, "-c", EACH, json.dumps([DOORS[room][0] for room in rooms])]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    return {room: line.split() for room, line in zip(rooms, said, strict=True)}


@pytest.fixture(scope="module")
def heavy() -> dict[str, list[str]]:
    return loaded_by(*HEAVY)


@pytest.mark.parametrize("room", DOORS)
def test_a_door_stays_shut(room: str, request: pytest.FixtureRequest) -> None:
    names, forbidden = DOORS[room]
    assert names
    loaded = (request.getfixturevalue("heavy") if room in HEAVY else loaded_by(room))[room]
    assert set(names) <= set(loaded)
    came_in = [name for name in loaded if any(name == f or name.startswith(f + ".") for f in forbidden)]
    assert came_in == []


def test_a_daemon_imports_no_more_than_it_starts_with() -> None:
    # Of the client it needs the generated code, ONNX Runtime is for its engines, obstore for object stores, and OpenTelemetry for
    # those who have a collector: each would cost a tenth of a second.
    program = "import sys, eyasd.daemon\nprint('\\n'.join(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    assert [name for name in loaded if name.startswith("eyas.") and not name.startswith("eyas.v1")] == []
    assert {"onnxruntime", "obstore", "opentelemetry"}.isdisjoint(loaded)


@pytest.mark.parametrize("first", ["eyas._calls", "eyas.aio", "eyas.cli"])
def test_any_module_of_the_client_may_come_first(first: str) -> None:
    subprocess.run([sys.executable, "-c", f"import {first}, eyas\neyas.Client, eyas.aio.Client"], check=True)
