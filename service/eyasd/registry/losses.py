"""Whether a version has lost to another one on the pictures that both were tested on.

Each answer was judged by the label that the picture had when its version was trained; nothing is run again.
"""

from __future__ import annotations

from eyasd.core.answers import ANSWERS, KeptAnswers
from eyasd.core.comparison import common
from eyasd.core.gate import FEWEST, SIGNIFICANCE
from eyasd.core.promotion import Finding


def of_losses(candidate: KeptAnswers | None, holder: KeptAnswers | None) -> Finding:
    """Returns whether the candidate's answers are significantly worse than those of the version it would replace.

    Args:
        candidate: what it said of its test split; None where it did not note it.
        holder: likewise.
    """
    if candidate is None or holder is None:
        side = "it" if candidate is None else "the version before it"
        return Finding(
            f"{side} was published without {ANSWERS}, so whether it is a loss is not known: train that version again, or compare "
            "the two with eyas compare",
            met=False,
        )
    pairs = common(candidate, holder)
    count = pairs.count
    if count < FEWEST:
        return Finding(
            f"it was tested on {count} of the pictures that the version before it was tested on, and {FEWEST} are needed to tell "
            "a loss from chance: train both on a dataset with a test split of its own, or compare them with eyas compare",
            met=False,
        )
    loss = pairs.p_worse < SIGNIFICANCE
    return Finding(
        f"of {count} test pictures it alone gets {pairs.second} right and the version before it alone {pairs.first}: "
        f"{'a' if loss else 'no'} significant loss (one-sided McNemar's test, p = {pairs.p_worse:.2g})",
        met=not loss,
    )
