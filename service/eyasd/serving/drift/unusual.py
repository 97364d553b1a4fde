"""How unusual one picture is, as far as the event loop has time to ask."""

from __future__ import annotations

from eyasd.core.reference import Signal
from eyasd.serving.seen import Seen


def unusual(seen: Seen) -> float:
    """Returns how little a picture is like those that its version was tested on: 0 for 99 in 100 of those, towards 1 the less.

    Takes less than 1 us; `Reference.unusual` takes what `pixel_values` says, too, which takes over a hundred. 0 where the version
    does not compute the score, or was trained by an Eyas that kept no reference.
    """
    reference, score = seen.loaded.manifest.reference, seen.said.ood_score
    return 0.0 if reference is None or score is None else reference.unusual({Signal.OOD_SCORE: score})
