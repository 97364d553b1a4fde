"""The public keys of an issuer of JSON web tokens: a JWKS (RFC 7517) in a file or behind a URL, read again as it changes."""

from __future__ import annotations

import asyncio
import json
import time
import urllib.request
from collections.abc import Callable, Mapping
from http.client import HTTPException
from pathlib import Path
from typing import Any, Final

from jwt import PyJWK
from jwt.exceptions import PyJWTError

from eyasd.access.followed import Followed, Told
from eyasd.core.errors import Unavailable

_MOST_BYTES: Final = 1024 * 1024
_FETCH_SECONDS: Final = 5.0
_URL_AGAIN_SECONDS: Final = 300.0
_FILE_AGAIN_SECONDS: Final = 1.0
# Between two looks because of a key that is not known: whoever makes up names of keys must not have the issuer asked without end.
_UNKNOWN_SECONDS: Final = 10.0
_WHAT: Final = "jwks"
# A secret that both sides know ("oct") is none of them: whoever can check such a token can make one.
_PUBLIC: Final = {"RSA", "EC", "OKP"}


class NoRedirects(urllib.request.HTTPRedirectHandler):
    """Goes nowhere else than it was told."""

    def redirect_request(self, *_: Any) -> None:
        """Makes no other request, so that the answer is an error."""


class Keys:
    """Keys by their names. Belongs to one event loop."""

    def __init__(self, place: str, told: Told, now: Callable[[], float] = time.monotonic) -> None:
        """Reads nothing yet.

        Args:
            place: a path, or a URL.
            told: hears of changes, and of what is in the way.
            now: seconds.
        """
        self._place, self._told, self._now = place, told, now
        self._again_seconds = _URL_AGAIN_SECONDS if "://" in place else _FILE_AGAIN_SECONDS
        self._followed: Followed[bytes, Mapping[str | None, PyJWK]] | None = None
        self._tried = -self._again_seconds
        self._looked_for_unknown = -_UNKNOWN_SECONDS
        self._lock = asyncio.Lock()
        self._error: str | None = None
        self.generation = 0

    @property
    def are_known(self) -> bool:
        """Whether they could be read yet."""
        return self._followed is not None

    async def look(self) -> None:
        """Reads them if it is time; to be called every second."""
        if self._now() - self._tried >= (self._again_seconds if self._followed else min(self._again_seconds, _UNKNOWN_SECONDS)):
            await self._look()

    async def find(self, name: str | None) -> PyJWK | None:
        """Returns a key, for which they are read again if it is not known; None where there is none.

        Raises:
            Unavailable: they could never be read so far.
        """
        key = self._known(name)
        if key is None and self._now() - self._looked_for_unknown >= _UNKNOWN_SECONDS:
            self._looked_for_unknown = self._now()
            await self._look()
            key = self._known(name)
        elif key is None and self._lock.locked():  # somebody looks already
            async with self._lock:
                key = self._known(name)
        if self._followed is None:
            raise Unavailable("The keys that web tokens are checked with cannot be read now: try again later.")
        return key

    def _known(self, name: str | None) -> PyJWK | None:
        keys: Mapping[str | None, PyJWK] = self._followed.value if self._followed else {}
        if name is None and len(keys) == 1:  # of an issuer that has no names for keys, as it has but one
            return next(iter(keys.values()))
        return keys.get(name)

    async def _look(self) -> None:
        async with self._lock:
            self._tried = self._now()
            if await asyncio.to_thread(self._read):
                self.generation += 1

    def _read(self) -> bool:
        """Returns whether they are other keys than before."""
        if self._followed is not None:
            return self._followed.look()
        try:
            self._followed = Followed(_WHAT, self._fetch, _parse, self._told)
        except (OSError, ValueError) as error:
            if str(error) != self._error:
                self._told(_WHAT, str(error))
            self._error = str(error)
            return False
        return True

    def _fetch(self) -> bytes:
        if "://" not in self._place:
            with Path(self._place).open("rb") as file:
                return _bounded(file.read(_MOST_BYTES + 1), self._place)
        opener = urllib.request.build_opener(NoRedirects())
        try:
            with opener.open(self._place, timeout=_FETCH_SECONDS) as response:
                return _bounded(response.read(_MOST_BYTES + 1), self._place)
        except HTTPException as error:  # which is no OSError
            raise ValueError(f"{self._place} does not speak HTTP ({type(error).__name__})") from None


def _bounded(content: bytes, place: str) -> bytes:
    if len(content) > _MOST_BYTES:
        raise ValueError(f"{place} has over {_MOST_BYTES:,} bytes")
    return content


def _parse(content: bytes) -> Mapping[str | None, PyJWK]:
    try:
        listed = json.loads(content)["keys"]
        found = [one for one in listed if one.get("kty") in _PUBLIC and one.get("use", "sig") == "sig"]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise ValueError('what was read is no JWKS, {"keys": [...]}') from None
    keys: dict[str | None, PyJWK] = {}
    for one in found:
        try:
            keys[one.get("kid")] = PyJWK.from_dict(one)
        except (PyJWTError, ValueError, TypeError, KeyError):  # damaged, or of an algorithm that is newer than this program
            continue
    if not keys:
        raise ValueError("what was read holds no public key for signatures")
    return keys
