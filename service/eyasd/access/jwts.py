"""JSON web tokens (RFC 7519) of one issuer, such as an OpenID provider's: checked by PyJWT, and what their claims are worth.

Only signatures by a private key are taken, and only by an algorithm that is allowed and is that of the key, whatever the token says
of itself.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import jwt
from jwt.exceptions import ExpiredSignatureError, InvalidAudienceError, InvalidIssuerError, PyJWTError

from eyasd.access.identity import Identity, Kind
from eyasd.access.keys import Keys
from eyasd.access.roles import Grant, parse_grants
from eyasd.core.errors import Unauthenticated
from eyasd.core.names import UNSEEN

_FORM: Final = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+", re.ASCII)
_MOST_REMEMBERED: Final = 4096
_MOST_NAME: Final = 128
# By the kind of key, so that one kind's signature is never checked as another's.
_KINDS: Final = {"RS": "RSA", "PS": "RSA", "ES": "EC", "Ed": "OKP"}


@dataclass(frozen=True, slots=True)
class JwtOptions:
    """Which tokens are taken.

    Attributes:
        issuer: `iss` has to be this.
        audience: `aud` has to have this.
        algorithms: of signatures.
        leeway_seconds: by which clocks may differ.
        subject: claim with the caller's name.
        claim: with his roles, a list or words; `a.b` is b within a, unless there is a claim of this very name.
        roles: what a value of that claim is worth: `{"eyas-users": "classify"}`.
    """

    issuer: str
    audience: str
    algorithms: Sequence[str]
    leeway_seconds: float
    subject: str
    claim: str
    roles: Mapping[str, str]


class Jwts:
    """Checks tokens. Belongs to one event loop."""

    def __init__(self, options: JwtOptions, keys: Keys, now: Callable[[], float] = time.time) -> None:
        """Takes the options.

        Args:
            options: see there.
            keys: of the issuer.
            now: seconds since 1970.

        Raises:
            ValueError: roles are not as `parse_grants` reads them.
        """
        self._options, self._keys, self._now = options, keys, now
        self._grants = {value: parse_grants(text) for value, text in options.roles.items()}
        # A signature takes 50 us to check, and most callers come again: the token's digest -> who, and until when.
        self._remembered: OrderedDict[bytes, tuple[Identity, float]] = OrderedDict()
        self._generation = -1

    @staticmethod
    def resembles(token: str) -> bool:
        """Returns whether a token is of this kind at all."""
        return _FORM.fullmatch(token) is not None

    async def identify(self, token: str) -> Identity:
        """Returns whose a token is.

        Raises:
            Unauthenticated: it is not to be taken; says why.
            Unavailable: the issuer's keys could not be read yet.
        """
        if self._generation != self._keys.generation:  # a key that is gone vouches for nobody
            self._generation = self._keys.generation
            self._remembered.clear()
        digest = hashlib.sha256(token.encode()).digest()
        known = self._remembered.get(digest)
        if known is not None and self._now() < known[1]:
            return known[0]
        claims, until = await self._claims(token)
        identity = Identity(self._name(claims), Kind.JWT, self._granted(claims))
        self._remembered[digest] = identity, until + self._options.leeway_seconds
        if len(self._remembered) > _MOST_REMEMBERED:
            self._remembered.popitem(last=False)
        return identity

    async def _claims(self, token: str) -> tuple[Mapping[str, Any], float]:
        """Returns what a token claims, and when it expires. Raises as `identify` does."""
        try:
            header = jwt.get_unverified_header(token)
            algorithm, name = str(header.get("alg")), header.get("kid")
            if algorithm not in self._options.algorithms:
                raise _refused(f"is signed by {algorithm[:20]!r}, and only {', '.join(self._options.algorithms)} are taken")
            key = await self._keys.find(name)
            if key is None:
                raise _refused("is signed by a key that its issuer does not have")
            if key.key_type != _KINDS[algorithm[:2]]:
                raise _refused("is signed by another kind of key than it says")
            claims: Mapping[str, Any] = jwt.decode(
                token,
                key.key,
                algorithms=[algorithm],
                audience=self._options.audience,
                issuer=self._options.issuer,
                leeway=self._options.leeway_seconds,
                options={"require": ["exp", "iss", "aud", self._options.subject]},
            )
            until = float(claims["exp"])
        except ExpiredSignatureError:
            raise _refused("has expired") from None
        except InvalidAudienceError:
            raise _refused("is meant for another audience") from None
        except InvalidIssuerError:
            raise _refused("is of another issuer") from None
        except (PyJWTError, ValueError, TypeError, OverflowError) as error:  # the last of numbers that no float holds
            raise _refused(f"is not valid ({type(error).__name__})") from None
        return claims, until

    def _name(self, claims: Mapping[str, Any]) -> str:
        name = claims[self._options.subject]
        if not isinstance(name, str) or not 0 < len(name) <= _MOST_NAME or UNSEEN.search(name):
            raise _refused(f"has no {self._options.subject} of 1 to {_MOST_NAME} characters that can be seen")
        return name

    def _granted(self, claims: Mapping[str, Any]) -> tuple[Grant, ...]:
        value: Any = claims.get(self._options.claim)
        if value is None:
            value = claims
            for part in self._options.claim.split("."):
                value = value.get(part) if isinstance(value, Mapping) else None
        values = value.split() if isinstance(value, str) else value if isinstance(value, list) else []
        grants = (self._grants.get(one, ()) for one in values if isinstance(one, str))
        return tuple(dict.fromkeys(grant for given in grants for grant in given))


def _refused(why: str) -> Unauthenticated:
    return Unauthenticated(f"The call's JSON web token {why}: get a new one, and send `authorization: Bearer TOKEN`.")
