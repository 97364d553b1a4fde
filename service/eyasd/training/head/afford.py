"""What a time budget has room for before any step is taken: pictures to fit the head to."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

from eyasd.training.budget import Budget
from eyasd.training.data.audit import Audit
from eyasd.training.data.listing import TRAIN, VALIDATION
from eyasd.training.data.targets import groups_of
from eyasd.training.journal import Journal
from eyasd.training.network import Network
from eyasd.training.tuning.pace import MARGIN, SESSION_SHARE, Pace
from eyasd.training.tuning.validate import expect_end

# The export of the frozen backbone, the doubtful labels and the head itself.
_HEAD_SECONDS: Final = 8.0
# Of a label; with 10 of each of the 10 labels of the clothing data set the test accuracy was 0.71, with all 3,068 it is 0.90.
_FEWEST: Final = 30


def affordable(
    network: Network, images: NDArray[np.uint8], data: Audit, budget: Budget, seed: int, journal: Journal
) -> NDArray[np.int64]:
    """Returns int64 [n], which pictures of the training split the head is fitted to: all, or as many as there is time for.

    Args:
        network: with its weights; its head does not matter.
        images: uint8 [N, H, W, 3].
        data: the splits.
        budget: when the job has to end.
        seed: of the choice; each label keeps its share.
        journal: hears that there is no time for all.
    """
    rows = data.rows[TRAIN]
    if budget.deadline is None:
        return rows
    pace = Pace(budget, 1)
    seconds = SESSION_SHARE * expect_end(pace, network, images, data, journal)
    # Without the margin of a fine-tuning, where every step less costs little: a head of few pictures is a poor one.
    left = budget.left_seconds() - pace.export_seconds / MARGIN - _HEAD_SECONDS
    room = int(left / seconds) - len(data.rows[VALIDATION])
    if room >= len(rows):
        return rows
    groups = groups_of(data.targets[rows])
    count = min(len(rows), max(room, _FEWEST * (int(groups.max()) + 1)))
    journal.message(
        f"The time budget has room for a head fitted to {count:,} of {len(rows):,} training pictures, and for no fine-tuning."
    )
    return stratified(rows, groups, count, seed)


def stratified(rows: NDArray[np.int64], groups: NDArray[np.int64], count: int, seed: int) -> NDArray[np.int64]:
    """Returns int64 [count], sorted: so many of the rows, of each group its share.

    Args:
        rows: int64 [n].
        groups: int64 [n], what each is of.
        count: at most n.
        seed: of the choice within a group.
    """
    by_group = rows[np.lexsort((np.random.default_rng(seed).random(len(rows)), groups))]
    return np.sort(by_group[np.arange(count) * len(rows) // count])
