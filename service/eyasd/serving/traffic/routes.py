"""Where the aliases, canaries and shadows of all models lead: to where they point, once that answers.

An alias that moves leads to its old version until the new one has been loaded. Knows versions by number, and is told
which are loaded.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Container, Mapping

import structlog

from eyasd.core.capture import CapturePolicy
from eyasd.core.names import PRODUCTION, ModelRef
from eyasd.core.traffic import Canary, Pointers, Shadow, TrafficRecord

Version = tuple[str, int]


class Routes:
    """The routes of one server.

    Attributes:
        targets: what aliases, canaries and shadows point to.
        captures: what is kept of the pictures of each model that ever had such a policy.
    """

    def __init__(
        self, log: structlog.typing.FilteringBoundLogger, on_swap: Callable[[str, float], None] = lambda _model, _seconds: None
    ) -> None:
        """Begins with none.

        Args:
            log: hears of each alias that leads elsewhere.
            on_swap: told the model of each, and the seconds since it was first seen to point there.
        """
        self._log = log
        self._on_swap = on_swap
        self._pointed: dict[tuple[str, str], tuple[int, float]] = {}
        self._pointers: Mapping[str, Pointers] = {}
        self._routes: dict[tuple[str, str], int] = {}
        self.targets: set[Version] = set()
        self.captures: Mapping[str, CapturePolicy] = {}

    def take(self, pointers: Mapping[str, Pointers]) -> bool:
        """Takes over where the registry points, by model, but leads nowhere else yet; returns whether anything is different."""
        if pointers == self._pointers:
            return False
        self._pointers = pointers
        now = time.monotonic()
        pointed = {(model, alias): version for model, found in pointers.items() for alias, version in found.aliases.items()}
        self._pointed = {
            route: self._pointed[route] if self._pointed.get(route, (0, 0.0))[0] == version else (version, now)
            for route, version in pointed.items()
        }
        self.captures = {model: found.capture.policy for model, found in pointers.items() if found.capture is not None}
        self.targets = {
            (model, version) for model, found in pointers.items() for version in (*found.aliases.values(), *found.by_number)
        }
        return True

    def move(self, loaded: Container[Version]) -> None:
        """Lets each alias lead to where it points, if that answers, and forgets those that are gone."""
        for model, alias in list(self._routes):
            if model not in self._pointers or alias not in self._pointers[model].aliases:
                del self._routes[model, alias]
        for model, pointers in self._pointers.items():
            for alias, version in pointers.aliases.items():
                if (model, version) in loaded and self._routes.get((model, alias)) != version:
                    self._log.info("alias leads to version", model=model, alias=alias, version=version)
                    if (model, alias) in self._routes:
                        self._on_swap(model, time.monotonic() - self._pointed[model, alias][1])
                    self._routes[model, alias] = version

    def leave(self, version: Version) -> None:
        """Lets no alias lead to a version that does not answer any more."""
        for model, alias in [route for route, number in self._routes.items() if (route[0], number) == version]:
            del self._routes[model, alias]

    def knows(self, model: str) -> bool:
        """Returns whether the registry has an alias or a record of traffic of a model."""
        return model in self._pointers

    def version(self, model: str, alias: str) -> int | None:
        """Returns the version that an alias leads to; None where it leads nowhere yet, or there is no such alias."""
        return self._routes.get((model, alias))

    @property
    def led(self) -> set[Version]:
        """What aliases lead to."""
        return {(model, version) for (model, _), version in self._routes.items()}

    @property
    def readiness(self) -> dict[str, bool]:
        """For each model with an alias, whether each of its aliases leads to a version that answers."""
        return {model: all((model, alias) in self._routes for alias in found.aliases) for model, found in self._pointers.items()}

    def canaries(self, loaded: Container[Version]) -> dict[str, tuple[TrafficRecord, Canary, int, int]]:
        """Returns the canaries that can answer, see `Router.follow`."""
        found = {}
        for model, pointers in self._pointers.items():
            record, production = pointers.traffic, self.version(model, PRODUCTION)
            if record is not None and record.canary is not None and production is not None:
                version = self._leads_to(record.canary.target, loaded)
                if version is not None and version != production:
                    found[model] = (record, record.canary, production, version)
        return found

    def shadow(self, model: str) -> Shadow | None:
        """Returns a model's shadow; None where it has none."""
        pointers = self._pointers.get(model)
        return pointers.traffic.shadow if pointers and pointers.traffic else None

    def shadow_version(self, model: str, loaded: Container[Version]) -> int | None:
        """Returns the version that a model's shadow leads to; None where it has none, or that is not loaded."""
        shadow = self.shadow(model)
        return self._leads_to(shadow.target, loaded) if shadow else None

    def _leads_to(self, target: ModelRef, loaded: Container[Version]) -> int | None:
        version = target.version if target.alias is None else self.version(target.model, target.alias)
        return version if version is not None and (target.model, version) in loaded else None
