"""Aliases: append-only histories of numbered records, each created if absent.

    MODEL/aliases/ALIAS/00000001.json, 00000002.json, ...

The newest record says where the alias points. Nothing is ever overwritten, so the history is complete, and of two callers who
move an alias at the same moment one wins and the other is told.
"""

from __future__ import annotations

from datetime import UTC, datetime

from eyasd.core import document
from eyasd.core.errors import AliasConflict, AliasNotFound, NothingToRollBack, StorageFailed
from eyasd.core.types import AliasRecord
from eyasd.registry.store import Store


class Aliases:
    """The aliases of every model in a store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def current(self, model: str) -> dict[str, AliasRecord]:
        """Returns the newest record of each of the model's aliases, sorted by alias."""
        records = {alias: self.get(model, alias) for alias in self._store.children(f"{model}/aliases")}
        return {alias: record for alias, record in records.items() if record is not None}

    def get(self, model: str, alias: str) -> AliasRecord | None:
        """Returns the alias's newest record, or None where there is no such alias."""
        records = self._store.children(f"{model}/aliases/{alias}")
        return self._read(f"{model}/aliases/{alias}/{records[-1]}") if records else None

    def history(self, model: str, alias: str) -> list[AliasRecord]:
        """Returns every record of the alias, oldest first."""
        return [self._read(f"{model}/aliases/{alias}/{name}") for name in self._store.children(f"{model}/aliases/{alias}")]

    def set(self, model: str, alias: str, version: int, *, actor: str, reason: str) -> AliasRecord:
        """Points the alias to a version, which the caller has made sure exists; returns the record in force.

        Setting an alias to where it points already adds no record, so that a repeated call is harmless.

        Raises:
            AliasConflict: somebody else moved it between our look and our write.
        """
        newest = self.get(model, alias)
        if newest is not None and newest.version == version:
            return newest
        return self._append(model, alias, newest, version, actor, reason)

    def rollback(self, model: str, alias: str, *, actor: str, reason: str, expected: int | None = None) -> AliasRecord:
        """Points the alias to where it pointed before it was last moved; returns the record in force.

        A rollback takes back a move, not another rollback: a second one goes one version further back.

        Args:
            model: of the alias.
            alias: to roll back.
            actor: who asks for it.
            reason: why.
            expected: the version that the caller wants to get rid of; None is whatever it is.

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
        return self._append(model, alias, newest, moves[-2].version, actor, reason, undoes=moves[-1].record)

    def at(self, model: str, alias: str, time: datetime) -> AliasRecord | None:
        """Returns the record that was in force at a moment; None where there was none yet."""
        return next((record for record in reversed(self.history(model, alias)) if record.time <= time), None)

    def _append(
        self,
        model: str,
        alias: str,
        newest: AliasRecord | None,
        version: int,
        actor: str,
        reason: str,
        undoes: int | None = None,
    ) -> AliasRecord:
        record = AliasRecord(
            record=newest.record + 1 if newest else 1,
            version=version,
            previous=newest.version if newest else None,
            time=datetime.now(UTC),
            actor=actor,
            reason=reason,
            undoes=undoes,
        )
        key = f"{model}/aliases/{alias}/{record.record:08d}.json"
        if not self._store.create(key, document.dump(record).encode()):
            raise AliasConflict(
                f"{model}@{alias} was moved by somebody else at the same moment: look where it points now, then set it again."
            )
        return record

    def _read(self, key: str) -> AliasRecord:
        try:
            return document.load(AliasRecord, self._store.read(key))
        except ValueError as error:
            raise StorageFailed(
                f"The alias record {key} is damaged ({error}): restore it from a copy, or set the alias anew."
            ) from error
