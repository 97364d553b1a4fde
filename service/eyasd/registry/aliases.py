"""Aliases: histories of where each pointed, MODEL/aliases/ALIAS/NUMBER.json; see `registry.records`."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from itertools import pairwise

from eyasd.core.errors import AliasConflict, AliasNotFound, NothingToRollBack
from eyasd.core.names import ModelRef
from eyasd.core.promotion import AliasRecord
from eyasd.registry.records import Records
from eyasd.registry.remembered import Remembered
from eyasd.storage.store import Store


class Aliases:
    """The aliases of every model in a store."""

    def __init__(self, store: Store) -> None:
        self._names, self.records = Remembered[list[str]](store, store.children, []), Records(store, AliasRecord)

    def current(self, model: str) -> dict[str, AliasRecord]:
        """Returns the newest record of each of the model's aliases, sorted by alias."""
        records = {alias: self.get(model, alias) for alias in self._names.get(f"{model}/aliases")}
        return {alias: record for alias, record in records.items() if record is not None}

    def get(self, model: str, alias: str) -> AliasRecord | None:
        """Returns the alias's newest record, or None where there is no such alias."""
        return self.records.newest(_prefix(model, alias))

    def leads_to(self, ref: ModelRef) -> int | None:
        """Returns the version that a reference names, whether or not it exists; None where there is no such alias."""
        if ref.version is not None:
            return ref.version
        record = self.get(ref.model, ref.alias or "")
        return record.version if record else None

    def history(self, model: str, alias: str) -> list[AliasRecord]:
        """Returns every record of the alias, oldest first."""
        return self.records.all(_prefix(model, alias))

    def set(
        self,
        model: str,
        alias: str,
        version: int,
        *,
        actor: str,
        reason: str,
        evidence: tuple[str, ...] = (),
        forced: bool = False,
        after: int | None = None,
    ) -> AliasRecord:
        """Points the alias to a version, which the caller has made sure exists; returns the record in force.

        Setting an alias to where it points already adds no record, so that a repeated call is harmless. Asks no policy; see
        `Models.promote`.

        Args:
            model: of the alias.
            alias: is made where there is none.
            version: where it is to point.
            actor: who asks for it.
            reason: why.
            evidence: see `AliasRecord`.
            forced: likewise.
            after: number of the newest record that the caller has seen, 0 where there was none; None is whatever it is now.

        Raises:
            AliasConflict: somebody else moved it since the caller looked, or between our look and our write.
        """
        newest = self.get(model, alias)
        if newest is not None and newest.version == version:
            return newest
        number, previous = (newest.record + 1, newest.version) if newest else (1, None)
        if after is not None and number != after + 1:
            raise _moved_meanwhile(model, alias)
        return self._append(
            model, alias, AliasRecord(number, version, previous, datetime.now(UTC), actor, reason, None, evidence, forced)
        )

    def rollback(
        self,
        model: str,
        alias: str,
        *,
        actor: str,
        reason: str,
        expected: int | None = None,
        check: Callable[[int], object] = bool,
    ) -> AliasRecord:
        """Points the alias to where it pointed before it was last moved; returns the record in force.

        A rollback takes back a move, not another rollback: a second one goes one version further back.

        Args:
            model: of the alias.
            alias: to roll back.
            actor: who asks for it.
            reason: why.
            expected: the version that the caller wants to get rid of; None is whatever it is.
            check: called with the version that it is to point to; may raise.

        Raises:
            AliasNotFound: there is no such alias.
            NothingToRollBack: no move is left to take back.
            AliasConflict: it does not point to the version expected, or somebody else moved it at the same moment.
        """
        moves: list[AliasRecord] = []
        history = self.history(model, alias)
        for record in history:
            if record.undoes is None:
                moves.append(record)
            else:
                moves.pop()
        if not history:
            raise AliasNotFound(f"Model {model!r} has no alias {alias!r}, so it cannot be rolled back.", model=model, alias=alias)
        newest = history[-1]
        if expected is not None and newest.version != expected:
            raise AliasConflict(f"{model}@{alias} points to version {newest.version}, not {expected}: nothing was rolled back.")
        if len(moves) < 2:
            raise NothingToRollBack(
                f"{model}@{alias} has not pointed anywhere before version {newest.version}: set it to the version you want.",
                model=model,
                alias=alias,
            )
        undone, before = moves[-1].record, moves[-2].version
        check(before)
        return self._append(
            model, alias, AliasRecord(newest.record + 1, before, newest.version, datetime.now(UTC), actor, reason, undone)
        )

    def at(self, model: str, alias: str, time: datetime) -> AliasRecord | None:
        """Returns the record that was in force at a moment; None where there was none yet."""
        return next((record for record in reversed(self.history(model, alias)) if record.time <= time), None)

    def left(self, model: str, alias: str, version: int) -> datetime | None:
        """Returns when the alias last stopped pointing to a version; None where it never did, or has not stopped."""
        history = self.history(model, alias)
        moments = [after.time for before, after in pairwise(history) if before.version == version]
        return moments[-1] if moments else None

    def _append(self, model: str, alias: str, record: AliasRecord) -> AliasRecord:
        if not self.records.append(_prefix(model, alias), record.record, record):
            raise _moved_meanwhile(model, alias)
        return record


def _moved_meanwhile(model: str, alias: str) -> AliasConflict:
    return AliasConflict(
        f"{model}@{alias} was moved by somebody else at the same moment: look where it points now, then set it again."
    )


def _prefix(model: str, alias: str) -> str:
    return f"{model}/aliases/{alias}"
