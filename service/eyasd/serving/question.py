"""The noun of a request: which pictures, of which model, for whom and until when; every door makes one."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from eyasd.core.names import ModelRef


class Priority(IntEnum):
    """Who goes first where not all can; less is sooner."""

    HIGH = 0
    NORMAL = 1
    LOW = 2


Picture = bytes | NDArray[np.uint8]


class Question(NamedTuple):
    """What a caller wants to know.

    Attributes:
        ref: which version answers.
        images: at least one: encoded pictures, or pixels as the version's network sees them, uint8 [H, W, 3], RGB, which are not
            decoded.
        timeout_seconds: until the caller's deadline.
        top_k: labels for each picture; 0 is all that apply, but the most probable one at least.
        allow_unknown: whether a picture may be called unknown.
        explain: whether the answers hold an explanation.
        priority: who goes first where not all can.
        caller: who asks, so that one cannot take the time of all others; any text, the same for the same caller.
        routing_key: the same key is always answered by the same version of a canary; empty = by chance.
    """

    ref: ModelRef
    images: Sequence[Picture]
    timeout_seconds: float
    top_k: int = 0
    allow_unknown: bool = False
    explain: bool = False
    priority: Priority = Priority.NORMAL
    caller: str = ""
    routing_key: str = ""
