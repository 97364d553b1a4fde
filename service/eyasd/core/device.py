"""The kinds of devices."""

from __future__ import annotations

from enum import StrEnum


class Device(StrEnum):
    """Where networks run; `auto` is CUDA where there is a GPU."""

    AUTO = "auto"
    CPU = "cpu"
    CUDA = "cuda"
