"""The headline figures of an evaluation, each with its 95 % interval. numpy alone.

Every figure is a function of how often each picture counts: once for its value, and as often as it was drawn for each resample of
the bootstrap. So the interval is of that very figure, and one pass over the pictures serves all resamples of a figure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

import numpy as np
from numpy.typing import NDArray

from eyasd.core.comparison import Difference
from eyasd.core.evaluation import Figure
from eyasd.training.outcome.reliability import Floats, gaps

RESAMPLES: Final = 1000
_FEWEST_RESAMPLES: Final = 100
# Of pictures x labels x resamples, for figures that need the order of all probabilities: some 10 s on one core.
_MOST_WORK: Final = 200_000_000
_CHUNK: Final = 50  # resamples at a time
_TOP: Final = 5
_LOW, _HIGH = 0.025, 0.975

# float64 [R, N], how often each picture counts -> float64 [R, K], a column a figure
Statistic = Callable[[Floats], Floats]


@dataclass(frozen=True, slots=True)
class Answers:
    """What a model said of labelled pictures.

    Attributes:
        probabilities: float32 [N, C].
        applies: bool [N, C], the labels that it gives each picture; of a single-label model the most probable one.
        true: bool [N, C], those that each bears.
        log_losses: float64 [N], the negative log-likelihood of each picture's labels, in nats.
        confidences: float32 [N] or [N, C], and
        held: bool, of the same shape; see `reliability.calibration_error`.
        multi_label: whether a picture has any number of labels.
    """

    probabilities: NDArray[np.float32]
    applies: NDArray[np.bool_]
    true: NDArray[np.bool_]
    log_losses: Floats
    confidences: NDArray[np.float32]
    held: NDArray[np.bool_]
    multi_label: bool

    @property
    def right(self) -> NDArray[np.bool_]:
        """Bool [N], whether all that was said of a picture is so."""
        found: NDArray[np.bool_] = (self.applies == self.true).all(1)
        return found


def headline(answers: Answers, seed: int = 0) -> tuple[Figure, ...]:
    """Returns the figures of an evaluation, with intervals of the bias-corrected bootstrap (Efron, 1981) over its pictures.

    It is corrected because some figures are not centred on their value: the calibration error of a resample is larger than that of
    the pictures it was drawn from.

    Args:
        answers: of at least one picture.
        seed: of the resamples.
    """
    count, labels = answers.probabilities.shape
    names, statistic = _of_counts(answers)
    found = _with_intervals(names, statistic, count, RESAMPLES, seed)
    resamples = int(np.clip(_MOST_WORK // (count * labels), _FEWEST_RESAMPLES, RESAMPLES))
    return (*found, *_with_intervals(("roc_auc", "average_precision"), _of_order(answers), count, resamples, seed))


def differences(first: Answers, second: Answers, names: Sequence[str], seed: int = 0) -> tuple[Difference, ...]:
    """Returns some figures of two models on the same pictures, and the intervals of the second's less the first's.

    Every resample has the same pictures for both, so that what is hard for both does not widen the interval.

    Args:
        first: of at least one picture.
        second: of the same pictures in the same order.
        names: of figures that sums over the pictures decide.
        seed: of the resamples.
    """
    sides = [_of_counts(answers) for answers in (first, second)]
    columns = [[known.index(name) for name in names] for known, _ in sides]

    def of_each(weights: Floats) -> tuple[Floats, Floats]:
        before, after = (statistic(weights)[:, chosen] for (_, statistic), chosen in zip(sides, columns, strict=True))
        return before, after

    def gained(weights: Floats) -> Floats:
        before, after = of_each(weights)
        return after - before

    count = len(first.true)
    values = np.concatenate(of_each(np.ones((1, count))))
    found = _with_intervals(tuple(names), gained, count, RESAMPLES, seed)
    return tuple(
        Difference(row.name, float(before), float(after), row.low, row.high)
        for row, (before, after) in zip(found, values.T, strict=True)
    )


def label_ratios(
    right: NDArray[np.int64] | Floats, examples: NDArray[np.int64] | Floats, predicted: NDArray[np.int64] | Floats
) -> Floats:
    """Returns float64 [3, ...], precision, recall and F1, from three counts [...] of pictures.

    A ratio without a denominator is 0, as in scikit-learn.
    """
    denominators = (predicted, examples, (examples + predicted) / 2)
    return np.stack([right / np.where(counts > 0, counts, 1) for counts in denominators])


def mean_average_precision(answers: Answers) -> float:
    """Returns the unweighted mean over the labels that have an example; 0 where none has.

    The figure `average_precision` leaves out what every picture bears, where there is nothing to find.
    """
    once = np.ones((1, len(answers.true)))
    orders = (_Order.of(answers.probabilities[:, i], answers.true[:, i]) for i in np.flatnonzero(answers.true.any(0)))
    return float(np.mean([order.areas(once)[0, 1] for order in orders] or [0]))


def _with_intervals(names: tuple[str, ...], statistic: Statistic, count: int, resamples: int, seed: int) -> tuple[Figure, ...]:
    values = statistic(np.ones((1, count)))[0]
    drawn = np.concatenate([statistic(weights) for weights in _resamples(count, resamples, seed)])
    return tuple(
        Figure(name, float(value), *_interval(float(value), column))
        for name, value, column in zip(names, values, drawn.T, strict=True)
        if np.isfinite(value)
    )


def _resamples(count: int, resamples: int, seed: int) -> Iterator[Floats]:
    """Yields float64 [R, N], how often each picture was drawn in each of some resamples."""
    random = np.random.default_rng(seed)
    for start in range(0, resamples, _CHUNK):
        rows = range(min(_CHUNK, resamples - start))
        yield np.stack([np.bincount(random.integers(count, size=count), minlength=count) for _ in rows]).astype(np.float64)


def _interval(value: float, drawn: Floats) -> tuple[float, float]:
    """Returns the ends of the interval; resamples in which a figure is not defined do not count."""
    drawn = drawn[np.isfinite(drawn)]
    if not len(drawn):
        return value, value
    # The middle of those equal to the value, of which there are many where pictures are few.
    below = ((drawn < value).mean() + (drawn <= value).mean()) / 2
    normal, half = NormalDist(), 0.5 / len(drawn)
    shift = normal.inv_cdf(float(np.clip(below, half, 1 - half)))
    ends = [normal.cdf(2 * shift + normal.inv_cdf(share)) for share in (_LOW, _HIGH)]
    low, high = np.quantile(drawn, ends)
    return min(float(low), value), max(float(high), value)


def _of_counts(answers: Answers) -> tuple[tuple[str, ...], Statistic]:
    """Returns the figures that sums over the pictures decide, and their names."""
    true, applies = answers.true, answers.applies
    per_picture: Mapping[str, Floats] = {
        "accuracy": (applies == true).all(1).astype(np.float64),
        **({} if answers.multi_label or true.shape[1] <= _TOP else {"top_5_accuracy": _within_top(answers)}),
        "log_loss": answers.log_losses,
    }
    sums = np.stack(list(per_picture.values()), 1)
    hits, borne, given = (np.nonzero(flags) for flags in (applies & true, true, applies))
    missed = gaps(answers.confidences, answers.held)
    names = [*per_picture, "calibration_error", *([] if answers.multi_label else ["balanced_accuracy"])]
    names += [f"{mean}_{name}" for mean in ("macro", "micro", "weighted") for name in ("precision", "recall", "f1")]

    def statistic(weights: Floats) -> Floats:
        total = weights.sum(1, keepdims=True)
        right, examples, predicted = (_by_label(weights, places, true.shape[1]) for places in (hits, borne, given))
        ratios = label_ratios(right, examples, predicted)
        present = examples > 0  # means are over the labels that have an example
        macro = [np.where(present, ratio, 0).sum(1) / np.maximum(present.sum(1), 1) for ratio in ratios]
        weighted = [(ratio * examples).sum(1) / np.maximum(examples.sum(1), 1) for ratio in ratios]
        hit, bore, gave = right.sum(1), examples.sum(1), predicted.sum(1)
        micro = label_ratios(hit, bore, gave)
        error = np.abs(weights @ missed).sum(1) * len(missed) / (total[:, 0] * answers.confidences.size)
        balanced = [] if answers.multi_label else [macro[1]]
        return np.column_stack([weights @ sums / total, error, *balanced, *macro, *micro, *weighted])

    return tuple(names), statistic


def _by_label(weights: Floats, places: tuple[NDArray[np.int64], ...], labels: int) -> Floats:
    """Returns float64 [R, C], how much each label has of the weights, float64 [R, N], of the places (picture, label)."""
    pictures, own = places
    return np.stack([np.bincount(own, row[pictures], labels) for row in weights])


def _within_top(answers: Answers) -> Floats:
    """Returns float64 [N], whether fewer than five labels are more probable than the true one."""
    own = (answers.probabilities * answers.true).sum(1, keepdims=True)
    within: Floats = ((answers.probabilities > own).sum(1) < _TOP).astype(np.float64)
    return within


def _of_order(answers: Answers) -> Statistic:
    """Returns the area under the ROC curve and the average precision, means over the labels that some bear and some do not."""
    true = answers.true
    judged = np.flatnonzero(true.any(0) & ~true.all(0))

    def statistic(weights: Floats) -> Floats:
        if not len(judged):
            return np.full((len(weights), 2), np.nan)
        # The orders of all labels together would take much more memory than the probabilities.
        orders = (_Order.of(answers.probabilities[:, label], true[:, label]) for label in judged)
        values = np.stack([order.areas(weights) for order in orders])  # [C, R, 2]
        defined = np.isfinite(values)
        counts = defined.sum(0)
        means: Floats = np.where(counts > 0, np.where(defined, values, 0).sum(0) / np.maximum(counts, 1), np.nan)
        return means

    return statistic


@dataclass(frozen=True, slots=True)
class _Order:
    """The pictures by how probable a label is to be theirs, the most probable first.

    Attributes:
        pictures: int64 [N].
        starts: int64 [T], where in it each run of equal probabilities begins.
        true: float64 [N], in that order, whether each bears the label.
    """

    pictures: NDArray[np.int64]
    starts: NDArray[np.int64]
    true: Floats

    @classmethod
    def of(cls, probabilities: NDArray[np.float32], true: NDArray[np.bool_]) -> _Order:
        pictures = np.argsort(-probabilities, kind="stable")
        starts = np.flatnonzero(np.append(True, np.diff(probabilities[pictures]) != 0))
        return cls(pictures, starts, true[pictures].astype(np.float64))

    def areas(self, weights: Floats) -> Floats:
        """Returns float64 [R, 2], both areas under float64 [R, N] weights; no number where the label has all weight, or none."""
        weights = weights[:, self.pictures]
        borne = np.add.reduceat(weights * self.true, self.starts, 1)
        others = np.add.reduceat(weights * (1 - self.true), self.starts, 1)
        found, wrong = borne.cumsum(1), others.cumsum(1)
        with np.errstate(invalid="ignore", divide="ignore"):
            # A pair of a picture with the label and one without it counts if the former is more probable, half if equally so.
            roc = (borne * (wrong[:, -1:] - wrong + others / 2)).sum(1) / (found[:, -1] * wrong[:, -1])
            precision = (borne * np.nan_to_num(found / (found + wrong))).sum(1) / found[:, -1]
        return np.column_stack([roc, np.where(found[:, -1] > 0, precision, np.nan)])
