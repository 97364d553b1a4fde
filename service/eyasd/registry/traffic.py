"""The canaries and shadows of models: histories of what was in force, MODEL/traffic/NUMBER.json; see `registry.records`."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime

from eyasd.core.errors import TrafficConflict, VersionInUse
from eyasd.core.names import ModelRef
from eyasd.core.traffic import Canary, Shadow, TrafficRecord
from eyasd.registry.records import Records
from eyasd.storage.store import Store


class Traffic:
    """The traffic of every model in a store."""

    def __init__(self, store: Store) -> None:
        self.records = Records(store, TrafficRecord)

    def get(self, model: str) -> TrafficRecord | None:
        """Returns the record in force, or None where the model never had a canary or a shadow."""
        return self.records.newest(_prefix(model))

    def history(self, model: str) -> list[TrafficRecord]:
        """Returns every record, oldest first."""
        return self.records.all(_prefix(model))

    def set(
        self, model: str, canary: Canary | None, shadow: Shadow | None, *, actor: str, reason: str, after: int | None = None
    ) -> TrafficRecord:
        """Puts a canary and a shadow in force, whose targets the caller has made sure exist; returns the record in force.

        Setting what is in force already adds no record, so that a repeated call is harmless.

        Args:
            model: whose requests they see.
            canary: None ends it.
            shadow: None ends it.
            actor: who asks for it.
            reason: why.
            after: number of the newest record that the caller has seen, 0 where there was none; None is whatever it is now.

        Raises:
            TrafficConflict: somebody else changed it since the caller looked, or between our look and our write.
        """
        newest = self.get(model)
        number = newest.record if newest else 0
        if after is not None and number != after:
            raise _changed_meanwhile(model)
        if newest is not None and (newest.canary, newest.shadow) == (canary, shadow):
            return newest
        record = TrafficRecord(number + 1, canary, shadow, datetime.now(UTC), actor, reason)
        if not self.records.append(_prefix(model), record.record, record):
            raise _changed_meanwhile(model)
        return record

    def end_canary(self, model: str, record: TrafficRecord, reason: str) -> bool:
        """Ends a record's canary because of what was found; returns whether it did, and nobody else was quicker.

        A newer record with the same canary, of somebody who changed the shadow just then, is no reason to leave it.
        """
        while True:
            try:
                self.set(model, None, record.shadow, actor="eyasd", reason=reason, after=record.record)
            except TrafficConflict:
                newest = self.get(model)
                if newest is None or newest.record == record.record or newest.canary != record.canary:
                    return False
                record = newest
            else:
                return True

    def end_promoted(self, model: str, version: int, leads_to: Callable[[ModelRef], int | None]) -> None:
        """Ends the canary and the shadow that have become production; where somebody else changes them just then, that holds.

        Args:
            model: whose production it is.
            version: that it points to now.
            leads_to: says which version a target leads to.
        """
        record = self.get(model)
        if record is None:
            return
        canary = None if record.canary and leads_to(record.canary.target) == version else record.canary
        shadow = None if record.shadow and leads_to(record.shadow.target) == version else record.shadow
        with suppress(TrafficConflict):
            self.set(model, canary, shadow, actor="eyasd", reason=f"{model}/{version} is in production", after=record.record)

    def refuse_if_held(self, model: str, version: int) -> None:
        """Raises VersionInUse where a version is a canary or a shadow by its number."""
        record = self.get(model)
        for name, part in (("canary", record.canary), ("shadow", record.shadow)) if record else ():
            if part and part.target.version == version:
                raise VersionInUse(
                    f"{model}/{version} is the {name} of {model}: end that first, with `eyas {name} {model} --end`.",
                    model=model,
                    version=version,
                )


def _changed_meanwhile(model: str) -> TrafficConflict:
    return TrafficConflict(
        f"The traffic of {model} was changed by somebody else meanwhile: look at it (`eyas traffic {model}`), then set it again."
    )


def _prefix(model: str) -> str:
    return f"{model}/traffic"
