"""Which pictures of production each model keeps: histories of policies, MODEL/capture/NUMBER.json; see `registry.records`."""

from __future__ import annotations

from datetime import UTC, datetime

from eyasd.core.capture import CapturePolicy, CaptureRecord
from eyasd.core.errors import PolicyConflict
from eyasd.registry.records import Records
from eyasd.storage.store import Store


class Capturing:
    """The capture policies of every model in a store."""

    def __init__(self, store: Store) -> None:
        self.records = Records(store, CaptureRecord)

    def get(self, model: str) -> CaptureRecord | None:
        """Returns the record in force, or None where the model never had a policy: nothing is kept."""
        return self.records.newest(_prefix(model))

    def set(self, model: str, policy: CapturePolicy, *, actor: str) -> CaptureRecord:
        """Puts a policy in force; one that is already adds no record.

        Raises:
            PolicyConflict: somebody else did so between our look and our write.
        """
        newest = self.get(model)
        if newest is not None and newest.policy == policy:
            return newest
        record = CaptureRecord(newest.record + 1 if newest else 1, policy, datetime.now(UTC), actor)
        if not self.records.append(_prefix(model), record.record, record):
            raise PolicyConflict(
                f"What is captured of {model} was changed by somebody else at the same moment: look at it "
                f"(`eyas capture {model}`), then set it again."
            )
        return record


def _prefix(model: str) -> str:
    return f"{model}/capture"
