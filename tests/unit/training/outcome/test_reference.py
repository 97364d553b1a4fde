"""The reference is of the served file, on pictures that nothing was fitted to."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from builders import SIDE, colour_network
from eyasd.core.bundle import MODEL
from eyasd.core.findings import DatasetReport
from eyasd.core.reference import Signal, pixel_values
from eyasd.core.unknown import DistributionRule, UnknownRules
from eyasd.training.data.audit import Audit
from eyasd.training.data.listing import TEST, TRAIN, VALIDATION
from eyasd.training.journal import EVALUATION_SHARES, Journal
from eyasd.training.outcome.evaluate import predict
from eyasd.training.outcome.reference import measure_reference
from eyasd.training.outcome.session import open_session

RULES = UnknownRules(DistributionRule("largest value", 250.0, 0.99))


@pytest.mark.parametrize(
    ("test", "validation", "pictures", "split"),
    [(250, 40, 250, "test"), (60, 40, 100, "test and validation"), (60, 500, 227, "test and validation"), (4100, 1, 1367, "test")],
)
def test_what_is_looked_at(tmp_path: Path, test: int, validation: int, pictures: int, split: str) -> None:
    count = test + validation + 10
    random = np.random.default_rng(0)
    images = random.integers(0, 240, (count, SIDE, SIDE, 3), np.uint8)
    images[::50, 0, 0] = 255
    rows = np.arange(count)
    places = {TEST: rows[:test], VALIDATION: rows[test : test + validation], TRAIN: rows[test + validation :]}
    data = Audit(("blue", "green", "red"), places, rows % 3, rows, np.zeros(count, np.bool_), DatasetReport((), (), (), ""))
    path = tmp_path / MODEL
    path.write_bytes(colour_network(ood_score=True))
    tested = predict(open_session(path), [images[places[TEST]]])
    journal = Journal(tmp_path / "progress.jsonl", EVALUATION_SHARES)
    shorter_px = np.where(rows < test, 300.0, 500.0)

    reference = measure_reference(path, tested, images, data, shorter_px, RULES, journal)

    assert (reference.pictures, reference.split) == (pictures, split)
    assert set(reference.numbers) == set(Signal) - {Signal.LABEL}
    assert all(sum(histogram.counts) == pictures for histogram in reference.numbers.values())
    assert sum(reference.labels.values()) == pictures
    # The pictures with a white spot, as far as they were among those looked at.
    assert reference.unknown == pytest.approx(pictures / 50, abs=3)
    size = reference.numbers[Signal.SIZE]
    assert (size.low, size.high) == (300.0, 300.0 if split == TEST else 500.0)
    brightness = [pixel_values(image)[Signal.BRIGHTNESS] for image in images]
    assert min(brightness) <= reference.numbers[Signal.BRIGHTNESS].low <= np.mean(brightness)
