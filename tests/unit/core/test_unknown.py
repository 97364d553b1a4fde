"""When a picture is unknown, rule by rule."""

from __future__ import annotations

import pytest

from eyasd.core import document
from eyasd.core.unknown import NEVER, ConfidenceRule, DistributionRule, Unknown, UnknownReason, UnknownRules

FAR = DistributionRule("method", threshold=3.0, known_share=0.99, refused=0.02)
SURE = ConfidenceRule(min_precision=0.98, thresholds=(0.9, 0.6, NEVER))
OUT, LOW = UnknownReason.OUT_OF_DISTRIBUTION, UnknownReason.LOW_CONFIDENCE


@pytest.mark.parametrize(
    ("label", "probability", "score", "said"),
    [
        (0, 0.95, 2.9, None),
        (0, 0.9, 3.0, None),  # at a threshold a picture is known
        (0, 0.89, 2.9, Unknown(LOW, 0.89, 0.9, 0.98)),
        (1, 0.89, 2.9, None),
        (2, 1.0, 2.9, Unknown(LOW, 1.0, NEVER, 0.98)),
        (0, 0.95, 3.1, Unknown(OUT, 3.1, 3.0, 0.99)),
        (0, 0.1, 3.1, Unknown(OUT, 3.1, 3.0, 0.99)),  # of two reasons the first
    ],
)
def test_both_rules(label: int, probability: float, score: float, said: Unknown | None) -> None:
    assert UnknownRules(FAR, SURE).verdict(label, probability, score) == said


def test_one_rule_alone() -> None:
    assert UnknownRules(FAR).verdict(2, 0.1, 1.0) is None
    assert UnknownRules(confidence=SURE).verdict(0, 0.95, None) is None
    assert UnknownRules(confidence=SURE).verdict(0, 0.5, 99.0) == Unknown(LOW, 0.5, 0.9, 0.98)


def test_a_score_that_is_no_number_is_unknown() -> None:
    found = UnknownRules(FAR).verdict(0, 1.0, float("nan"))
    assert found is not None
    assert found.reason is OUT


@pytest.mark.parametrize("rules", [UnknownRules(FAR, SURE), UnknownRules(FAR), UnknownRules(confidence=SURE)])
def test_the_manifest_keeps_them(rules: UnknownRules) -> None:
    assert document.load(UnknownRules, document.dump(rules)) == rules
