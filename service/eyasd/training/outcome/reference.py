"""What pictures and answers are like where nothing has drifted: by the file that is served, on pictures it was not fitted to."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from eyasd.core.reference import Floats, Reference, Signal, answer_values, pixel_values, summarise
from eyasd.core.unknown import UnknownRules
from eyasd.training.data.audit import Audit
from eyasd.training.data.listing import TEST, VALIDATION
from eyasd.training.journal import Journal
from eyasd.training.outcome.evaluate import Predicted, accepted_by, joined, predict
from eyasd.training.outcome.session import open_session

# Of fewer test pictures, what is theirs by chance hides what is not: with 200, a stability index of 0.19 may be chance, however
# many pictures they are compared with. Those of validation have decided about weights and temperature, and not much more.
_ENOUGH: Final = 200
# With more than these, chance adds less than 0.005 to the index.
_MOST: Final = 2000
_BATCH: Final = 32


def measure_reference(
    path: Path,
    tested: Predicted,
    images: NDArray[np.uint8],
    data: Audit,
    shorter_px: Floats,
    rules: UnknownRules,
    journal: Journal,
) -> Reference:
    """Returns the reference of a model file.

    Args:
        path: of the file.
        tested: what it says of the test split.
        images: uint8 [N, H, W, 3], a row a listed file.
        data: which of them are in which split.
        shorter_px: float64 [N], see `head.start.Start`.
        rules: by which pictures are unknown.
        journal: may end it.
    """
    rows, split = data.rows[TEST], TEST
    if len(rows) < _ENOUGH:
        more, split = _some(data.rows[VALIDATION], _ENOUGH), f"{TEST} and {VALIDATION}"
        rows, tested = np.concatenate([rows, more]), joined([tested, predict(open_session(path), _batches(images, more))])
    chosen = _some(np.arange(len(rows)), _MOST)
    rows, probabilities = rows[chosen], tested[0][chosen]
    scores = None if tested[1] is None else tested[1][chosen]
    found: dict[Signal, list[float]] = defaultdict(list)
    for batch in _batches(images, rows):
        journal.check()
        for signals in map(pixel_values, batch):
            for signal, value in signals.items():
                found[signal].append(value)
    values = answer_values(probabilities, None if scores is None else scores.astype(np.float64), multi_label=data.multi_label)
    values |= {signal: np.array(seen) for signal, seen in found.items()} | {Signal.SIZE: shorter_px[rows]}
    unknown = int((~accepted_by(rules, probabilities, scores)).sum())
    return summarise(data.labels, probabilities.argmax(1), values, split=split, unknown=unknown)


def _some(rows: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """Returns so many rows at most, at equal distances: of all labels, in whatever order they are listed."""
    return rows[:: max(1, -(-len(rows) // most))]


def _batches(images: NDArray[np.uint8], rows: NDArray[np.int64]) -> Iterator[NDArray[np.uint8]]:
    return (images[rows[first : first + _BATCH]] for first in range(0, len(rows), _BATCH))
