"""The score of how little a picture is like the training pictures: its arithmetic, its threshold, and the exported file."""

from __future__ import annotations

from dataclasses import replace
from math import log, sqrt
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import nn

from eyasd.core.bundle import INPUT, LOGITS, MODEL, OOD_SCORE
from eyasd.core.errors import ParityFailed
from eyasd.core.findings import DatasetReport
from eyasd.core.spec import Loss
from eyasd.training.data.audit import Audit
from eyasd.training.data.listing import TRAIN, VALIDATION
from eyasd.training.journal import Journal
from eyasd.training.network import Servable, to_pixels
from eyasd.training.outcome.export import check_signature, prove_parity, to_onnx
from eyasd.training.outcome.ood import OodScore, Sample, examples, fit, sample, threshold
from eyasd.training.outcome.session import open_session

from .test_activation import IMAGES, PX, network_of


def audit_of(targets: Any, validation: int, labels: int = 2) -> Audit:
    """Returns a dataset whose last pictures are for validation."""
    rows = np.arange(len(targets))
    splits = {TRAIN: rows[: len(rows) - validation], VALIDATION: rows[len(rows) - validation :]}
    none = np.zeros(len(targets), np.bool_)
    return Audit(tuple("abcdefgh"[:labels]), splits, np.asarray(targets), rows, none, DatasetReport((), (), (), ""))


def test_by_hand() -> None:
    score = OodScore(torch.tensor([[2.0, 0.0], [0.0, 3.0]]), energy=True)
    features, logits = torch.tensor([[5.0, 0.0], [1.0, 1.0]]), torch.tensor([[log(3.0), 0.0], [0.0, 0.0]])
    # The first points as a centre does, the second between both; of the logits e^z sums to 4 and 2.
    assert score.parts(features, logits).tolist() == [pytest.approx([0, -log(4)]), pytest.approx([1 - sqrt(0.5), -log(2)])]
    score.standardise(features, logits)
    # Of two values, both are one deviation from their mean.
    assert score(features, logits).tolist() == pytest.approx([-2, 2])
    assert (
        score.method
        == "cosine distance of the features to the nearest of 2 means of the training pictures, and energy of the logits"
    )


def test_without_the_energy_the_logits_do_not_count() -> None:
    score = OodScore(torch.eye(2), energy=False)
    features = torch.tensor([[3.0, 4.0]])
    assert score(features, torch.zeros(1, 2)).tolist() == score(features, torch.ones(1, 2)).tolist() == pytest.approx([0.2])
    assert "energy" not in score.method


def test_the_further_the_larger() -> None:
    score = OodScore(torch.eye(3)[:, :2], energy=True)
    angles = torch.linspace(0, torch.pi / 2, 20)  # from the first centre to where no centre is
    turning = torch.stack([angles.cos(), torch.zeros(20), angles.sin()], 1)
    assert (score(turning, torch.zeros(20, 2)).diff() > 0).all()
    doubting = torch.linspace(9, 0, 20)[:, None] * torch.tensor([[1.0, 0.0]])
    assert (score(turning[:1].expand(20, 3), doubting).diff() > 0).all()


def test_a_part_that_does_not_vary_makes_no_infinity() -> None:
    score = OodScore(torch.eye(2), energy=True)
    score.standardise(torch.tensor([[1.0, 0.0]]), torch.zeros(1, 2))
    assert score(torch.tensor([[1.0, 0.0], [0.0, 0.0]]), torch.zeros(2, 2)).tolist() == pytest.approx([0, 100])


@pytest.mark.parametrize(
    ("count", "place", "share"), [(1, 1, 0.5), (9, 9, 0.9), (98, 98, 98 / 99), (99, 99, 0.99), (399, 396, 0.99)]
)
def test_the_threshold_is_a_score_of_a_known_picture(count: int, place: int, share: float) -> None:
    scores = np.random.default_rng(0).permutation(np.arange(1, count + 1)).astype(np.float32)
    assert threshold(scores) == (place, pytest.approx(share))


def test_a_sample_has_some_of_each_label() -> None:
    targets = np.array([0] * 900 + [1] * 3 + [2] * 300 + [0] * 500)
    data = audit_of(targets, 500, 3)
    rows = np.random.default_rng(0).permutation(len(targets))
    found = sample(data, data.rows[TRAIN], rows, rows[:, None].astype(np.float32), 0)
    assert np.bincount(targets[found.train]).tolist() == [133, 3, 133]
    assert len(set(found.validation)) == len(found.validation) == 400
    assert found.validation.min() >= 1203
    assert found.features[:, 0].tolist() == found.rows.tolist()
    assert len(found.rows) <= examples(data)
    again = sample(data, data.rows[TRAIN], rows, rows[:, None].astype(np.float32), 0)
    assert again.rows.tolist() == found.rows.tolist()


def test_many_labels_have_a_few_each() -> None:
    data = audit_of(np.repeat(np.arange(200), 8), 100, 8)
    data = replace(data, labels=tuple(map(str, range(200))))
    found = sample(data, data.rows[TRAIN], np.arange(1600), np.zeros((1600, 1), np.float32), 0)
    assert np.bincount(data.targets[found.train].astype(int)).tolist()[:180] == [5] * 180
    assert len(found.rows) <= examples(data)


def test_what_was_not_trained_on_is_beyond_the_threshold() -> None:
    random = np.random.default_rng(0)
    targets = np.arange(300) % 2
    features = (np.eye(4)[targets] + random.normal(0, 0.05, (300, 4))).astype(np.float32)
    data = audit_of(targets, 100)
    head = nn.Linear(4, 2, bias=False)
    nn.init.eye_(head.weight).data.mul_(4)  # the logits lie along the first two axes
    seen = sample(data, data.rows[TRAIN], np.arange(300), features, 0)
    score, rule = fit(seen, data, head, 1.0)
    assert (rule.method, rule.known_share, rule.refused) == (score.method, 0.99, None)
    with torch.inference_mode():
        foreign = torch.tensor([[0.0, 0.0, 1.0, 0.0], [1.0, 1.0, 0.0, 0.0], [0.1, 0.0, 0.0, 1.0]])
        assert (score(foreign, head(foreign)) > rule.threshold).all()
        known = torch.tensor([[1.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0]])
        assert (score(known, head(known)) < rule.threshold).all()


def test_several_labels_have_a_centre_each_and_none_too() -> None:
    flags = np.array([[1, 0], [0, 1], [0, 0]] * 20, np.float32)
    features = np.eye(3, dtype=np.float32)[np.arange(60) % 3]
    data = audit_of(flags, 6)
    score, _ = fit(sample(data, data.rows[TRAIN], np.arange(60), features, 0), data, nn.Linear(3, 2), 1.0)
    assert score.centres.shape == (3, 3)
    assert len(score.location) == 1
    with torch.inference_mode():
        assert score.parts(torch.eye(3), torch.zeros(3, 2)).flatten().tolist() == pytest.approx([0, 0, 0])


def test_features_are_computed_again_only_where_the_network_has_changed(journal: Journal) -> None:
    network = network_of("test_resnet").eval()
    rows = np.arange(5)
    with torch.inference_mode():
        before = network.body(to_pixels(torch.from_numpy(IMAGES))).numpy()
    kept = Sample(rows[:3], rows[3:], before + np.float32(1e-6))
    assert kept.seen_by(network, IMAGES, journal) is kept
    with torch.no_grad():
        for parameter in network.body.parameters():
            parameter.mul_(1.05)
    after = kept.seen_by(network, IMAGES, journal)
    with torch.inference_mode():
        assert np.allclose(after.features, network.body(to_pixels(torch.from_numpy(IMAGES))).numpy(), atol=1e-5)
    assert not np.allclose(after.features, before, rtol=1e-3)


@pytest.mark.parametrize("maps", [None, (512, 2, 2)])
def test_the_file_says_what_the_network_says(maps: tuple[int, int, int] | None, tmp_path: Path) -> None:
    network = network_of("resnet18").eval()
    score = OodScore(torch.rand(512, 3, generator=torch.Generator().manual_seed(0)), energy=True)
    servable = Servable(network, Loss.CROSS_ENTROPY, 1.5, maps, score).eval()
    assert servable.outputs[OOD_SCORE] == ()
    to_onnx(servable, torch.zeros(1, PX, PX, 3, dtype=torch.uint8), tmp_path / MODEL, list(servable.outputs), {})
    check_signature(tmp_path / MODEL, PX, servable.outputs)
    # Nothing is computed from the batch size: a GPU would leave that to the CPU.
    assert not {node.op_type for node in onnx.load(tmp_path / MODEL).graph.node} & {"Shape", "Gather", "Range", "Expand"}
    parity = prove_parity(servable, tmp_path / MODEL, IMAGES)
    assert parity.max_score_difference is not None
    assert 0 <= parity.max_score_difference < 1e-3
    logits, scores = open_session(tmp_path / MODEL).run([LOGITS, OOD_SCORE], {INPUT: IMAGES})
    with torch.inference_mode():
        features = network.body(to_pixels(torch.from_numpy(IMAGES))).numpy()
    units = features / np.linalg.norm(features, axis=1, keepdims=True)
    centres = score.centres.numpy()
    expected = 1 - (units @ centres).max(1) - np.log(np.exp(logits).sum(1))
    assert scores.shape == (5,)
    assert np.allclose(scores, expected, atol=1e-4)

    score.location[0] += 0.1
    with pytest.raises(ParityFailed, match="by 0.1 on a score, 0.01 is allowed"):
        prove_parity(servable, tmp_path / MODEL, IMAGES)
