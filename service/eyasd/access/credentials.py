"""Every way in which a caller can show who he is."""

from __future__ import annotations

import asyncio
import hmac
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC
from pathlib import Path
from typing import TYPE_CHECKING, Final

from eyasd.access.certificates import Certified
from eyasd.access.followed import Followed, Told
from eyasd.access.identity import ANYBODY, SHARED, Identity
from eyasd.access.tokens import Tokens, digest_of, read_texts
from eyasd.core.errors import Unauthenticated

if TYPE_CHECKING:
    from eyasd.access.jwts import Jwts
    from eyasd.access.keys import Keys

_SCHEME: Final = "bearer "
_LOOK_SECONDS: Final = 1.0
NO_TOKEN: Final = "The call bears no token, or a wrong one: send `authorization: Bearer TOKEN`."  # noqa: S105 - a sentence


class Credentials:
    """What the settings say of credentials. Belongs to one event loop."""

    def __init__(
        self,
        *,
        shared: str | None = None,
        tokens: Followed[Mapping[str, str], Tokens] | None = None,
        certified: Certified | None = None,
        jwts: Jwts | None = None,
        keys: Keys | None = None,
        told: Told = lambda what, error: None,  # noqa: ARG005 - the names are its own
        now: Callable[[], float] = time.time,
    ) -> None:
        """Takes them; with none at all, everybody may do everything.

        Args:
            shared: the one token that opens everything.
            tokens: of callers each.
            certified: what certificates are worth.
            jwts: checks JSON web tokens.
            keys: that it checks them with.
            told: hears where following them fails in a way that nobody foresaw.
            now: seconds since 1970.
        """
        self._shared = digest_of(shared) if shared is not None else None
        self._tokens, self._certified, self._jwts, self._keys, self._now = tokens, certified, jwts, keys, now
        self._told = told
        self.asks_certificates = certified is not None
        self.open = shared is None and tokens is None and certified is None and jwts is None

    @property
    def token_count(self) -> int:
        """How many tokens of callers each there are."""
        return len(self._tokens.value) if self._tokens is not None else 0

    @property
    def has_keys(self) -> bool:
        """Whether the keys of an issuer could be read, if there is one."""
        return self._keys is None or self._keys.are_known

    async def identify(self, authorization: str, names: Sequence[str] | None = None) -> Identity:
        """Returns who calls. A token says it before a certificate, as it can be somebody's whose calls another passes on.

        Args:
            authorization: the header's value, "" where there is none.
            names: in the certificate of the connection; None where there is none.

        Raises:
            Unauthenticated: he does not show it.
            Unavailable: it cannot be told now.
        """
        if self.open:
            return ANYBODY
        if not authorization and names is not None and self._certified is not None:
            return self._certified.identify(names)
        if authorization[: len(_SCHEME)].lower() != _SCHEME:
            raise Unauthenticated(NO_TOKEN)
        token = authorization[len(_SCHEME) :]
        # Digests, all of one length, so that how long it takes to compare them tells nothing.
        if self._shared is not None and hmac.compare_digest(digest_of(token), self._shared):
            return SHARED
        entry = self._tokens.value.find(token) if self._tokens is not None else None
        if entry is not None:
            if entry.expires is not None and self._now() >= entry.expires.timestamp():
                until = entry.expires.astimezone(UTC).isoformat(timespec="minutes")
                raise Unauthenticated(f"The token of {entry.identity.name} was good until {until}: ask for another.")
            return entry.identity
        if self._jwts is not None and self._jwts.resembles(token):
            return await self._jwts.identify(token)
        raise Unauthenticated(NO_TOKEN)

    async def look(self) -> None:
        """Reads again what may have changed."""
        if self._tokens is not None:
            await asyncio.to_thread(self._tokens.look)
        if self._keys is not None:
            await self._keys.look()

    async def follow(self) -> None:
        """Does so every second, until it is cancelled, whatever it meets: who is not followed is not revoked, either."""
        while True:
            try:
                await self.look()
            except Exception as error:  # noqa: BLE001
                self._told("credentials", f"{type(error).__name__}: {error}")
            await asyncio.sleep(_LOOK_SECONDS)


def follow_tokens(path: Path, told: Told) -> Followed[Mapping[str, str], Tokens]:
    """Returns the tokens of a file or a folder. Raises OSError, ValueError."""
    return Followed("tokens", lambda: read_texts(path), Tokens.parse, told)
