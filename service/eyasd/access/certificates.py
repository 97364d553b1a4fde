"""Which roles the name in a client's certificate has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from eyasd.access.identity import Identity, Kind
from eyasd.access.roles import Grant, matches, parse_grants


class Certified:
    """The roles of names. An authority has vouched for the names before."""

    def __init__(self, roles: Mapping[str, str]) -> None:
        """Takes the settings.

        Args:
            roles: of a name, in which every `*` stands for any characters: `{"shop.internal": "classify:clothing*"}`.

        Raises:
            ValueError: roles are not as `parse_grants` reads them.
        """
        self._grants: dict[str, tuple[Grant, ...]] = {name: parse_grants(text) for name, text in roles.items()}

    def identify(self, names: Sequence[str]) -> Identity:
        """Returns whose a certificate is.

        Args:
            names: that it holds, the one that he is called by first.

        Returns:
            Who it is; the name is one with a role, if there is one, and he has the roles of all of them.
        """
        grants: dict[Grant, None] = {}
        called = ""
        for name in names:
            for pattern, given in self._grants.items():
                if matches(pattern, name):
                    called = called or name
                    grants.update(dict.fromkeys(given))
        return Identity(called or next(iter(names), "a certificate without a name"), Kind.CERTIFICATE, tuple(grants))
