"""What an engine is told, how it opens the version, and what it says of it: verified bytes in, a proven network out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from eyasd.core import bundle
from eyasd.core.bundle import Golden
from eyasd.core.variants import Precision
from eyasd.serving.network.precision import Chosen, Log, Wish, choose
from eyasd.serving.network.providers import Gpu

if TYPE_CHECKING:
    from eyasd.serving.network.session import Session


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What an engine is to open, and how.

    Attributes:
        model: name of the model, for messages.
        version: of it.
        provider: execution provider.
        precision: `auto` or a precision, see `serving.precision`.
        threads: for the operators of one run.
        max_batch_size: of the batches.
        max_delay_seconds: see `batcher.Options`.
        gpu_memory_bytes: see `providers.Gpu`.
        tensorrt_cache: folder of what TensorRT builds; "" keeps nothing.
        files: names of the bundle's files that come with it, the manifest among them.
    """

    model: str
    version: int
    provider: str
    precision: str
    threads: int
    max_batch_size: int
    max_delay_seconds: float
    gpu_memory_bytes: int = 0
    tensorrt_cache: str = ""
    files: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """What an engine says once its network is warm and gives its recorded answers.

    Attributes:
        precision: it answers in.
        speed: see `precision.Chosen`.
        memory_bytes: that it takes, its share of what it has in common with other processes included.
    """

    precision: Precision
    speed: float | None
    memory_bytes: int


def open_version(task: Task, files: Mapping[str, bytes], log: Log) -> Chosen:
    """Returns the network to answer with.

    Args:
        task: how.
        files: content of each, verified.
        log: hears why a variant is not used.

    Raises:
        BrokenBundle: it cannot be loaded, or does not give its recorded answers.
    """
    manifest, golden = bundle.read_manifest(files[bundle.MANIFEST]), Golden.from_bytes(files[bundle.GOLDEN])
    cache = Path(task.tensorrt_cache) if task.tensorrt_cache else None
    gpu = Gpu(memory_bytes=task.gpu_memory_bytes, cache=cache, image_px=manifest.preprocess.crop_px)

    from eyasd.serving.network.session import Session  # noqa: PLC0415 - and with it ONNX Runtime, which only an engine needs

    def session(precision: Precision) -> Session:
        return Session(
            files[precision.file],
            provider=task.provider,
            threads=task.threads,
            max_batch_size=task.max_batch_size,
            precision=precision,
            gpu=gpu,
        )

    wish: Wish = "auto" if task.precision == "auto" else Precision(task.precision)
    return choose(session, manifest, golden, wish, task.provider, task.max_batch_size, log)


def memory_bytes() -> int:
    """Returns the memory of this process, what it shares counted by its share (PSS)."""
    for line in Path("/proc/self/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0
