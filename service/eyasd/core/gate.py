"""The regression gate: whether a version that was trained on captured pictures, too, is good enough to take its base's place.

Both are asked about pictures that neither was made with: the base's own test split, untouched, on which the new one must not be
significantly worse, and captured pictures that were held out, on which it must be significantly better. The latter is not asked for
to be strict: labels given at random are as easily guessed by the one as by the other, so a gain that chance explains shows nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from eyasd.core.comparison import Pairs
from eyasd.core.names import ModelRef
from eyasd.core.promotion import Finding
from eyasd.core.wording import counted

# A difference that had a chance of less than this, were both as accurate, counts.
SIGNIFICANCE: Final = 0.05
# On fewer pictures none but a loss of a sixth and more can be told from chance, so that not finding one would say nothing.
FEWEST: Final = 30


@dataclass(frozen=True, slots=True)
class Part:
    """How the two did on some pictures, and what that means; the base is the first of the pairs."""

    pairs: Pairs
    finding: Finding


@dataclass(frozen=True, slots=True)
class Gate:
    """The verdict, and what it rests on.

    Attributes:
        base: the version that the training started from.
        added: how many captured pictures had a part in the training.
        test: of the base's test split.
        captured: of the captured pictures that were held out.
    """

    base: ModelRef
    added: int
    test: Part
    captured: Part

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What is demanded, and what the new version has."""
        return self.test.finding, self.captured.finding

    @property
    def passed(self) -> bool:
        """Whether an alias may move from the base to the new version."""
        return all(finding.met for finding in self.findings)


def judge_regression(base: ModelRef, added: int, test: Pairs, captured: Pairs, *, by_chance: bool = False) -> Gate:
    """Returns the verdict.

    Args:
        base: the version that the training started from.
        added: how many captured pictures had a part in the training.
        test: on the base's test split, the base first.
        captured: on the captured pictures that were held out, the base first.
        by_chance: whether these were all captured by chance; else some were as the base was in doubt or wrong about them.
    """
    return Gate(base, added, Part(test, _of_test(base, test)), Part(captured, _of_captured(captured, by_chance=by_chance)))


def _of_test(base: ModelRef, pairs: Pairs) -> Finding:
    if pairs.count < FEWEST:
        return Finding(
            f"the test split of {base} has {counted(pairs.count, 'picture')} that neither was trained on, and {FEWEST} are needed "
            "to tell a loss from chance",
            met=False,
        )
    loss = pairs.p_worse < SIGNIFICANCE
    said = f"{'a' if loss else 'no'} significant loss (one-sided McNemar's test, p = {pairs.p_worse:.2g})"
    return Finding(f"{_figures('test picture', pairs)}: {said}", met=not loss)


def _of_captured(pairs: Pairs, *, by_chance: bool) -> Finding:
    if not pairs.count:
        return Finding("no captured picture could be held out, so whether anything was gained on them is not known", met=False)
    gain = pairs.p_better < SIGNIFICANCE
    said = f"{'a' if gain else 'no'} significant gain (p = {pairs.p_better:.2g})"
    if gain and not by_chance:
        said += f", part of which is that the base was in doubt or wrong about them: capture {FEWEST} more by chance to be sure"
    return Finding(f"{_figures('captured picture', pairs)} held out{', captured by chance' if by_chance else ''}: {said}", met=gain)


def _figures(noun: str, pairs: Pairs) -> str:
    (before, after), (low, high) = pairs.accuracies, pairs.interval
    return (
        f"accuracy {before:.4f} before and {after:.4f} after ({after - before:+.4f}, 95 % interval {low:+.4f} to {high:+.4f}) on "
        f"{counted(pairs.count, noun)}"
    )
