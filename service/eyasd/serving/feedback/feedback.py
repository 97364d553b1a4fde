"""Takes reports of what would have been right, counts them, and tells those who learn from them.

    read the ids -> find their versions' labels -> were they reported before? -> count, judge canaries, tell the listeners

A report that cannot be used fails alone. Nothing is kept of answers: what there is to know of one is in its id.
"""

from __future__ import annotations

import asyncio
import time
import zlib
from collections import OrderedDict
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple

import numpy as np

from eyasd.core.errors import BrokenBundle, NotFound
from eyasd.core.names import ModelRef
from eyasd.serving.catalog import Catalog
from eyasd.serving.feedback.counting import Counting
from eyasd.serving.feedback.ids import PredictionIds
from eyasd.serving.feedback.judged import Judged, Listener, Stamp
from eyasd.serving.feedback.memory import Known, Memory, Note
from eyasd.serving.feedback.reports import Outcome, Receipt, Report, Vocabulary
from eyasd.serving.fleet import Fleet
from eyasd.telemetry.metrics import Metrics

# How much the clock of the server that gave an answer may be ahead of this one's.
SKEW_SECONDS: Final = 300.0
_VOCABULARIES: Final = 64
# Reports between two looks at what else the event loop has to do: a millisecond.
_AT_A_TIME: Final = 32
_LABELS_SHOWN: Final = 8


class Feedback:
    """Takes reports. Belongs to one event loop."""

    def __init__(
        self,
        ids: PredictionIds,
        fleet: Fleet,
        catalog: Catalog,
        memory: Memory,
        metrics: Metrics,
        *,
        keep_days: float,
        listeners: Sequence[Listener] = (),
        now: Callable[[], float] = time.time,
    ) -> None:
        """Remembers whom to ask and to tell.

        Args:
            ids: reads the ids of answers.
            fleet: knows the labels of what is loaded, and hears how its canaries do.
            catalog: knows those of all other versions.
            memory: knows which answers were reported before.
            metrics: counts.
            keep_days: how long after an answer a report of it is taken.
            listeners: are told of each answer that was judged.
            now: seconds since 1970.
        """
        self._ids = ids
        self._fleet = fleet
        self._catalog = catalog
        self._memory = memory
        self._counting = Counting(metrics)
        self._keep_days = keep_days
        self._listeners = listeners
        self._now = now
        self._vocabularies: OrderedDict[tuple[str, int], Vocabulary] = OrderedDict()
        self._under_way: set[asyncio.Task[list[Receipt]]] = set()

    def remember_in(self, memory: Memory) -> None:
        """Asks this memory from now on."""
        self._memory = memory

    def model_of(self, prediction_id: str) -> str | None:
        """Returns the model whose answer an id is of; None where it is no id of ours."""
        stamp = self._ids.read(prediction_id)
        return stamp.model if stamp is not None else None

    async def report(self, reports: Sequence[Report]) -> list[Receipt]:
        """Takes reports, and returns what became of each, in order.

        Raises:
            StorageFailed: the labels of a version could not be read; nothing has been counted.
        """
        told: list[Receipt | Stamp] = []
        for index, report in enumerate(reports):
            told.append(self._checked(self._ids.read(report.prediction_id)))
            await _breathe(index)
        wanted = {(stamp.model, stamp.version) for stamp in told if isinstance(stamp, Stamp)}
        vocabularies = {key: await self._vocabulary(*key) for key in sorted(wanted)}
        understood = [
            _understood(report, one, vocabularies[one.model, one.version]) if isinstance(one, Stamp) else one
            for report, one in zip(reports, told, strict=True)
        ]
        # What the memory has noted is counted, also where the caller has left.
        counting = asyncio.create_task(self._count(understood))
        self._under_way.add(counting)
        counting.add_done_callback(self._under_way.discard)
        return await asyncio.shield(counting)

    async def _count(self, understood: Sequence[Receipt | _Understood]) -> list[Receipt]:
        """Returns what became of each report, of which some are no use."""
        notes = [one.note for one in understood if isinstance(one, _Understood)]
        known = iter(await self._memory.note(notes) if notes else ())
        receipts: list[Receipt] = []
        for index, one in enumerate(understood):
            receipt = one if isinstance(one, Receipt) else self._take(one, next(known))
            self._counting.note(receipt.outcome, receipt.model, receipt.version)
            receipts.append(receipt)
            await _breathe(index)
        return receipts

    def _checked(self, stamp: Stamp | None) -> Receipt | Stamp:
        """Returns what an id says, or why a report with it cannot be used."""
        if stamp is None:
            return Receipt(
                Outcome.FORGED,
                "The id is not of this server's key, or was changed: send it as the answer has it, to a server of the same "
                "repository (or serving.feedback_key).",
            )
        age = self._now() - stamp.time
        if -SKEW_SECONDS <= age <= self._keep_days * 86_400 + SKEW_SECONDS:
            return stamp
        given = datetime.fromtimestamp(stamp.time, UTC)
        return Receipt(
            Outcome.EXPIRED,
            f"The answer was given at {given:%Y-%m-%d %H:%M} UTC, and reports are taken for {self._keep_days:g} days "
            "(serving.feedback_days)."
            if age > 0
            else f"The answer was given at {given:%Y-%m-%d %H:%M} UTC, which is still to come: set the clocks of the servers.",
        )

    async def _vocabulary(self, model: str, version: int) -> Vocabulary | None:
        """Returns the labels of a version; None where it is gone. Raises StorageFailed."""
        key = (model, version)
        known = self._vocabularies.get(key)
        if known is not None:
            self._vocabularies.move_to_end(key)
            return known
        manifest = self._fleet.manifest(model, version)
        if manifest is None:
            try:
                await asyncio.to_thread(self._catalog.resolve, ModelRef(model, version=version))
                manifest = await asyncio.to_thread(self._catalog.manifest, model, version)
            except (NotFound, BrokenBundle):
                return None
        self._vocabularies[key] = known = Vocabulary.of(manifest)
        if len(self._vocabularies) > _VOCABULARIES:
            self._vocabularies.popitem(last=False)
        return known

    def _take(self, understood: _Understood, known: Known) -> Receipt:
        judged, vocabulary = understood.judged, understood.vocabulary
        stamp = judged.stamp
        if known is Known.SAME:
            return _receipt(Outcome.REPEATED, "This was reported before, and is counted once.", stamp, vocabulary)
        if known is Known.OTHER:
            self._tell(judged._replace(correction=True))
            message = "Another label was reported before, which stays counted; pictures that were kept take this one."
            return _receipt(Outcome.CORRECTED, message, stamp, vocabulary)
        self._counting.count(judged, vocabulary)
        if stamp.routed:
            self._fleet.router.observe_answer(stamp.model, stamp.version, time=stamp.time, right=judged.right)
        self._tell(judged)
        return _receipt(Outcome.RIGHT if judged.right else Outcome.WRONG, "", stamp, vocabulary)

    def _tell(self, judged: Judged) -> None:
        for listener in self._listeners:
            listener.judged(judged)


class _Understood(NamedTuple):
    """A report that can be used: the answer as it is judged by it, its version's labels, and what the memory is to note."""

    judged: Judged
    vocabulary: Vocabulary
    note: Note


def _understood(report: Report, stamp: Stamp, vocabulary: Vocabulary | None) -> Receipt | _Understood:
    """Returns what a report says, or why it cannot be used."""
    version = f"{stamp.model}/{stamp.version}"
    if vocabulary is None or max((stamp.class_index, *stamp.applied)) >= len(vocabulary.labels):
        return Receipt(Outcome.EXPIRED, f"{version} gave the answer, and it has been deleted since.")
    truth = _truth(report.labels, vocabulary, version)
    if isinstance(truth, str):
        return _receipt(Outcome.UNKNOWN_LABEL, truth, stamp, vocabulary)
    judged = Judged(report.prediction_id, stamp, vocabulary.named(truth), truth == stamp.applied, correction=False)
    return _Understood(judged, vocabulary, (stamp.nonce, zlib.crc32(np.array(truth, np.uint32).tobytes())))


def _receipt(outcome: Outcome, message: str, stamp: Stamp, vocabulary: Vocabulary) -> Receipt:
    return Receipt(outcome, message, stamp.model, stamp.version, vocabulary.named(stamp.applied))


def _truth(labels: Sequence[str | int], vocabulary: Vocabulary, version: str) -> tuple[int, ...] | str:
    """Returns the class indices of the labels that a report says, ascending; or what is wrong with them, as a sentence."""
    if len(labels) > len(vocabulary.labels):
        return f"{len(labels):,} labels were reported, and {version} knows {len(vocabulary.labels):,}: report each once."
    found: set[int] = set()
    for label in labels:
        index = vocabulary.indices.get(label) if isinstance(label, str) else label
        if index is None or not 0 <= index < len(vocabulary.labels):
            shown = ", ".join(vocabulary.labels[:_LABELS_SHOWN]) + (", ..." if len(vocabulary.labels) > _LABELS_SHOWN else "")
            if isinstance(label, str):
                return f"{label[:80]!r} is no label of {version}; they are {shown}."
            return f"{label} is no class index of {version}, which has {len(vocabulary.labels)} labels, from 0: {shown}."
        found.add(index)
    if not vocabulary.multi_label and len(found) != 1:
        return f"{len(found)} labels were reported, and a picture has exactly one for {version}: report that."
    return tuple(sorted(found))


async def _breathe(index: int) -> None:
    if index % _AT_A_TIME == _AT_A_TIME - 1:
        await asyncio.sleep(0)
