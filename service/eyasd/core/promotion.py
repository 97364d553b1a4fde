"""Where aliases point, and what a version must have before they do: the nouns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from eyasd.core.variants import Precision


@dataclass(frozen=True, slots=True)
class AliasRecord:
    """One entry of an alias's history.

    Attributes:
        record: number within the history, from 1.
        version: where the alias points from this record on.
        previous: where it pointed before; None in the first record.
        time: when, UTC.
        actor: who set it.
        reason: why, in the actor's words.
        undoes: number of the record that this one takes back; None where it is no rollback.
        evidence: what the model's policy demanded of the version and what it had, a sentence each; empty where none was asked.
        forced: whether it was moved although the policy refused.
    """

    record: int
    version: int
    previous: int | None
    time: datetime
    actor: str
    reason: str
    undoes: int | None = None
    evidence: tuple[str, ...] = ()
    forced: bool = False


# What policies may bound beside the figures of an evaluation: how far the ONNX file's logits are from the trained network's, and
# how many pictures the temperature was fitted to.
MADE: Final = ("max_logit_difference", "calibration_examples")


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What a version must have before some of its model's aliases may point to it.

    Attributes:
        aliases: those that it guards.
        at_least: the least value of figures, by the names of `eyas.v1.Figure` and of `MADE`.
        at_most: the largest value of figures.
        max_label_drop: how much lower the F1 of a label may be than that of the version the alias points to; None is anything.
        required_variants: precisions in which the version must be there, too.
        no_significant_loss: whether it must not be significantly less accurate than the version the alias points to, on the
            pictures that both were tested on.
    """

    aliases: tuple[str, ...]
    at_least: Mapping[str, float]
    at_most: Mapping[str, float]
    max_label_drop: float | None = None
    required_variants: tuple[Precision, ...] = ()
    no_significant_loss: bool = False


@dataclass(frozen=True, slots=True)
class PolicyRecord:
    """One entry of the history of a model's policy: the number, from 1, what was in force from then on, since when, and by whom."""

    record: int
    policy: Policy
    time: datetime
    actor: str


@dataclass(frozen=True, slots=True)
class Finding:
    """One demand of a policy, what a version has, as a sentence, and whether that is enough."""

    sentence: str
    met: bool
