"""A daemon among others on one database of jobs: its name there, and how others on its machine see at once that it is dead.

A file in the data folder, named like the replica, is locked by it as long as it lives; the kernel lets go however it ends. Locks
of another machine cannot be told from none on some file systems, so only those that this machine has made since it was started
are judged; of all others, leases say whether they live.
"""

from __future__ import annotations

import fcntl
import os
import secrets
from pathlib import Path
from typing import Final

from eyasd.core.locks import unheld

LEASE_SECONDS: Final = 10.0  # of silence, after which others take its jobs over; see `leases`
RENEW_SECONDS: Final = 2.0  # so that two renewals may fail
# A process whose daemon is silent ends after so long: before others take its job over, and begin it anew where they do not find it.
# The daemon may have spoken to it `plates.FRESH_SECONDS` after the last renewal.
PROCESS_LEASE_SECONDS: Final = 5.0

_BOOT: Final = Path("/proc/sys/kernel/random/boot_id")


class Replica:
    """This daemon, from its start to its end."""

    def __init__(self, folder: Path) -> None:
        """Chooses an id, and holds its lock.

        Args:
            folder: of the locks; made if need be.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self.id = secrets.token_hex(5)
        self._folder = folder
        self._boot = _BOOT.read_text()
        new = folder / f".{self.id}"
        self._lock = os.open(new, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        os.write(self._lock, self._boot.encode())
        new.rename(folder / self.id)  # once it is locked: nobody sees it free

    def gone(self) -> set[str]:
        """Returns the replicas that have ended on this machine without saying so."""
        return {path.name for path in self._folder.iterdir() if not path.name.startswith(".") and self._is_gone(path)}

    def forget(self, gone: set[str]) -> None:
        """Removes the locks of replicas that hold nothing any more."""
        for replica in gone:
            (self._folder / replica).unlink(missing_ok=True)

    def close(self) -> None:
        """Lets the lock go, and leaves no trace."""
        (self._folder / self.id).unlink(missing_ok=True)
        os.close(self._lock)

    def _is_gone(self, path: Path) -> bool:
        if path.name == self.id:
            return False
        try:
            with unheld(path) as descriptor:
                return os.read(descriptor, 64).decode() == self._boot
        except (BlockingIOError, FileNotFoundError):
            return False
