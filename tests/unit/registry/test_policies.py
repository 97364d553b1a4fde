"""What a policy demands, what is enough, and that an alias moves by it alone, or is said to have been forced."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from builders import evaluation, kept_answers, write_bundle
from eyasd.core.answers import KeptAnswers
from eyasd.core.bundle import Calibration
from eyasd.core.errors import AliasConflict, PolicyConflict, PromotionRefused
from eyasd.core.evaluation import Figure, LabelMetrics
from eyasd.core.promotion import Policy
from eyasd.core.variants import Precision, Variant
from eyasd.registry.models import Models
from eyasd.registry.policies import Policies
from eyasd.storage.local import LocalStore

ANN: dict[str, Any] = {"actor": "ann", "reason": "better"}


def policy(**demands: Any) -> Policy:
    return Policy(**{"aliases": ("production",), "at_least": {}, "at_most": {}, **demands})


@pytest.fixture
def publish(models: Models, tmp_path: Path) -> Callable[..., int]:
    """Publishes a version with these figures and F1 scores of labels, and returns its number."""

    def published(f1: dict[str, float] | None = None, **figures: float) -> int:
        rows = [LabelMetrics(label, 10, 0.9, 0.9, score) for label, score in (f1 or {}).items()]
        scored = replace(
            evaluation(),
            labels=tuple(rows) or evaluation().labels,
            figures=tuple(Figure(name, value, value, value) for name, value in figures.items()),
        )
        job = f"job{len(list(tmp_path.iterdir()))}"
        return models.publish("colours", write_bundle(tmp_path / job, job=job, evaluation=scored), job)

    return published


def test_without_a_policy_anything_goes(models: Models, publish: Callable[..., int]) -> None:
    record = models.promote("colours", "production", publish(), **ANN)
    assert (record.version, record.evidence, record.forced, record.reason) == (1, (), False, "better")


def test_what_a_policy_demands_is_kept_as_evidence(models: Models, publish: Callable[..., int]) -> None:
    models.policies.set("colours", policy(at_least={"roc_auc": 0.9}, at_most={"log_loss": 0.3}), actor="ann")
    record = models.promote("colours", "production", publish(roc_auc=0.95, log_loss=0.3), **ANN)
    assert record.evidence == ("roc_auc is 0.9500, at least 0.9 is demanded", "log_loss is 0.3000, at most 0.3 is demanded")
    assert not record.forced


def test_a_refusal_says_which_figures_refused(models: Models, publish: Callable[..., int]) -> None:
    demanded = policy(at_least={"roc_auc": 0.9, "accuracy": 0.8, "top_5_accuracy": 0.5}, at_most={"log_loss": 0.2})
    models.policies.set("colours", demanded, actor="ann")
    with pytest.raises(PromotionRefused) as caught:
        models.promote("colours", "production", publish(roc_auc=0.85, accuracy=0.9), **ANN)
    # The log loss is one of those that evaluations had before they had figures.
    assert caught.value.message.startswith(
        "colours@production stays where it is: of colours/1, roc_auc is 0.8500, at least 0.9 is demanded; "
        "top_5_accuracy is not known, at least 0.5 is demanded; log_loss is 0.3000, at most 0.2 is demanded."
    )
    assert models.aliases.get("colours", "production") is None


def test_force_moves_it_and_is_recorded(models: Models, publish: Callable[..., int]) -> None:
    models.policies.set("colours", policy(at_least={"accuracy": 0.99}), actor="ann")
    record = models.promote("colours", "production", publish(accuracy=0.9), force=True, **ANN)
    assert (record.version, record.forced, record.evidence) == (1, True, ("accuracy is 0.9000, at least 0.99 is demanded",))
    better = models.promote("colours", "production", publish(accuracy=0.995), force=True, **ANN)
    assert not better.forced  # nothing had to be forced
    assert models.aliases.history("colours", "production") == [record, better]


def test_a_policy_guards_its_own_aliases_alone(models: Models, publish: Callable[..., int]) -> None:
    models.policies.set("colours", policy(aliases=("stable", "production"), at_least={"accuracy": 0.99}), actor="ann")
    version = publish(accuracy=0.9)
    assert models.promote("colours", "canary", version, **ANN).evidence == ()
    for alias in ("stable", "production"):
        with pytest.raises(PromotionRefused):
            models.promote("colours", alias, version, **ANN)


def test_no_label_may_fall_far_behind_the_holder(models: Models, publish: Callable[..., int]) -> None:
    models.policies.set("colours", policy(max_label_drop=0.05), actor="ann")
    first = publish({"red": 0.9, "green": 0.8, "blue": 0.7})
    assert models.promote("colours", "production", first, **ANN).evidence == ()  # nothing was there to fall behind
    with pytest.raises(PromotionRefused, match="of colours/2, the F1 of 'blue' is 0.5000, by 0.2000 lower than before; "):
        models.promote("colours", "production", publish({"red": 0.99, "green": 0.76, "blue": 0.5}), **ANN)
    record = models.promote("colours", "production", publish({"red": 0.86, "green": 0.8, "violet": 0.1}), **ANN)
    assert record.evidence == ("the F1 of none of 2 labels is by more than 0.05 lower than before",)


def test_an_alias_that_points_there_already_is_not_judged_again(models: Models, publish: Callable[..., int]) -> None:
    version = publish(accuracy=0.9)
    record = models.promote("colours", "production", version, **ANN)
    models.policies.set("colours", policy(at_least={"accuracy": 0.99}), actor="ann")
    assert models.promote("colours", "production", version, **ANN) == record


def test_a_version_is_judged_beside_the_one_that_it_replaces(models: Models, publish: Callable[..., int]) -> None:
    for _ in range(3):
        publish({"red": 0.9})
    models.aliases.set("colours", "production", 1, **ANN)
    models.policies.set("colours", policy(max_label_drop=0.5), actor="ann")
    manifest = models.manifest

    def moved_meanwhile(model: str, version: int) -> Any:
        models.aliases.set("colours", "production", 2, **ANN)
        return manifest(model, version)

    models.manifest = moved_meanwhile  # type: ignore[assignment]
    with pytest.raises(AliasConflict, match="moved by somebody else"):
        models.promote("colours", "production", 3, **ANN)


def test_policies_have_a_history_of_their_own(models: Models) -> None:
    assert models.policies.get("colours") is None
    for number, bound in enumerate((0.5, 0.6), 1):
        record = models.policies.set("colours", policy(at_least={"accuracy": bound}), actor=f"actor {number}")
        assert (record.record, record.actor) == (number, f"actor {number}")
    assert models.policies.get("colours") == record


def test_of_two_who_set_a_policy_at_once_one_is_told(tmp_path: Path) -> None:
    class RacedStore(LocalStore):
        """A store in which somebody else always creates the record first."""

        def create(self, key: str, content: bytes) -> bool:
            super().create(key, content)
            return super().create(key, content)

    with pytest.raises(PolicyConflict, match="policy of colours was changed by somebody else"):
        Policies(RacedStore(tmp_path)).set("colours", policy(), actor="ann")


def test_a_variant_that_is_demanded_must_have_been_accepted(models: Models, tmp_path: Path) -> None:
    models.policies.set("colours", policy(required_variants=(Precision.INT8,)), actor="ann")
    made = [
        (),
        (Variant(precision=Precision.INT8, refusal="it agrees on 0.9"),),
        (Variant(precision=Precision.INT8, size_bytes=9),),
    ]
    for number, variants in enumerate(made):
        folder = tmp_path / f"b{number}"
        models.publish("colours", write_bundle(folder, job=folder.name, variants=variants), folder.name)
    with pytest.raises(PromotionRefused, match=r"has no int8 variant, one is demanded: train it with --variant int8"):
        models.promote("colours", "production", 1, **ANN)
    with pytest.raises(PromotionRefused, match=r"its int8 variant was refused \(it agrees on 0\.9\), one is demanded"):
        models.promote("colours", "production", 2, **ANN)
    assert models.promote("colours", "production", 3, **ANN).evidence == ("its int8 variant was accepted, one is demanded",)


def test_what_a_version_was_made_like_can_be_demanded(models: Models, tmp_path: Path) -> None:
    demanded = policy(at_most={"max_logit_difference": 1e-4}, at_least={"calibration_examples": 30})
    models.policies.set("colours", demanded, actor="ann")
    for number, examples in enumerate((None, 0, 35)):
        folder = tmp_path / f"b{number}"
        calibration = Calibration(1.5, 0.1, 0.05, examples)
        models.publish("colours", write_bundle(folder, job=folder.name, calibration=calibration), folder.name)
    with pytest.raises(PromotionRefused, match="calibration_examples is not known, at least 30 is demanded"):
        models.promote("colours", "production", 1, **ANN)
    with pytest.raises(PromotionRefused, match="of colours/2, calibration_examples is 0, at least 30 is demanded"):
        models.promote("colours", "production", 2, **ANN)
    assert models.promote("colours", "production", 3, **ANN).evidence == (
        "calibration_examples is 35, at least 30 is demanded",
        "max_logit_difference is 1e-06, at most 0.0001 is demanded",
    )


class TestLosses:
    """The holder, version 1, is right on 40 test pictures of 50; the candidate is tested on the same."""

    HOLDER = (True,) * 40 + (False,) * 10

    @pytest.fixture
    def candidate(self, models: Models, tmp_path: Path) -> Callable[[KeptAnswers | None], int]:
        """Publishes a version with these answers, and returns its number."""
        models.policies.set("colours", policy(no_significant_loss=True), actor="ann")

        def published(kept: KeptAnswers | None) -> int:
            job = f"job{len(list(tmp_path.iterdir()))}"
            return models.publish("colours", write_bundle(tmp_path / job, job=job, kept=kept), job)

        assert models.promote("colours", "production", published(kept_answers(self.HOLDER)), **ANN).evidence == ()
        return published

    def test_as_good_but_for_chance(self, models: Models, candidate: Callable[[KeptAnswers | None], int]) -> None:
        """Four losses and nothing won: p is 1/16."""
        version = candidate(kept_answers((False,) * 4 + self.HOLDER[4:]))
        (said,) = models.promote("colours", "production", version, **ANN).evidence
        assert said == (
            "of 50 test pictures it alone gets 0 right and the version before it alone 4: no significant loss "
            "(one-sided McNemar's test, p = 0.062)"
        )

    def test_worse(self, models: Models, candidate: Callable[[KeptAnswers | None], int]) -> None:
        version = candidate(kept_answers((False,) * 5 + self.HOLDER[5:]))
        with pytest.raises(PromotionRefused, match=r"alone 5: a significant loss \(one-sided McNemar's test, p = 0.031\)"):
            models.promote("colours", "production", version, **ANN)
        assert models.promote("colours", "production", version, force=True, **ANN).forced

    def test_pictures_that_one_was_made_with_do_not_count(
        self, models: Models, candidate: Callable[[KeptAnswers | None], int]
    ) -> None:
        """Of the five that it gets wrong it was trained on one."""
        version = candidate(kept_answers((False,) * 5 + self.HOLDER[5:], train=np.array([1])))
        assert models.promote("colours", "production", version, **ANN).evidence[0].startswith("of 49 test pictures it alone gets 0")

    def test_too_few_in_common(self, models: Models, candidate: Callable[[KeptAnswers | None], int]) -> None:
        version = candidate(kept_answers(self.HOLDER, first=22))
        with pytest.raises(PromotionRefused, match="it was tested on 29 of the pictures .* and 30 are needed"):
            models.promote("colours", "production", version, **ANN)
        assert models.promote("colours", "production", candidate(kept_answers(self.HOLDER, first=21)), **ANN)

    def test_without_answers_nothing_is_known(self, models: Models, candidate: Callable[[KeptAnswers | None], int]) -> None:
        plain = candidate(None)
        with pytest.raises(PromotionRefused, match="of colours/2, it was published without answers.npz, so whether it is a loss"):
            models.promote("colours", "production", plain, **ANN)
        models.promote("colours", "production", plain, force=True, **ANN)
        with pytest.raises(PromotionRefused, match="of colours/1, the version before it was published without answers.npz"):
            models.promote("colours", "production", 1, **ANN)

    def test_damaged_answers_are_told_of(
        self, models: Models, candidate: Callable[[KeptAnswers | None], int], tmp_path: Path
    ) -> None:
        version = candidate(kept_answers(self.HOLDER))
        (tmp_path / "models/colours/1/answers.npz").write_bytes(b"x")
        with pytest.raises(
            PromotionRefused, match=r"cannot be judged: answers\.npz of colours/1 was changed after it was published"
        ):
            models.promote("colours", "production", version, **ANN)
