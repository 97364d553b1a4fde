"""Tokens with which a training program on another machine may report: one for each attempt of a job, good for nothing else.

A token is signed, not stored, so that every trainer that has the key can check one. It ends with its attempt, which the job's row
says: nothing that a stale attempt reports is taken.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
from pathlib import Path
from typing import Final

_KEY_BYTES: Final = 32
_FORM: Final = re.compile(r"job\.([A-Za-z0-9-]{1,64})\.([1-9]\d{0,8})\.([0-9a-f]{64})", re.ASCII)


class Permits:
    """Makes and reads the tokens of one key."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def make(self, job: str, attempt: int) -> str:
        """Returns the token of an attempt."""
        return f"job.{job}.{attempt}.{self._signature(job, str(attempt))}"

    def read(self, token: str) -> tuple[str, int] | None:
        """Returns the job and the attempt that a token is for; None for one that was not made with this key."""
        found = _FORM.fullmatch(token)
        if found is None or not hmac.compare_digest(found[3], self._signature(found[1], found[2])):
            return None
        return found[1], int(found[2])

    def _signature(self, job: str, attempt: str) -> str:
        return hmac.new(self._key, f"report {job} {attempt}".encode(), hashlib.sha256).hexdigest()


def kept_key(path: Path) -> bytes:
    """Returns the key in a file that only its owner reads, which is made at the first call, by exactly one of several daemons.

    Raises:
        OSError: it cannot be read or made.
    """
    fresh = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    file = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        os.write(file, secrets.token_bytes(_KEY_BYTES))
        os.fsync(file)
        os.link(fresh, path)
    except FileExistsError:  # as mostly
        pass
    finally:
        os.close(file)
        fresh.unlink()
    return path.read_bytes()
