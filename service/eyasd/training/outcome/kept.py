"""What a version keeps of the pictures it was made with, so that they can be found again and its answers compared. numpy alone."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from eyasd.core.answers import Fingerprints, KeptAnswers
from eyasd.training.data.captured import CAPTURED
from eyasd.training.data.listing import TEST, TRAIN, VALIDATION
from eyasd.training.outcome.figures import Answers


def keep(answers: Answers, rows: Mapping[str, NDArray[np.int64]], prints: Fingerprints, seen: Fingerprints) -> KeptAnswers:
    """Returns the content of answers.npz.

    Args:
        answers: on the test split.
        rows: by split, int64 [n], which of the listed files it holds.
        prints: int64 [N], of each listed file.
        seen: int64 [n], all pictures that had a part in making the version, those of versions before it too.
    """
    train, validation = prints[rows[TRAIN]], prints[rows[VALIDATION]]
    return KeptAnswers(
        picture=prints[rows[TEST]],
        predicted=answers.probabilities.argmax(1).astype(np.int32),
        right=answers.right,
        log_loss=answers.log_losses.astype(np.float32),
        train=train,
        validation=validation,
        inherited=np.setdiff1d(seen, np.concatenate([train, validation])),
        captured=prints[rows[CAPTURED]] if CAPTURED in rows else np.empty(0, np.int64),
    )
