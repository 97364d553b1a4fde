"""The certificate, key and clients' authority of the doors, read again when their files change."""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from eyasd.access.followed import Followed, Told

_LOOK_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """PEM files.

    Attributes:
        certificate: the server's chain.
        key: its private key.
        client_authority: who has to have signed a client's certificate; None asks for none.
    """

    certificate: Path
    key: Path
    client_authority: Path | None = None

    @property
    def paths(self) -> tuple[Path, ...]:
        """All of them."""
        return (self.certificate, self.key, *([self.client_authority] if self.client_authority else []))

    def context(self) -> ssl.SSLContext:
        """Returns how a server of Python's greets clients with them.

        Raises:
            ValueError: they cannot be used.
        """
        try:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            context.load_cert_chain(self.certificate, self.key)
            if self.client_authority is not None:
                context.load_verify_locations(self.client_authority)
                context.verify_mode = ssl.CERT_REQUIRED
        except OSError as error:  # ssl.SSLError among them
            raise ValueError(
                f"The TLS files {' and '.join(map(str, self.paths))} cannot be used ({error.strerror or error}): they must be PEM, "
                "and belong together."
            ) from None
        return context


class Pems(NamedTuple):
    """What the files hold, and a context made of it."""

    certificate: bytes
    key: bytes
    client_authority: bytes | None
    context: ssl.SSLContext


class Certificates:
    """What the files held when they last belonged together. Any thread may ask."""

    def __init__(self, files: TlsFiles, told: Told, now: Callable[[], float] = time.monotonic) -> None:
        """Reads them.

        Args:
            files: where they are.
            told: hears when they are taken anew, or cannot be.
            now: seconds.

        Raises:
            ValueError: they cannot be used, in one sentence.
        """
        self.files = files
        self._now, self._looked = now, now()
        self._lock = threading.Lock()
        self._followed = Followed("tls", self._read, self._make, told)

    @property
    def current(self) -> Pems:
        """What is to be shown to a client who connects now; looks for changes once a second at most."""
        now = self._now()
        if now - self._looked >= _LOOK_SECONDS and self._lock.acquire(blocking=False):
            try:
                self._looked = now
                self._followed.look()
            finally:
                self._lock.release()
        return self._followed.value

    def _read(self) -> tuple[bytes, ...]:
        try:
            return tuple(path.read_bytes() for path in self.files.paths)
        except OSError as error:
            raise ValueError(
                f"The TLS files {' and '.join(map(str, self.files.paths))} cannot be read: {error.strerror}."
            ) from error

    def _make(self, content: tuple[bytes, ...]) -> Pems:
        """Returns what can be used; a key that is written after its certificate does not belong to it for a moment."""
        context = self.files.context()
        if self._read() != content:
            raise ValueError("The TLS files are being changed.")
        return Pems(content[0], content[1], content[2] if len(content) > 2 else None, context)
