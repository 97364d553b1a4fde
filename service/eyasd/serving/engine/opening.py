"""What an engine is told, how it opens the version, and what it says of it: verified bytes in, a proven network out."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from eyasd.core import bundle
from eyasd.core.bundle import Golden
from eyasd.core.variants import Precision
from eyasd.serving.network.precision import Chosen, Log, Wish, choose
from eyasd.serving.network.providers import Gpu

if TYPE_CHECKING:
    from eyasd.serving.network.session import Session

_LEAST_PRIORITY: Final = 19


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
        aside: whether others answer meanwhile, on the same processors, and go first.
        files: names of the bundle's files that come with it, the manifest among them.
        arena_bytes: see `Session`.
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
    aside: bool = False
    files: tuple[str, ...] = ()
    arena_bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """What an engine says once its network is warm and gives its recorded answers.

    Attributes:
        precision: it answers in.
        speed: see `precision.Chosen`.
        memory_bytes: that it takes, its share of what it has in common with other processes included.
        seconds: that it took to open the network, warm it and prove its answers.
    """

    precision: Precision
    speed: float | None
    memory_bytes: int
    seconds: float = 0.0


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
    wish: Wish = "auto" if task.precision == "auto" else Precision(task.precision)
    open_session = partial(_open_session, task, files, manifest.preprocess.crop_px)

    def prove() -> Chosen:
        return choose(open_session, manifest, golden, wish, task.provider, task.max_batch_size, log)

    if not task.aside:
        return prove()
    chosen = _with_least_priority(prove)
    if task.threads > 1:  # the session's own threads were started with that priority, and no thread may raise its own
        precision, speed = chosen.precision, chosen.speed
        del chosen
        chosen = Chosen(open_session(precision), precision, speed)
        chosen.session.warm(golden.images[0])
    return chosen


def _open_session(task: Task, files: Mapping[str, bytes], image_px: int, precision: Precision) -> Session:
    from eyasd.serving.network.session import Session  # noqa: PLC0415 - and with it ONNX Runtime, which only an engine needs

    return Session(
        files[precision.file],
        provider=task.provider,
        threads=task.threads,
        max_batch_size=task.max_batch_size,
        precision=precision,
        gpu=Gpu(
            memory_bytes=task.gpu_memory_bytes,
            cache=Path(task.tensorrt_cache) if task.tensorrt_cache else None,
            image_px=image_px,
        ),
        arena_bytes=task.arena_bytes,
    )


def _with_least_priority(work: Callable[[], Chosen]) -> Chosen:
    """Does it in a thread that has the processors when nobody else wants them: on Linux a thread has a niceness of its own."""

    def step_aside() -> None:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _LEAST_PRIORITY)

    with ThreadPoolExecutor(1, initializer=step_aside) as thread:
        return thread.submit(work).result()


def memory_bytes() -> int:
    """Returns the memory of this process, what it shares counted by its share (PSS)."""
    for line in Path("/proc/self/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0
