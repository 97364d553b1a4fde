"""Versions that tell the job which made them: what each says of a picture can be reckoned by whoever knows that job.

A version's network knows three colours; its gain, and which label is which output, follow from the job's name. So an answer under
the name of another version, of another picture, or of damaged weights is a wrong one, seen by its label or its probability.
"""

from __future__ import annotations

import hashlib
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np

from builders import COLOURS, write_bundle

Colour = tuple[int, int, int]
TOLERANCE = 1e-3  # of a probability, as golden pictures have it
_ORDERS = tuple(permutations(COLOURS))
_LEAST_GAIN, _MOST_GAIN = 0.002, 0.02  # that leave no colour certain


def traits(job: str) -> tuple[float, tuple[str, ...]]:
    """Returns the gain and the labels of the version that a job makes."""
    digest = hashlib.sha256(job.encode()).digest()
    share = int.from_bytes(digest[:4], "big") / 2**32
    return _LEAST_GAIN + share * (_MOST_GAIN - _LEAST_GAIN), _ORDERS[digest[4] % len(_ORDERS)]


def write(folder: Path, job: str, **more: Any) -> Path:
    """Writes the bundle of a job's version; `more` is of `write_bundle`."""
    gain, labels = traits(job)
    return write_bundle(folder, job=job, gain=gain, labels=labels, **more)


def said(job: str, colour: Colour) -> tuple[str, float]:
    """Returns the label, and its probability, that the version of a job gives a picture of one colour."""
    gain, labels = traits(job)
    logits = np.array(colour, np.float64)[::-1] * gain
    exponentials = np.exp(logits - logits.max())
    best = int(exponentials.argmax())
    return labels[best], float(exponentials[best] / exponentials.sum())
