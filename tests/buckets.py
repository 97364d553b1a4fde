"""A bucket in memory, for the tests of those who read one."""

from __future__ import annotations

import hashlib
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from eyasd.storage.reading import Changed, Hitch, Object


@dataclass
class FakeBucket:
    """Objects by key.

    Attributes:
        contents: of each.
        reads: how often each was asked for, and from where.
        fails: is asked before each answer; what it returns is raised.
        cut: after how many bytes an answer breaks off.
        versions: whether a wanted object's is compared; one that is known by its content has none.
    """

    contents: dict[str, bytes]
    url: str = "s3://photos"
    reads: list[tuple[str, int, int]] = field(default_factory=list)
    fails: Callable[[str], Exception | None] = lambda _: None
    cut: int | None = None
    page: int = 1000
    versions: bool = True

    def __post_init__(self) -> None:
        self._lock = threading.Lock()

    @property
    def asked(self) -> Counter[str]:
        return Counter(key for key, *_ in self.reads)

    def object(self, key: str) -> Object:
        return Object(key, len(self.contents[key]), f'"{hashlib.md5(self.contents[key], usedforsecurity=False).hexdigest()}"')

    def look(self, key: str) -> Object:
        if error := self.fails(key):
            raise error
        if key not in self.contents:
            raise FileNotFoundError(key)
        return self.object(key)

    def find(self, prefix: str, after: str) -> Iterator[Object]:
        keys = [key for key in sorted(self.contents) if key > after and (not prefix or key.startswith(prefix + "/"))]
        for number, key in enumerate(keys):
            if number % self.page == 0 and (error := self.fails(key)):
                raise error
            yield self.object(key)

    def read(self, wanted: Object, start: int, end: int) -> Iterator[bytes]:
        with self._lock:
            self.reads.append((wanted.key, start, end))
            if error := self.fails(wanted.key):
                raise error
        content = self.contents.get(wanted.key)
        if content is None:
            raise FileNotFoundError(wanted.key)
        if self.versions and self.object(wanted.key) != wanted:
            raise Changed(wanted.key)
        if self.cut is not None and end - start > self.cut:
            yield content[start : start + self.cut]
            raise Hitch("it broke off")
        yield content[start:end]


class Quiet:
    """Hears of progress and stops nothing."""

    def __init__(self) -> None:
        self.fractions: list[float] = []

    def check(self) -> None:
        """Stops nothing."""

    def advance(self, fraction: float) -> None:
        self.fractions.append(fraction)
