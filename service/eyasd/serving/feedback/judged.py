"""What is known of an answer once somebody has said what would have been right."""

from __future__ import annotations

from typing import NamedTuple, Protocol


class Stamp(NamedTuple):
    """What a prediction id says of its answer.

    Attributes:
        nonce: 8 random bytes, of no other answer.
        time: when it was given, in whole seconds since 1970.
        model: that answered.
        version: likewise.
        class_index: of the most probable label.
        confidence: its calibrated probability, 0..1.
        applied: class indices of the labels that apply, ascending; of a multi-label version any number, else that one.
        multi_label: whether the version is multi-label.
        routed: whether the caller asked for production, and the traffic's rules chose the version.
        canary: whether they chose the canary.
    """

    nonce: bytes
    time: int
    model: str
    version: int
    class_index: int
    confidence: float
    applied: tuple[int, ...]
    multi_label: bool
    routed: bool
    canary: bool


class Judged(NamedTuple):
    """An answer, and what is true of its picture.

    Attributes:
        prediction_id: the answer's.
        stamp: what the id says.
        labels: those that are true, by class index; exactly one where the version is not multi-label.
        right: whether the answer has these labels, and no other.
        correction: whether another truth was reported of the answer before, which stays counted.
    """

    prediction_id: str
    stamp: Stamp
    labels: tuple[str, ...]
    right: bool
    correction: bool


class Listener(Protocol):
    """Is told of judged answers."""

    def judged(self, judged: Judged) -> None:
        """Takes note of one. Comes from the event loop of the calls, so it must return at once."""
