"""Which values labels may have, so that series stay few: so many models, versions and classes, and then `other`.

Callers cannot make up a model or a version that becomes a label, but a repository may hold thousands, and a model thousands of
classes. What was counted first has a name of its own.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Final, TypeVar

T = TypeVar("T")

OTHER: Final = "other"
MOST_MODELS: Final = 100
MOST_VERSIONS: Final = 300
MOST_CLASSES: Final = 100
# Pairs of them of a model, or a version: enough for the confusions that matter, and no flood of series.
MOST_PAIRS: Final = 100
# Labels whose values are classes of a model.
_CLASSES: Final = frozenset({"label", "predicted", "production_label", "shadow_label"})


class Names:
    """The values that labels have had. Safe to use from several threads: at worst a bound is passed by a few."""

    def __init__(self) -> None:
        self.versions: set[tuple[str, str]] = set()
        self._models: set[str] = set()
        self._classes: defaultdict[tuple[str, str], set[str]] = defaultdict(set)

    def bound(self, names: Sequence[str], values: tuple[str, ...]) -> tuple[str, ...]:
        """Returns the values, each beyond its bound replaced by `other`.

        Args:
            names: of a metric's labels.
            values: of a series, which is new or was beyond a bound before.
        """
        if "model" not in names:
            return values
        bounded = dict(zip(names, values, strict=True))
        if bounded["model"] != OTHER and not admit(self._models, bounded["model"], MOST_MODELS):
            bounded["model"] = OTHER
        model, version = bounded["model"], bounded.get("version", OTHER)
        if version != OTHER and (model == OTHER or not admit(self.versions, (model, version), MOST_VERSIONS)):
            bounded["version"] = OTHER
        for name in _CLASSES & bounded.keys():
            if not admit(self._classes[model, name], bounded[name], MOST_CLASSES):
                bounded[name] = OTHER
        return tuple(bounded.values())

    def forget(self, model: str, version: str) -> bool:
        """Leaves the place of a version to others; returns whether it was the model's last one, whose place is free then, too."""
        self.versions.discard((model, version))
        if any(of == model for of, _ in self.versions):
            return False
        self._models.discard(model)
        for key in [key for key in self._classes if key[0] == model]:
            del self._classes[key]
        return True


def admit(known: set[T], value: T, most: int) -> bool:
    """Returns whether a value is known, or there is room for it, and it is from now on."""
    if value not in known and len(known) < most:
        known.add(value)
    return value in known
