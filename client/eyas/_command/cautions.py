"""What a person should know before they believe an evaluation's figures; for the `eyas` command."""

from __future__ import annotations

from rich.text import Text

from eyas._evaluation import Evaluation


def cautions(scored: Evaluation) -> list[Text]:
    """Returns a sentence each; none where there is nothing to say."""
    found = []
    if scored.leaked_examples:
        found.append(_leak(scored))
    if scored.missing_examples:
        is_are = "picture of the split is" if scored.missing_examples == 1 else "pictures of the split are"
        found.append(f"{scored.missing_examples:,} {is_are} not in the dataset any more, and so not scored.")
    if scored.test_split_looks > 1:
        found.append(
            f"These pictures have been looked at {scored.test_split_looks:,} times; the more often a choice was made by them, "
            "the less their figures mean."
        )
    return [Text(sentence, style="yellow") for sentence in found]


def _leak(scored: Evaluation) -> str:
    """Returns what pictures that were trained on, or their copies, do to the accuracy."""
    one = scored.leaked_examples == 1
    seen = "was seen in training, itself or as a near copy" if one else "were seen in training, themselves or as near copies"
    text = f"{scored.leaked_examples:,} of them {seen}"
    if scored.accuracy_without_leaked is not None:
        text += f"; accuracy on the others {scored.accuracy_without_leaked:.4f}"
    return f"{text}."
