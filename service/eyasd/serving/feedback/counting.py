"""From judged answers to counters, whose sums over all servers give accuracy, recall, precision and calibration.

    accuracy     right / (right + wrong) of eyas_feedback_total
    recall       right / (right + wrong) of eyas_feedback_labels_total, by true label
    precision    right / (right + wrong) of eyas_feedback_predictions_total, by predicted label
    calibration  sum over bins of |right - confidence| / images: the expected calibration error (Naeini et al., 2015), 10 bins

Each is a quotient of sums, so `increase` in PromQL makes it right over any servers and any time. A multi-label answer is right if
all of its labels are, as in an evaluation; recall and precision are of each of its labels; its calibration is that of its most
probable label. It has no confusions.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from eyasd.serving.feedback.judged import Judged
from eyasd.serving.feedback.reports import Outcome, Vocabulary
from eyasd.telemetry.instruments import Counter
from eyasd.telemetry.metrics import Metrics
from eyasd.telemetry.names import MOST_CLASSES, MOST_PAIRS, OTHER, admit

BINS: Final = 10
# With 100 labels each has some 500 series at the most.
_MOST_VERSIONS: Final = 50

_Version = tuple[str, str]


class Counting:
    """The counters of the versions that were reported of last; those of others are dropped, and begin anew if need be."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        # Of each the pairs of labels that were confused.
        self._versions: OrderedDict[_Version, set[tuple[str, str]]] = OrderedDict()

    def note(self, outcome: Outcome, model: str, version: int) -> None:
        """Counts what became of a report; of an id that is not to be trusted, the model is ""."""
        of = (model, str(version)) if model else (OTHER, OTHER)
        if outcome in (Outcome.RIGHT, Outcome.WRONG):
            self._judge(of, self._metrics.feedback, right=outcome is Outcome.RIGHT)
        else:
            self._add(of, self._metrics.feedback, outcome)

    def count(self, judged: Judged, vocabulary: Vocabulary) -> None:
        """Counts an answer that was not judged before."""
        stamp, metrics = judged.stamp, self._metrics
        of = (stamp.model, str(stamp.version))
        said = vocabulary.named(stamp.applied)
        for label in judged.labels:
            self._judge(of, metrics.feedback_labels, _shown(label, vocabulary), right=label in said)
        for label in said:
            self._judge(of, metrics.feedback_predictions, _shown(label, vocabulary), right=label in judged.labels)
        if not judged.right and not stamp.multi_label:
            pair = self._confusion(of, (_shown(said[0], vocabulary), _shown(judged.labels[0], vocabulary)))
            self._add(of, metrics.feedback_confusions, *pair)
        confidence = min(max(stamp.confidence, 0.0), 1.0)
        low = f"{min(int(confidence * BINS), BINS - 1) / BINS:.1f}"
        self._add(of, metrics.feedback_calibration_images, low)
        self._add(of, metrics.feedback_calibration_right, low, by=vocabulary.labels[stamp.class_index] in judged.labels)
        self._add(of, metrics.feedback_calibration_confidence, low, by=confidence)

    def _confusion(self, of: _Version, pair: tuple[str, str]) -> tuple[str, str]:
        """Returns a pair of labels that may be a series: itself, or `other` where the version has enough of them."""
        return pair if admit(self._confusions(of), pair, MOST_PAIRS) else (OTHER, OTHER)

    def _judge(self, of: _Version, counter: Counter, *labels: str, right: bool) -> None:
        """Counts in both series, one of them nothing: a share of what never went wrong is to be 1, not unknown."""
        self._add(of, counter, *labels, "right", by=right)
        self._add(of, counter, *labels, "wrong", by=not right)

    def _add(self, of: _Version, counter: Counter, *labels: str, by: float = 1) -> None:
        self._confusions(of)
        counter.labels(*of, *labels).inc(by)

    def _confusions(self, of: _Version) -> set[tuple[str, str]]:
        found = self._versions.setdefault(of, set())
        self._versions.move_to_end(of)
        if len(self._versions) > _MOST_VERSIONS:
            (model, version), _ = self._versions.popitem(last=False)
            for counter in self._metrics.of_feedback:
                counter.forget({"model": model, "version": version})
        return found


def _shown(label: str, vocabulary: Vocabulary) -> str:
    """Returns a label that may be a series: one of the first of its version, which are the same at every server, or `other`."""
    return label if vocabulary.indices[label] < MOST_CLASSES else OTHER
