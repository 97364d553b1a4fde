"""What a version must have before an alias may point to it: the policies of models, and the judgement by one.

    MODEL/policy/NUMBER.json        see `registry.records`

The figures are those of each version's own evaluation, on the test split that it was trained with; whether one is a loss is a
matter of the pictures that both were tested on.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from eyasd.core.answers import KeptAnswers
from eyasd.core.bundle import Manifest
from eyasd.core.errors import PolicyConflict
from eyasd.core.evaluation import Evaluation
from eyasd.core.promotion import MADE, Finding, Policy, PolicyRecord
from eyasd.registry.losses import of_losses
from eyasd.registry.records import Records
from eyasd.storage.store import Store


class Policies:
    """The policies of every model in a store."""

    def __init__(self, store: Store) -> None:
        self._records = Records(store, PolicyRecord)

    def get(self, model: str) -> PolicyRecord | None:
        """Returns the record in force, or None where the model never had a policy."""
        return self._records.newest(_prefix(model))

    def set(self, model: str, policy: Policy, *, actor: str) -> PolicyRecord:
        """Puts a policy in force.

        Raises:
            PolicyConflict: somebody else did so between our look and our write.
        """
        newest = self.get(model)
        record = PolicyRecord(newest.record + 1 if newest else 1, policy, datetime.now(UTC), actor)
        if not self._records.append(_prefix(model), record.record, record):
            raise PolicyConflict(
                f"The policy of {model} was changed by somebody else at the same moment: look at it, then set it again."
            )
        return record


def judge(
    policy: Policy,
    candidate: Manifest,
    holder: Manifest | None,
    answers: tuple[KeptAnswers | None, KeptAnswers | None] = (None, None),
    looks: int = 0,
) -> tuple[Finding, ...]:
    """Returns what a policy demands of a version, and what the version has.

    Args:
        policy: of the model.
        candidate: manifest of the version that an alias shall point to.
        holder: of the one that it points to; None where it does not exist yet.
        answers: what each of the two said of its test split; None where it did not note it.
        looks: how often the candidate's test split has been looked at, which refuses nothing but belongs to the evidence; 0 is not
            known.
    """
    scored, before = candidate.evaluation, holder.evaluation if holder else None
    losses = [of_losses(*answers)] if policy.no_significant_loss and holder else []
    findings = (*_of_figures(policy, candidate), *_of_labels(policy, scored, before), *_of_variants(policy, candidate), *losses)
    if not looks:
        return findings
    return (*findings, Finding(f"its test split has been looked at {looks} {'time' if looks == 1 else 'times'}", met=True))


def figure_of(manifest: Manifest, name: str) -> float | None:
    """Returns a figure by its name; None where the version has none of it."""
    if name == "max_logit_difference":
        return manifest.parity.max_logit_difference
    if name == "calibration_examples":
        return manifest.calibration.examples
    evaluation = manifest.evaluation
    found = next((figure.value for figure in evaluation.figures if figure.name == name), None)
    # Evaluations of before there were `figures` have some as fields of the same name.
    return found if found is not None else getattr(evaluation, name, None)


def _of_figures(policy: Policy, candidate: Manifest) -> Iterator[Finding]:
    for word, bounds in (("at least", policy.at_least), ("at most", policy.at_most)):
        for name, bound in bounds.items():
            value = figure_of(candidate, name)
            if value is None:
                yield Finding(f"{name} is not known, {word} {bound:g} is demanded", met=False)
            else:
                met = value >= bound if word == "at least" else value <= bound
                shown = f"{value:.2g}" if name in MADE else f"{value:.4f}"
                yield Finding(f"{name} is {shown}, {word} {bound:g} is demanded", met)


def _of_labels(policy: Policy, candidate: Evaluation, holder: Evaluation | None) -> Iterator[Finding]:
    if policy.max_label_drop is None or holder is None:
        return
    before = {row.label: row for row in holder.labels if row.examples}
    drops = [(before[row.label].f1 - row.f1, row) for row in candidate.labels if row.examples and row.label in before]
    most = policy.max_label_drop
    lost = [(drop, row) for drop, row in drops if drop > most]
    for drop, row in sorted(lost, key=lambda pair: -pair[0]):
        sentence = f"the F1 of {row.label!r} is {row.f1:.4f}, by {drop:.4f} lower than before; at most {most:g} is allowed"
        yield Finding(sentence, met=False)
    if not lost:
        yield Finding(f"the F1 of none of {len(drops)} labels is by more than {most:g} lower than before", met=True)


def _of_variants(policy: Policy, candidate: Manifest) -> Iterator[Finding]:
    made = {variant.precision: variant for variant in candidate.variants}
    for precision in policy.required_variants:
        variant = made.get(precision)
        if variant is None:
            yield Finding(f"it has no {precision} variant, one is demanded: train it with --variant {precision}", met=False)
        else:
            verdict = "was accepted" if variant.accepted else f"was refused ({variant.refusal})"
            yield Finding(f"its {precision} variant {verdict}, one is demanded", variant.accepted)


def _prefix(model: str) -> str:
    return f"{model}/policy"
