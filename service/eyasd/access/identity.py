"""Somebody who calls, and how he has shown it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum

from eyasd.access.roles import ALL, EVERY_MODEL, Grant, Role, written


class Kind(StrEnum):
    """How a caller has shown who he is."""

    ANYBODY = "anybody"
    """Not at all, as no credential is set."""
    SHARED = "api.token"
    """By the one token of the settings, which tells nobody from another."""
    TOKEN = "token"  # noqa: S105 - its name
    """By a token of his own."""
    JWT = "jwt"
    """By a JSON web token of an issuer that the settings name."""
    CERTIFICATE = "certificate"
    """By the certificate of his connection."""
    ATTEMPT = "attempt"
    """By the token of an attempt of a job."""


@dataclass(frozen=True, slots=True)
class Identity:
    """A caller.

    Attributes:
        name: of a token's line, a subject, or a certificate; what a job's owner and a record of a change say.
        kind: how it was shown.
        grants: what he may do.
    """

    name: str
    kind: Kind
    grants: tuple[Grant, ...]

    @property
    def is_known(self) -> bool:
        """Whether it tells this caller from others."""
        return self.kind not in {Kind.ANYBODY, Kind.SHARED}

    @property
    def principal(self) -> str:
        """What tells him from all others, however each was known; "" where nothing does."""
        return f"{self.kind}:{self.name}" if self.is_known else ""

    @property
    def roles(self) -> str:
        """What he may do, for a sentence."""
        return written(self.grants) or "no role"

    def may(self, roles: Collection[Role], model: str | None = None) -> bool:
        """Returns whether he has one of the roles, for a model; without one, for any model."""
        return any(model is None or grant.covers(model) for grant in self._of(roles))

    def may_everywhere(self, roles: Collection[Role]) -> bool:
        """Returns whether he has one of the roles, for every model there is or will be."""
        return any(grant.models == EVERY_MODEL for grant in self._of(roles))

    def _of(self, roles: Collection[Role]) -> list[Grant]:
        return [grant for grant in self.grants if grant.role in roles or grant.role is Role.ADMIN]


ANYBODY = Identity("", Kind.ANYBODY, ALL)
SHARED = Identity("api.token", Kind.SHARED, ALL)
