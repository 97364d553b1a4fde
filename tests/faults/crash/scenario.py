"""What is done at each crash point, and what must hold after it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, Generic, TypeVar

T = TypeVar("T")
# Below the folder that is watched: what a process needs for itself alone.
SCRATCH: Final = ".scratch"
# Is told what was acknowledged to a caller.
Ack = Callable[[str], None]


class Scenario(ABC, Generic[T]):
    """An operation that changes what is kept.

    Attributes:
        in_trainer: whether the training program does it, which says by itself what a disk's error is.
        is_durable: whether what it acknowledges outlives a power cut.
        passing: names of folders and files of which nothing need outlive one.
    """

    in_trainer = False
    is_durable = True
    passing: tuple[str, ...] = ()

    def load(self) -> None:
        """Imports what the rest needs, before a fork."""

    def lay(self, root: Path) -> None:
        """Makes what there is before the operation."""

    @abstractmethod
    def open(self, root: Path) -> T:
        """Opens what there is, as a process does once."""

    @abstractmethod
    def act(self, opened: T, ack: Ack) -> None:
        """Does the operation, or what is left of it, and tells of each step that was acknowledged."""

    @abstractmethod
    def check(self, root: Path, acked: list[str]) -> Iterator[str]:
        """Yields which promises are broken, whatever moment the operation was cut short at."""

    @abstractmethod
    def settled(self, root: Path) -> Iterator[str]:
        """Yields what is not as it should be after the operation was repeated in a new process."""
