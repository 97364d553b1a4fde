"""serving.engine.group, loading and process: engines end, and others take their place."""

from __future__ import annotations

import asyncio
import math
import os
import signal
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import structlog
from structlog.testing import capture_logs

from builders import golden, write_bundle
from engines import SHAPE
from eyasd.core.device import Transport
from eyasd.core.errors import BrokenBundle, EyasError, Unavailable
from eyasd.core.variants import Precision
from eyasd.registry.models import Models
from eyasd.serving.engine import group as room
from eyasd.serving.engine import loading, process
from eyasd.serving.engine.group import Group
from eyasd.serving.engine.link import Engine
from eyasd.serving.engine.loading import EngineOptions, LoadedVersion, Loader
from eyasd.serving.engine.opening import Ready, Task
from eyasd.serving.engine.process import EngineProcess
from eyasd.serving.network.memory import Part, run_in_parts
from eyasd.serving.network.providers import CPU
from eyasd.telemetry.metrics import Metrics
from processes import children

OPTIONS = EngineOptions(provider=CPU, precision="auto", threads=1, max_batch_size=4, max_delay_seconds=0, slots=16)


@pytest.fixture
def load(models: Models, metrics: Metrics, tmp_path: Any) -> Callable[..., Any]:
    models.publish("colours", write_bundle(tmp_path / "bundle"), "job1")

    async def loaded(**options: Any) -> LoadedVersion:
        loader = Loader(models, replace(OPTIONS, **options), metrics, structlog.get_logger())
        return await loader.load("colours", 1, lambda _: None)

    return loaded


async def ask(loaded: LoadedVersion, row: int) -> None:
    async with loaded.engine.slot(math.inf) as slot:
        slot.pixels[:] = golden().images[row]
        answer = await slot.infer(math.inf)
    assert np.allclose(answer.probabilities, golden().probabilities[row], atol=1e-6)


async def test_a_killed_engine_loses_what_it_had_and_is_back(load: Callable[..., Any], metrics: Metrics) -> None:
    with capture_logs() as logs:
        loaded: LoadedVersion = await load()
        assert loaded.memory_bytes > 10_000_000
        (pid,) = children("eyasd.serving.engine")
        for number in (signal.SIGINT, signal.SIGTERM):  # of the terminal, or to the whole group: the daemon drains it first
            os.kill(pid, number)
        await asyncio.gather(*(ask(loaded, n % 3) for n in range(40)))
        answered, lost, killed = 0, 0, asyncio.Event()

        async def caller(row: int) -> None:
            nonlocal answered, lost
            while answered < 300 or not metrics.registry.get_sample_value("eyas_engine_restarts_total", {"model": "colours"}):
                try:
                    await ask(loaded, row)
                    answered += 1
                except Unavailable:
                    lost += 1
                if answered >= 100 and not killed.is_set():
                    killed.set()
                    os.kill(pid, signal.SIGSEGV)

        await asyncio.gather(*(caller(n % 3) for n in range(8)))
        (new,) = children("eyasd.serving.engine")
        assert new != pid
        assert lost <= OPTIONS.max_batch_size  # what it ran
        await loaded.close()
    with pytest.raises(ProcessLookupError):
        os.kill(new, 0)
    printed = [line for line in logs if line["event"] == "an engine printed"]
    assert "Segmentation fault" in printed[0]["line"]
    assert {(line["model"], line["version"]) for line in printed} == {("colours", 1)}
    assert "by SIGSEGV" in next(line["how"] for line in logs if line["event"] == "an engine ended, and is started again")


async def test_an_engine_that_takes_too_long_to_load_is_killed(load: Callable[..., Any]) -> None:
    with pytest.raises(Unavailable, match=r"did not load the version within 0\.01 s and was killed"):
        await load(load_limit_seconds=0.01)


async def test_an_engine_that_hangs_as_it_loads_is_killed_long_before_that(
    load: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Stopped(EngineProcess):
        async def open(self, *arguments: Any) -> Ready:
            os.kill(self._child.pid, signal.SIGSTOP)
            return await super().open(*arguments)

    monkeypatch.setattr(loading, "EngineProcess", Stopped)
    monkeypatch.setattr(process, "_HANG_SECONDS", 0.2)
    monkeypatch.setattr(process, "_LOOK_SECONDS", 0.01)
    with pytest.raises(Unavailable, match=r"did nothing for 0\.2 s while it loaded the version, and was killed"):
        await load(load_limit_seconds=600)
    assert not children("eyasd.serving.engine")


async def test_a_machine_that_cannot_start_an_engine(load: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    def no_room(*_: object, **__: object) -> None:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(subprocess, "Popen", no_room)
    with pytest.raises(Unavailable, match="No engine can be started: .* Resource temporarily unavailable"):
        await load()


async def test_a_thread_is_an_engine_too(load: Callable[..., Any]) -> None:
    loaded: LoadedVersion = await load(transport=Transport.THREAD, count=2)
    await asyncio.gather(*(ask(loaded, n % 3) for n in range(40)))
    await loaded.close()


async def test_an_engine_says_when_memory_is_short(
    load: Callable[..., Any], metrics: Metrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    def short(run: Any, images: Any, maps: bool, lower: Callable[[int], int]) -> list[Part]:
        assert lower(4) in (1, 2)
        return run_in_parts(run, images, maps, lower)

    monkeypatch.setattr("eyasd.serving.engine.program.run_in_parts", short)
    loaded: LoadedVersion = await load(transport=Transport.THREAD)
    assert metrics.registry.get_sample_value("eyas_batch_limit_images", {"model": "colours"}) == 4
    await ask(loaded, 0)
    while metrics.registry.get_sample_value("eyas_batch_limit_images", {"model": "colours"}) != 2:  # it is said on another socket
        await asyncio.sleep(0.001)
    assert metrics.registry.get_sample_value("eyas_batches_out_of_memory_total", {"model": "colours"}) == 1
    await loaded.close()


@pytest.mark.parametrize(
    "error",
    [MemoryError(), RuntimeError("CUDA failure 2: out of memory ; GPU=0 ; hostname=here ; line=355 ; expr=cudaSetDevice(0);")],
)
async def test_a_version_that_finds_no_room_says_so_in_a_sentence(
    error: Exception, load: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise BrokenBundle("model.onnx cannot be loaded") from error

    monkeypatch.setattr("eyasd.serving.engine.program.open_version", full)
    with capture_logs() as logs, pytest.raises(BrokenBundle, match=r"^The device has too little memory left to open it: free some"):
        await load(transport=Transport.THREAD)
    assert "a version did not fit the device's memory" in [line["event"] for line in logs]


class Fake:
    """A process that ends when a test says so."""

    how = "by SIGKILL"

    def __init__(self) -> None:
        self.ended = asyncio.Event()

    def attach(self, shape: object, memory: int) -> None:
        return None

    async def end(self) -> None:
        self.ended.set()


async def test_what_ends_as_often_as_it_is_started_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "_PAUSES_SECONDS", (0.0,) * 4)
    opened: list[Fake] = []
    gone: list[EyasError] = []

    async def open_engine(number: int) -> tuple[EngineProcess, Ready]:
        if len(opened) == 3:
            raise Unavailable("the machine has no memory left")
        opened.append(Fake())
        if len(opened) > 1:
            opened[-1].ended.set()
        return cast("EngineProcess", opened[-1]), Ready(precision=Precision.FP32, speed=None, memory_bytes=1)

    group = Group(open_engine, 1, structlog.get_logger(), on_lost=gone.append)
    assert len(await group.start()) == 1
    engine = Engine("colours/1", SHAPE)
    await group.attach(engine)
    opened[0].ended.set()
    while not gone:
        await asyncio.sleep(0)
    assert gone[0].message == "the machine has no memory left"
    assert len(opened) == 3
    await engine.close()
    await group.close()


async def test_who_is_loaded_beside_others_steps_aside_but_not_who_is_started_again(
    models: Models, metrics: Metrics, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "_PAUSES_SECONDS", (0.0,) * 4)
    aside: list[bool] = []
    engines: list[Opened] = []

    class Opened(Fake):
        def __init__(self, *_: object) -> None:
            super().__init__()
            engines.append(self)

        async def open(self, task: Task, *_: object) -> Ready:
            aside.append(task.aside)
            return Ready(precision=Precision.FP32, speed=None, memory_bytes=1)

    monkeypatch.setattr(loading, "EngineProcess", Opened)
    models.publish("colours", write_bundle(tmp_path / "bundle"), "job1")
    loader = Loader(models, OPTIONS, metrics, structlog.get_logger())
    loaded = [await loader.load("colours", 1, lambda _: None) for _ in range(2)]
    engines[1].ended.set()
    while len(aside) < 3:
        await asyncio.sleep(0.001)
    assert aside == [False, True, False]
    for version in loaded:
        await version.close()
