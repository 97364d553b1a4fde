"""How often each test split has been looked at: the more often a choice was made by it, the less its figures mean.

    MODEL/looks/SPLIT/VERSION-JOB.json      one a scoring of a version, by an evaluation or by its training

SPLIT is the digest of the pictures, see `core.answers.identity`. A record is named for the job that scored, so that a daemon which
takes its result twice counts it once, and of two jobs at the same moment each counts. Records outlive their versions: what was
learnt from a look is not forgotten with the version.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from eyasd.core import document
from eyasd.storage.store import Store


@dataclass(frozen=True, slots=True)
class Look:
    """One scoring of a version: by which job, and when it was taken down, UTC."""

    version: int
    job: str
    time: datetime


class Looks:
    """The looks at the test splits of every model in a store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def add(self, model: str, split: str, version: int, job: str) -> None:
        """Takes down a look, once a version and job.

        Args:
            model: of the version.
            split: digest of the pictures; "" is none that is counted.
            version: that was scored.
            job: that scored it.

        Raises:
            StorageFailed: the repository could not be written.
        """
        if split:
            look = Look(version, job, datetime.now(UTC))
            self._store.create(f"{_prefix(model, split)}/{version}-{job}.json", document.dump(look).encode())

    def count(self, model: str, split: str) -> int:
        """Returns how often versions of a model were scored on a split; 0 for "", which names none."""
        return len(self._store.children(_prefix(model, split))) if split else 0


def _prefix(model: str, split: str) -> str:
    return f"{model}/looks/{split}"
