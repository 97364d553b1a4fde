"""The captured pictures that a training adds to its dataset: a list that is frozen when the training is asked for.

Pictures are captured, labelled and removed all the time; every attempt of a job, and whoever repeats it, is to have the same ones.
So the list is content, known by its SHA-256, and the job names that.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from eyasd.core import document

# In place of a list's SHA-256: all that is captured and labelled when the training is asked for.
LABELLED: Final = "labelled"
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class FrozenPicture:
    """A captured picture with its labels.

    Attributes:
        id: its name in the store of captured pictures, and in JOB_DIR/captured.
        labels: sorted; exactly one, unless the model is multi-label.
        time: when it was captured, UTC.
        by_chance: whether it was captured by chance, whatever a version said of it.
    """

    id: str
    labels: tuple[str, ...]
    time: datetime
    by_chance: bool = False


@dataclass(frozen=True, slots=True)
class FrozenList:
    """A frozen list.

    Attributes:
        model: whose requests they were captured of.
        pictures: sorted by id.
        removed: how many others were in it, and are in the store no more; 0 as it is frozen.
    """

    model: str
    pictures: tuple[FrozenPicture, ...]
    removed: int = 0

    def to_bytes(self) -> bytes:
        """Returns it as it is kept."""
        return document.dump(self).encode()


def digest_of(content: bytes) -> str:
    """Returns the name of a list that is kept so: its SHA-256, hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def is_list(name: str) -> bool:
    """Tells whether a name could be a list's."""
    return _DIGEST.fullmatch(name) is not None
