"""How much of the room for uploaded datasets each caller takes, and how much he may. Safe to use from several threads.

His are the datasets that he has made, by their records, and what he has sent since that is in none yet: content is known by its
digest alone, so that is counted as it comes, by each daemon for itself and as long as such content is kept.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Final

from eyasd.core.errors import QuotaExceeded
from eyasd.registry.datasets import Datasets

_MOST_CALLERS: Final = 10_000


class Shares:
    """What callers take of the store."""

    def __init__(self, datasets: Datasets, most: int, keep: timedelta, now: Callable[[], float] = time.monotonic) -> None:
        """Counts nothing yet.

        Args:
            datasets: in the store.
            most: bytes of one caller; 0 is no bound.
            keep: how long content is kept that is in no dataset.
            now: seconds.
        """
        self._datasets, self.most, self.keep, self._now = datasets, most, keep, now
        self._lock = threading.Lock()
        self._sent: OrderedDict[Hashable, tuple[int, float]] = OrderedDict()  # bytes, and when the last of them came

    def of(self, caller: Hashable, name: str, owns: Callable[[str], bool]) -> Share:
        """Returns a caller's share; blocking, as records are read.

        Args:
            caller: tells him from others.
            name: what he is called in a sentence.
            owns: whether a dataset is his, by who has made it.
        """
        records = (record for record in self._datasets.everything() if owns(record.actor)) if self.most else ()
        return Share(self, caller, name, sum(record.size_bytes + record.manifest.size_bytes for record in records))

    def sent(self, caller: Hashable) -> int:
        """Returns how many bytes he has sent that are in no dataset."""
        size_bytes, last = self._sent.get(caller, (0, 0.0))
        return size_bytes if self._now() - last < self.keep.total_seconds() else 0

    def send(self, caller: Hashable, size_bytes: int, refuse: Callable[[int], None]) -> None:
        """Counts bytes that he sends, unless `refuse` raises, which is told those before them."""
        with self._lock:
            before = self.sent(caller)
            refuse(before)
            self._sent[caller] = before + size_bytes, self._now()
            self._sent.move_to_end(caller)
            if len(self._sent) > _MOST_CALLERS:
                self._sent.popitem(last=False)

    def settle(self, caller: Hashable, size_bytes: int) -> None:
        """So much of what he has sent is in a dataset now, and counted there."""
        with self._lock:
            if (left := self.sent(caller) - size_bytes) > 0:
                self._sent[caller] = left, self._sent[caller][1]
            else:
                self._sent.pop(caller, None)


class Share:
    """What one caller takes, as it was when he began."""

    def __init__(self, shares: Shares, caller: Hashable, name: str, taken: int) -> None:
        self._shares, self._caller, self._name, self._taken = shares, caller, name, taken

    def check(self, size_bytes: int) -> None:
        """Refuses a dataset that does not fit. Raises QuotaExceeded."""
        self._refuse(0, size_bytes)

    def send(self, size_bytes: int) -> None:
        """Counts content that comes. Raises QuotaExceeded."""
        if self._shares.most:
            self._shares.send(self._caller, size_bytes, lambda before: self._refuse(before, size_bytes))

    @contextmanager
    def made(self, size_bytes: int) -> Iterator[None]:
        """Is a block in which a dataset is made that has so many bytes with the list of its files.

        Raises:
            QuotaExceeded: before the block, where it does not fit.
        """
        self.check(size_bytes)
        yield
        self._shares.settle(self._caller, size_bytes)

    def _refuse(self, sent: int, size_bytes: int) -> None:
        most = self._shares.most
        if most and self._taken + sent + size_bytes > most:
            waiting = f", {sent:,} were sent within {self._shares.keep / timedelta(days=1):g} days and are in none" if sent else ""
            raise QuotaExceeded(
                f"The uploaded datasets of {self._name} may take {most:,} bytes: {self._taken:,} are taken{waiting}, and "
                f"{size_bytes:,} more do not fit: have a dataset deleted (`eyas datasets`), or datasets.quota_bytes raised.",
                owner=self._name,
            )
