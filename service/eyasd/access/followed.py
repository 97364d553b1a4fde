"""A value made of files, made anew when they change; what was read last stays where they cannot be read any more."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

T = TypeVar("T")
C = TypeVar("C")


class Told(Protocol):
    """Hears of every change of what is followed."""

    def __call__(self, what: str, error: str | None) -> None:
        """Is told what changed, and why the change was not taken, if it was not."""
        ...


class Followed(Generic[C, T]):
    """What files hold. Any thread may look, one at a time.

    Attributes:
        value: what they held when they could last be read.
    """

    def __init__(self, what: str, read: Callable[[], C], make: Callable[[C], T], told: Told) -> None:
        """Reads them.

        Args:
            what: they are, for those who are told.
            read: returns what they hold; compared with `==`. Raises OSError, ValueError.
            make: makes the value of it. Raises ValueError, OSError.
            told: hears of changes.

        Raises:
            OSError: they cannot be read.
            ValueError: they hold something else.
        """
        self._what, self._read, self._make, self._told = what, read, make, told
        self._content = read()
        self._error: str | None = None
        self.value = make(self._content)

    def look(self) -> bool:
        """Reads them again; returns whether the value is another."""
        try:
            content = self._read()
            if content == self._content:
                self._error = None
                return False
            value = self._make(content)
        except (OSError, ValueError) as error:
            said = str(error)
            if said != self._error:  # once, however often one looks
                self._told(self._what, said)
            self._error = said
            return False
        self._content, self.value, self._error = content, value, None
        self._told(self._what, None)
        return True
