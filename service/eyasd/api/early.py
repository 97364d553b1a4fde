"""Who may send his message: callers are let in by what comes before it, and then wait for a place.

Who was let in a moment ago is not asked again before his message comes, so a call waits for nothing; its handler asks all the same.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Final, NoReturn

from eyasd.api.arrivals import Arrivals, Patience, Refused
from eyasd.api.gate import authorization_of
from eyasd.api.permissions import OPEN, rule_of

if TYPE_CHECKING:
    from eyasd.api.door import ServerCall
    from eyasd.api.interceptors import CallInterceptor

# Of messages to methods that everybody may call: a few bytes, which come with the call, and a probe does not wait for long.
OPEN_PLACES: Final = 4
_OPEN_PATIENCE: Final = Patience(0.2, 0.2)
_REMEMBERED_SECONDS: Final = 10.0
_MOST_REMEMBERED: Final = 4096
_LOOK_SECONDS: Final = 0.25


class Early:
    """Stands before the handlers of methods that take one message. Belongs to one event loop, but for `places`."""

    def __init__(
        self, interceptor: CallInterceptor, arrivals: Arrivals, seconds: float, now: Callable[[], float] = time.monotonic
    ) -> None:
        """Remembers nobody yet.

        Args:
            interceptor: lets callers in.
            arrivals: of messages of those who were.
            seconds: how long one may take that everybody may send.
            now: seconds.
        """
        self._interceptor, self._arrivals, self._now = interceptor, arrivals, now
        self._open = Arrivals(OPEN_PLACES, seconds, _OPEN_PATIENCE)
        self._remembered: dict[Hashable, tuple[float, Hashable]] = {}  # a method and a credential -> until when, and whose

    def places(self, call: ServerCall) -> Arrivals | None:
        """See `Threshold`."""
        if rule_of(call.method) is OPEN:
            return self._open
        if self._interceptor.gate.open:
            return self._arrivals
        known = self._remembered.get(self._credential(call))
        if known is None or known[0] <= self._now():
            return None
        call.caller = known[1]
        return self._arrivals

    async def admit(self, call: ServerCall) -> Arrivals:
        """See `Threshold`."""
        call.caller = await self._interceptor.admit_early(call)
        if len(self._remembered) >= _MOST_REMEMBERED:
            self._remembered.clear()
        self._remembered[self._credential(call)] = self._now() + _REMEMBERED_SECONDS, call.caller
        return self._arrivals

    async def give_up(self, call: ServerCall, error: Refused, seconds: float) -> NoReturn:
        """See `Threshold`."""
        await self._interceptor.give_up(call, error, seconds)

    async def follow(self) -> None:
        """Gives up what does not come, until it is cancelled."""
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            self._arrivals.look()
            self._open.look()

    def _credential(self, call: ServerCall) -> Hashable:
        return call.method, authorization_of(call.invocation_metadata()) or call.peer()  # a certificate is the connection's
