"""What is measured of the machine when somebody looks: GPUs, by NVIDIA's management library (NVML), and disks."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from eyasd.telemetry.aside import Aside
from eyasd.telemetry.metrics import Metrics


def watch_gpus(metrics: Metrics, gpus: Sequence[str], library: Callable[[], Any] | None = None) -> None:
    """Shows the memory and the utilisation of GPUs from now on; nothing where NVML, or a part of it, is missing.

    Args:
        metrics: where.
        gpus: what CUDA_VISIBLE_DEVICES calls them: numbers, or ids of a GPU or of a part of one (MIG).
        library: returns NVML, see `nvidia-ml-py`; None imports it.
    """
    if not gpus:
        return
    nvml: Any = None

    def measure() -> None:
        nonlocal nvml
        if nvml is None:
            found = (library or _import_nvml)()
            found.nvmlInit()
            nvml = found
        for gpu in gpus:
            handle = nvml.nvmlDeviceGetHandleByIndex(int(gpu)) if gpu.isdecimal() else nvml.nvmlDeviceGetHandleByUUID(gpu)
            memory = nvml.nvmlDeviceGetMemoryInfo(handle)
            metrics.gpu_memory_used.labels(gpu).set(memory.used)
            metrics.gpu_memory_total.labels(gpu).set(memory.total)
            try:
                busy = nvml.nvmlDeviceGetUtilizationRates(handle).gpu
            except nvml.NVMLError:  # of a part of a GPU
                metrics.gpu_utilization.remove(gpu)
            else:
                metrics.gpu_utilization.labels(gpu).set(busy / 100)

    def forget() -> None:
        for gpu in gpus:
            for gauge in (metrics.gpu_memory_used, metrics.gpu_memory_total, metrics.gpu_utilization):
                gauge.remove(gpu)

    metrics.registry.before.append(Aside(measure, forget))


def watch_disks(metrics: Metrics, volumes: Mapping[str, Path]) -> None:
    """Shows how much room folders have from now on, by the names of volumes; each by itself, as one of them may hang."""
    for name, folder in volumes.items():
        metrics.registry.before.append(_watch_disk(metrics, name, folder))


def _watch_disk(metrics: Metrics, volume: str, folder: Path) -> Aside:
    def measure() -> None:
        disk = os.statvfs(folder)
        metrics.disk_free.labels(volume).set(disk.f_bavail * disk.f_frsize)  # to those who are not root
        metrics.disk_size.labels(volume).set(disk.f_blocks * disk.f_frsize)

    def forget() -> None:
        metrics.disk_free.remove(volume)
        metrics.disk_size.remove(volume)

    return Aside(measure, forget)


def _import_nvml() -> Any:
    import pynvml  # noqa: PLC0415 - optional

    return pynvml
