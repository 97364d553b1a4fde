"""Asks a new version and its base about the captured pictures that were held out, and judges the two; see `core.gate`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from eyasd.core.answers import ANSWERS, KeptAnswers
from eyasd.core.bundle import MODEL
from eyasd.core.comparison import Pairs, common
from eyasd.core.gate import FEWEST, Gate, judge_regression
from eyasd.core.jobdir import BASE
from eyasd.training.data.captured import CAPTURED
from eyasd.training.data.listing import TRAIN, VALIDATION, File
from eyasd.training.head.start import Start
from eyasd.training.head.warm import Base
from eyasd.training.journal import Journal
from eyasd.training.outcome.evaluate import predict
from eyasd.training.outcome.session import open_session
from eyasd.training.scoring.asking import BATCH, Version, ask

_NONE = np.empty(0, np.bool_)


def pass_gate(
    start: Start,
    base: Base,
    files: Sequence[File],
    bundle: Path,
    thresholds: tuple[float, ...] | None,
    folder: Path,
    journal: Journal,
) -> Gate:
    """Returns the verdict on a new version, and tells of it.

    Args:
        start: what it was trained from.
        base: the version that it started from, whose network lies in JOB_DIR/base.
        files: of the dataset, and the captured ones.
        bundle: of the new version, with its network and what it said of its test split.
        thresholds: of a multi-label model, from which probability on each label applies.
        folder: JOB_DIR.
        journal: hears of the verdict.
    """
    if base.answers is None:
        raise ValueError("the base's answers were not laid out")
    data, rows = start.data, start.data.rows[CAPTURED]
    # Those that were kept for what the base said of them are hard for it by choice, and less so for any other version.
    drawn = np.array([files[row].by_chance for row in rows], np.bool_)
    fair = int(drawn.sum()) >= FEWEST
    rows = rows[drawn] if fair else rows
    captured = Pairs.of(_NONE, _NONE)
    if len(rows):
        held = [files[row] for row in rows]
        before = Version.opened(str(base.name), folder / BASE)
        # As the base sees them, which may be another form of the same pictures.
        said = ask([before], held, journal).probabilities[0]
        batches = [start.images[rows[first : first + BATCH]] for first in range(0, len(rows), BATCH)]
        answered = predict(open_session(bundle / MODEL), batches)[0]
        captured = Pairs.of(
            right_answers(said, before.manifest.labels, before.manifest.thresholds, held),
            right_answers(answered, data.labels, thresholds, held),
        )
    shown = np.zeros(len(files), np.bool_) if data.captured is None else data.captured
    added = int(shown[np.concatenate([data.rows[TRAIN], data.rows[VALIDATION]])].sum())
    kept = KeptAnswers.from_bytes((bundle / ANSWERS).read_bytes())
    gate = judge_regression(base.name, added, common(kept, base.answers), captured, by_chance=fair)
    verdict = "passed" if gate.passed else "not passed"
    findings = "; ".join(finding.sentence for finding in gate.findings)
    journal.message(f"Regression gate {verdict}: {findings}.")
    return gate


def right_answers(
    probabilities: NDArray[np.float32], labels: Sequence[str], thresholds: tuple[float, ...] | None, files: Sequence[File]
) -> NDArray[np.bool_]:
    """Returns bool [N], whether float32 [N, C] answers are the files' labels, which the version need not know."""
    if thresholds is None:
        best = probabilities.argmax(1).tolist()
        return np.array([(labels[place],) == file.labels for place, file in zip(best, files, strict=True)])
    applies = probabilities >= np.array(thresholds, np.float32)
    said = [tuple(sorted(labels[place] for place in np.flatnonzero(row).tolist())) for row in applies]
    return np.array([answer == file.labels for answer, file in zip(said, files, strict=True)])
