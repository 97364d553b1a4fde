"""Where and for what networks run: the kinds of devices, places and aims."""

from __future__ import annotations

from enum import StrEnum


class Device(StrEnum):
    """Where networks run; `auto` is CUDA where there is a GPU."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"
    TENSORRT = "tensorrt"


class Transport(StrEnum):
    """Where an engine lives: in a process of its own, or in a thread of the one that asks it."""

    PROCESS = "process"
    THREAD = "thread"


class Optimize(StrEnum):
    """What the processors are shared for: the time of one picture, or pictures a second."""

    LATENCY = "latency"
    THROUGHPUT = "throughput"
