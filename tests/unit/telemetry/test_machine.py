"""telemetry.machine and telemetry.aside: GPUs and disks are shown where they can be, and no page waits for them."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from eyasd.jobs.gpus import visible_gpus
from eyasd.telemetry import machine
from eyasd.telemetry.aside import Aside
from eyasd.telemetry.machine import watch_disks, watch_gpus
from eyasd.telemetry.metrics import Metrics


class Nvml:
    """NVIDIA's library, of a machine with two GPUs, of which one is cut into parts."""

    class NVMLError(Exception):
        """Whatever it has to say."""

    def __init__(self) -> None:
        self.started = self.asked = 0
        self.away = False

    def nvmlInit(self) -> None:  # noqa: N802 - as NVML has it
        self.started += 1

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:  # noqa: N802 - as NVML has it
        if index or self.away:
            raise self.NVMLError("GPU is lost")
        return index

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> int:  # noqa: N802 - as NVML has it
        assert uuid == "MIG-1"
        return 1

    def nvmlDeviceGetMemoryInfo(self, handle: int) -> SimpleNamespace:  # noqa: N802 - as NVML has it
        self.asked += 1
        return SimpleNamespace(used=(handle + 1) << 30, total=80 << 30)

    def nvmlDeviceGetUtilizationRates(self, handle: int) -> SimpleNamespace:  # noqa: N802 - as NVML has it
        if handle:
            raise self.NVMLError("Not Supported")
        return SimpleNamespace(gpu=37, memory=5)


class Clock:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    made = Clock()
    monkeypatch.setattr(machine, "Aside", lambda measure, forget: Aside(measure, forget, patience_seconds=5.0, clock=made))
    return made


def shown(metrics: Metrics, prefix: str) -> dict[tuple[str, str], float]:
    """Returns the samples of metrics, by their name and the value of their one label."""
    return {
        (sample.name.removeprefix(prefix), next(iter(sample.labels.values()))): sample.value
        for family in metrics.registry.collect()
        for sample in family.samples
        if sample.name.startswith(prefix)
    }


def test_gpus_are_shown_by_what_cuda_calls_them(metrics: Metrics, clock: Clock) -> None:
    nvml = Nvml()
    watch_gpus(metrics, ["0", "MIG-1"], lambda: nvml)
    for _ in range(3):
        assert shown(metrics, "eyas_gpu_m") | shown(metrics, "eyas_gpu_u") == {
            ("emory_used_bytes", "0"): 1 << 30,
            ("emory_used_bytes", "MIG-1"): 2 << 30,
            ("emory_total_bytes", "0"): 80 << 30,
            ("emory_total_bytes", "MIG-1"): 80 << 30,
            ("tilization_ratio", "0"): 0.37,
        }
    assert (nvml.started, nvml.asked) == (1, 2)  # within a second nobody asks again
    nvml.away = True
    clock.now = 30.0
    assert len(shown(metrics, "eyas_gpu_")) >= 5  # what was known stays for a minute
    clock.now = 61.0
    assert not {name for name in shown(metrics, "eyas_gpu_") if "memory" in name[0] or "utilization" in name[0]}
    nvml.away = False
    clock.now = 62.0
    assert shown(metrics, "eyas_gpu_u") == {("tilization_ratio", "0"): 0.37}


def missing() -> None:
    raise ModuleNotFoundError("pynvml")


def test_without_the_library_or_a_gpu_there_is_nothing_to_see(metrics: Metrics, clock: Clock) -> None:
    watch_gpus(metrics, [])
    assert not metrics.registry.before
    watch_gpus(metrics, ["0"], missing)
    assert not shown(metrics, "eyas_gpu_m")


@pytest.mark.gpu
def test_a_gpu_of_this_machine_is_shown(metrics: Metrics) -> None:
    gpu = visible_gpus(os.environ)[0]
    watch_gpus(metrics, [gpu])
    while not (found := shown(metrics, "eyas_gpu_m")):  # NVML may need longer to start than a page waits
        continue
    assert 0 < found["emory_used_bytes", gpu] <= found["emory_total_bytes", gpu]
    assert 0 <= shown(metrics, "eyas_gpu_u").get(("tilization_ratio", gpu), 0.0) <= 1


def test_disks_are_shown_that_are_there(metrics: Metrics, clock: Clock, tmp_path: Path) -> None:
    watch_disks(metrics, {"data": tmp_path, "cache": tmp_path / "not yet"})
    found = shown(metrics, "eyas_disk_")
    assert {volume for _, volume in found} == {"data"}
    assert 0 < found["free_bytes", "data"] <= found["size_bytes", "data"]
    (tmp_path / "not yet").mkdir()
    clock.now = 2.0
    assert ("size_bytes", "cache") in shown(metrics, "eyas_disk_")


def test_a_page_does_not_wait_for_what_hangs_and_asks_it_but_once() -> None:
    begun, let_go, forgotten, clock = threading.Semaphore(0), threading.Event(), list[float](), Clock()

    def measure() -> None:
        begun.release()
        let_go.wait()

    aside = Aside(measure, lambda: forgotten.append(clock.now), patience_seconds=0.0, clock=clock)
    for clock.now in (0.0, 10.0, 100.0):
        aside()
    assert begun.acquire(timeout=100)
    assert not begun.acquire(blocking=False)
    assert forgotten  # it was never measured
    let_go.set()
    thread = aside._thread
    assert thread is not None
    thread.join()
    forgotten.clear()
    aside()
    assert not forgotten
