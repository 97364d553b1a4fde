"""Locks on files, in the kernel's sense: whoever holds one lets it go when it ends, however it ends."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def unheld(path: Path) -> Iterator[int]:
    """Gives the descriptor of a file on which nobody holds a lock, nor takes one meanwhile; others may look at it so, too.

    Raises:
        BlockingIOError: a process holds one.
        FileNotFoundError: there is no such file.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        yield descriptor
    finally:
        os.close(descriptor)


def is_held(path: Path) -> bool:
    """Tells whether a process holds the lock on a file; on one that is not there none does."""
    try:
        with unheld(path):
            return False
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return False


def removed(path: Path) -> bool:
    """Removes a file unless a process holds the lock on it; returns whether it is gone."""
    try:
        with unheld(path):
            path.unlink(missing_ok=True)
    except BlockingIOError:
        return False
    except FileNotFoundError:
        pass
    return True


class Lock:
    """A lock on a file, which is made if need be.

    Attributes:
        descriptor: of the file.
        busy: whether somebody else held it when it was tried.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.descriptor = -1
        self.busy = False

    def taken(self) -> bool:
        """Tries to take it; returns whether it is held now, and is that of the file of that name."""
        self.close()
        self.descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return os.path.samestat(os.fstat(self.descriptor), self._path.stat())  # else it was published or removed meanwhile
        except BlockingIOError:
            self.busy = True
        except FileNotFoundError:
            pass
        return False

    def close(self) -> None:
        """Gives it back."""
        if self.descriptor >= 0:
            os.close(self.descriptor)
            self.descriptor = -1
