"""Keeps captured pictures within what their model's policy allows, and names their labels once feedback says so.

Knows from one look a minute which pictures there are, and adds what it keeps itself: what another server has kept since is found at
the next look, until when a model may have a few pictures more than it should. Belongs to one thread.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from datetime import timedelta
from typing import Final

from eyasd.core import likeness
from eyasd.core.capture import CapturePolicy, CaptureReason
from eyasd.core.captured import GivenLabels, Outcome, Sighting
from eyasd.registry.captured import Captured, Entry, identity
from eyasd.registry.thinning import Bounds, surplus, sweep, turn

_SWEEP_SECONDS: Final = 3600.0
# Labels of answers whose pictures are not known here: they may have been kept by another server, and be listed at the next look.
_MOST_WAITING: Final = 10_000


class Keeper:
    """What one server keeps, and removes, of all models."""

    def __init__(self, captured: Captured, max_bytes: int) -> None:
        """Looks at nothing yet.

        Args:
            captured: the store.
            max_bytes: most that the pictures of one model may take.
        """
        self._captured, self._max_bytes = captured, max_bytes
        self._held: dict[str, _Held] = {}
        self._waiting: OrderedDict[tuple[str, str], GivenLabels] = OrderedDict()
        self._swept: dict[str, float] = {}

    def size_bytes(self, model: str) -> int:
        """Returns how many bytes the pictures of a model take, by the newest look."""
        held = self._held.get(model)
        return held.size_bytes if held else 0

    def keep(self, model: str, content: bytes, sighting: Sighting, policy: CapturePolicy) -> Outcome:
        """Keeps a picture unless it is there, or others are more instructive; returns what became of it.

        Raises:
            StorageFailed: the store could not be used.
        """
        held = self._look(model)
        picture = identity(content)
        if picture in held.dropped:
            return Outcome.DELETED
        if (known := held.worth.get(picture)) is not None:
            if sighting.worth // 100 <= known // 100:  # no reason that teaches more than what is known
                return Outcome.DUPLICATE
        elif CaptureReason.WRONG not in sighting.reasons and held.has_near(sighting.digest):
            return Outcome.NEAR_COPY
        elif not self._make_room(model, held, len(content), sighting.worth, policy):
            return Outcome.FULL
        held.add(self._captured.keep(model, content, sighting))
        self._name_those_waiting(model, held, [sighting.prediction])
        return Outcome.KEPT

    def name(self, model: str, prediction: str, given: GivenLabels) -> None:
        """Names the labels of the picture of an answer, now or once it is known which that is; of one that is not kept, never.

        Raises:
            StorageFailed: the store could not be used; it is tried again.
        """
        self.remember(model, prediction, given)
        self._name_those_waiting(model, self._look(model), [prediction])

    def remember(self, model: str, prediction: str, given: GivenLabels) -> None:
        """Remembers to name the labels of the picture of an answer at the next look."""
        self._waiting[model, prediction] = given
        self._waiting.move_to_end((model, prediction))
        if len(self._waiting) > _MOST_WAITING:
            self._waiting.popitem(last=False)

    def tidy(self, policies: Mapping[str, CapturePolicy]) -> int:
        """Looks at the store anew, and removes what is too much; returns how many pictures that was.

        Args:
            policies: of each model that has one, in force or not; of others what is there goes when it is old.

        Raises:
            StorageFailed: the store could not be used.
        """
        removed = 0
        for model in self._captured.models():
            bounds = self._bounds(policies.get(model) or CapturePolicy(on=False))
            entries, labelled = self._captured.entries(model), self._captured.namings(model).keys()
            gone = set(surplus(entries, labelled, bounds, time.time()))
            self._captured.remove(model, gone)
            removed += len(gone)
            held = _Held([entry for entry in entries if entry.id not in gone], labelled, self._captured.dropped(model))
            self._held[model] = held
            self._name_those_waiting(model, held, held.predictions)
            if time.monotonic() - self._swept.get(model, -_SWEEP_SECONDS) >= _SWEEP_SECONDS:
                sweep(self._captured, model, bounds)
                self._swept[model] = time.monotonic()
        return removed

    def _bounds(self, policy: CapturePolicy) -> Bounds:
        return Bounds(max_images=policy.max_images, max_bytes=self._max_bytes, keep=timedelta(days=policy.keep_days))

    def _look(self, model: str) -> _Held:
        held = self._held.get(model)
        if held is None:
            entries, labelled = self._captured.entries(model), self._captured.namings(model).keys()
            held = self._held[model] = _Held(entries, labelled, self._captured.dropped(model))
        return held

    def _make_room(self, model: str, held: _Held, size_bytes: int, worth: int, policy: CapturePolicy) -> bool:
        """Removes what is less instructive than a picture that is to come, and returns whether there is room then."""
        if policy.max_images < 1 or size_bytes > self._max_bytes:
            return False
        most = self._max_bytes - size_bytes
        if len(held.first) < policy.max_images and held.size_bytes <= most:
            return True
        gone: list[str] = []
        freed = 0
        for picture in held.least():
            if len(held.first) - len(gone) < policy.max_images and held.size_bytes - freed <= most:
                break
            if picture in held.labelled or held.worth[picture] >= worth:
                return False
            gone.append(picture)
            freed += held.first[picture].size_bytes
        self._captured.remove(model, gone)
        held.remove(gone)
        return True

    def _name_those_waiting(self, model: str, held: _Held, predictions: Iterable[str]) -> None:
        for prediction in predictions:
            given, picture = self._waiting.get((model, prediction)), held.predictions.get(prediction)
            if given is not None and picture is not None:
                self._captured.label(model, picture, given)
                held.labelled.add(picture)
                with suppress(KeyError):
                    del self._waiting[model, prediction]


class _Held:
    """Which pictures of a model there are.

    Attributes:
        first: of each picture what its first sighting says.
        worth: of each.
        predictions: the picture of each answer.
        labelled: pictures whose labels somebody has named.
        dropped: pictures that somebody has deleted.
        size_bytes: of all together.
    """

    def __init__(self, entries: Iterable[Entry], labelled: Collection[str], dropped: set[str]) -> None:
        self.first: dict[str, Entry] = {}
        self.worth: dict[str, int] = {}
        self.predictions: dict[str, str] = {}
        self.labelled, self.dropped = set(labelled), dropped
        self.size_bytes = 0
        for entry in entries:
            self.add(entry)

    def add(self, entry: Entry) -> None:
        """Takes note of a sighting."""
        if entry.id not in self.first:
            self.first[entry.id] = entry
            self.size_bytes += entry.size_bytes
        self.worth[entry.id] = max(entry.worth, self.worth.get(entry.id, 0))
        if entry.prediction:
            self.predictions[entry.prediction] = entry.id

    def remove(self, pictures: Collection[str]) -> None:
        """Forgets pictures."""
        for picture in pictures:
            self.size_bytes -= self.first.pop(picture).size_bytes
            del self.worth[picture]
        gone = set(pictures)
        if gone:
            self.predictions = {nonce: picture for nonce, picture in self.predictions.items() if picture not in gone}

    def has_near(self, digest: str) -> bool:
        """Returns whether one of the pictures is a near copy."""
        return any(likeness.near(digest, entry.digest) for entry in self.first.values()) if digest else False

    def least(self) -> list[str]:
        """Returns the pictures in the order in which they go."""
        return sorted(self.first, key=lambda one: turn(self.first[one], self.worth[one], labelled=one in self.labelled))
