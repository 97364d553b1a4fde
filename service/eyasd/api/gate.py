"""Who makes a call, and whether he may: in front of every method, whatever its protocol, and for services that ask.

caller().may_see(model)     whether a list shows it
caller().spend(images)      takes them out of what he may have classified a second
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from contextvars import ContextVar
from typing import Any, Final

from eyasd.access.audit import Audit
from eyasd.access.credentials import Credentials
from eyasd.access.identity import ANYBODY, Identity
from eyasd.access.limits import Limits
from eyasd.access.roles import Role
from eyasd.api.permissions import Rule
from eyasd.core.errors import PermissionDenied

_ANY: Final = frozenset(Role)
_CLASSIFY: Final = frozenset({Role.CLASSIFY})
_NO_LIMITS: Final = Limits(0, 0)


class Caller:
    """Who makes the call that this task works on."""

    __slots__ = ("_limits", "host", "identity")

    def __init__(self, identity: Identity, host: str, limits: Limits = _NO_LIMITS) -> None:
        self.identity = identity
        self.host = host
        self._limits = limits

    @property
    def key(self) -> str:
        """What tells him from others, as far as anything does: who he is, or his host."""
        return self.identity.principal or self.host

    def spend(self, images: int) -> None:
        """Takes pictures out of what he may have classified. Raises Overloaded."""
        self._limits.spend(self.key, images)

    def may(self, roles: Collection[Role], model: str | None = None) -> bool:
        """Returns whether he has one of the roles, see `Identity.may`."""
        return self.identity.may(roles, model)

    def may_see(self, model: str) -> bool:
        """Returns whether he has any role for a model."""
        return self.identity.may(_ANY, model)


_NOBODY: Final = Caller(ANYBODY, "")
_caller: ContextVar[Caller] = ContextVar("caller", default=_NOBODY)


def caller() -> Caller:
    """Returns who makes the call that this task works on; outside of calls somebody who may do everything."""
    return _caller.get()


class Gate:
    """Belongs to one event loop."""

    def __init__(self, credentials: Credentials, limits: Limits, audit: Audit, calls: Limits = _NO_LIMITS) -> None:
        """Takes what it looks callers up in, where it takes down what they change, and their pictures and calls."""
        self._credentials, self._limits, self.audit, self._calls = credentials, limits, audit, calls
        self.asks_certificates = credentials.asks_certificates
        self.open = credentials.open

    async def admit(self, rule: Rule, authorization: str, names: Sequence[str] | None, host: str, *, again: bool = False) -> Caller:
        """Lets a call in, or not, before its request is read; `caller` returns who makes it, in this task, from now on.

        Args:
            rule: of its method.
            authorization: the header's value, "" where there is none.
            names: in the certificate of the connection; None where there is none.
            host: that it comes from.
            again: whether the call was let in before, and only its message had not come.

        Raises:
            Unauthenticated: nobody knows who calls.
            PermissionDenied: he has none of the roles, for whichever model.
            Overloaded: he has made more calls than he may.
        """
        identity = await self._credentials.identify(authorization, names)
        made = Caller(identity, host, self._limits)
        _caller.set(made)
        if rule.roles != _CLASSIFY and not again:  # whose pictures are counted
            self._calls.spend(made.key, 1)
        if rule.everywhere:
            if not identity.may_everywhere(rule.roles):
                raise _denied(identity, rule, " for every model")
        elif not identity.may(rule.roles):
            raise _denied(identity, rule, "")
        return made


def only(given: Sequence[str]) -> str:
    """Returns the value of a header that is there once, "" where it is not; of several, none is meant, and what opens nothing."""
    return given[0] if len(given) == 1 else "several" if given else ""


def authorization_of(metadata: Iterable[tuple[str, str | bytes]]) -> str:
    """Returns by what a call says whose it is, see `only`, of its metadata."""
    return only([str(value) for key, value in metadata if key == "authorization"])


def check_models(rule: Rule, request: Any) -> None:
    """Refuses a request about models for which the caller does not have the role. Raises PermissionDenied."""
    if rule.models is None:
        return
    identity = _caller.get().identity
    if identity.may_everywhere(rule.roles):  # as nearly everybody
        return
    for model in rule.models(request):
        if not identity.may(rule.roles, model):
            raise _denied(identity, rule, f" for the model {model[:80]!r}")


def check_model(roles: Collection[Role], model: str) -> None:
    """Refuses a model for which the caller has none of the roles. Raises PermissionDenied."""
    identity = _caller.get().identity
    if not identity.may(roles, model):
        raise _denied(identity, Rule(frozenset(roles)), f" for the model {model[:80]!r}")


def _denied(identity: Identity, rule: Rule, of: str) -> PermissionDenied:
    roles = " or ".join(sorted(rule.roles)) if rule.roles else "admin"
    return PermissionDenied(
        f"{identity.name or 'The caller'} may not do this: it takes the role {roles}{of}, and there is {identity.roles}.",
        role=roles,
    )
