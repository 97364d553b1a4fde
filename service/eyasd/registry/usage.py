"""How much room uploaded content takes, and how much it may; counted once, and then kept up. Safe to use from several threads."""

from __future__ import annotations

import threading
from collections.abc import Callable

from eyasd.core.errors import UploadTooLarge


class Usage:
    """How many bytes all content takes, and how many it may."""

    def __init__(self, most: int, count: Callable[[], int]) -> None:
        """Counts nothing yet: that may take seconds, and not every daemon is sent anything.

        Args:
            most: bytes that may be taken; 0 takes no uploads.
            count: finds out how many are.
        """
        self._most, self._count = most, count
        self._lock = threading.Lock()
        self._used: int | None = None

    def reserve(self, size_bytes: int) -> None:
        """Takes room. Raises UploadTooLarge where there is too little."""
        with self._lock:
            self._used = self._checked(size_bytes) + size_bytes

    def check(self, size_bytes: int) -> None:
        """Raises UploadTooLarge where there is too little room."""
        with self._lock:
            self._used = self._checked(size_bytes)

    def release(self, size_bytes: int) -> None:
        """Gives room back."""
        with self._lock:
            if self._used is not None:
                self._used = max(0, self._used - size_bytes)

    def recount(self) -> None:
        """Finds out anew, as other daemons may use the store, too; next time somebody asks."""
        with self._lock:
            self._used = None

    def _checked(self, size_bytes: int) -> int:
        if self._most == 0:
            raise UploadTooLarge("The server takes no uploads (datasets.max_bytes is 0): name a dataset that its trainer can read.")
        used = self._count() if self._used is None else self._used
        if used + size_bytes > self._most:
            raise UploadTooLarge(
                f"All uploaded datasets together may take {self._most:,} bytes; {used:,} are taken, and {size_bytes:,} more do not "
                "fit: delete a dataset (`eyas datasets`), or have the operator raise datasets.max_bytes.",
                max_bytes=self._most,
                used_bytes=used,
            )
        return used
