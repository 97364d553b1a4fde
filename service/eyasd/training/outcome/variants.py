"""The network in other precisions, and the gate that each has to pass.

Pictures of the training split set the ranges of int8. The validation split decides whether a variant is accepted. The test split
decides nothing, so that its figures, which stand beside those of model.onnx, stay honest.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from math import sqrt
from pathlib import Path
from typing import Final

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray

from eyasd.core.bundle import INPUT, MODEL, PROBABILITIES, Golden
from eyasd.core.stopwatch import quickest
from eyasd.core.variants import Fidelity, Precision, Variant
from eyasd.training.budget import Budget
from eyasd.training.data.audit import Audit
from eyasd.training.data.listing import TEST, TRAIN, VALIDATION
from eyasd.training.data.targets import Targets
from eyasd.training.journal import Journal
from eyasd.training.network import device_name
from eyasd.training.outcome.evaluate import Predicted, answers_of, predict
from eyasd.training.outcome.precision import Unsuitable, to_fp16, to_int8
from eyasd.training.outcome.reliability import calibration_error
from eyasd.training.outcome.session import CPU, CUDA, open_session

# A variant is refused if it changes more than this on the validation split. Three answers of a hundred may change at most,
MIN_AGREEMENT: Final = 0.97
# half a point of accuracy may be lost, or, of fewer than 200 pictures, one of them,
MAX_ACCURACY_LOST: Final = 0.005
# and by a point, or by the standard error of the accuracy, it may be further from being as sure as it should be: on 300 pictures
# even fp16, whose labels are all the same, moves the calibration error by 0.007, because confidences change their bins.
MAX_CALIBRATION_ERROR_GROWN: Final = 0.01
# Of model.onnx one known picture in a hundred is beyond the bound of its score; of a variant three may be, or two of fewer than 67.
MAX_UNKNOWN: Final = 0.03
# Of fewer pictures one is more than 2 %, and chance decides.
MIN_EXAMPLES: Final = 50

CALIBRATION_PICTURES: Final = 128
# Of making one and timing it, besides its answers: int8 of tf_efficientnet_lite0 takes 10 s on 2 cores, twice if need be; fp16 4 s
# on 16 cores, and its two sessions on the GPU some more.
VARIANT_SECONDS: Final = {Precision.INT8: 30.0, Precision.FP16: 15.0}
_BATCH: Final = 32
# As many as a server runs at once by default.
_TIMED_BATCHES: Final = {CPU: 8, CUDA: 32}
_ROUNDS: Final = 10
# In turn, until one is accepted: weights of 7 bits are quicker on processors without VNNI, those of 8 are closer to the network.
_BUILDERS: Final = {Precision.INT8: (partial(to_int8, weight_bits=7), to_int8), Precision.FP16: (to_fp16,)}


def make_variants(
    precisions: Sequence[Precision],
    bundle: Path,
    images: NDArray[np.uint8],
    data: Audit,
    thresholds: tuple[float, ...] | None,
    golden: Golden,
    seed: int,
    budget: Budget,
    journal: Journal,
    bound: float | None = None,
) -> tuple[tuple[Variant, ...], Golden]:
    """Makes variants of model.onnx, measures them beside it, and deletes those that the gate refuses.

    Args:
        precisions: those that are asked for.
        bundle: folder of model.onnx; theirs come beside it.
        images: uint8 [N, H, W, 3].
        data: the splits, and what the pictures show.
        thresholds: of a multi-label model.
        golden: the golden examples of model.onnx.
        seed: of the choice of calibration pictures.
        budget: when the job has to end; what it has no room for is refused.
        journal: hears of each.
        bound: of `ood_score`, beyond which model.onnx knows a picture for unknown; None where it has no such score.

    Returns:
        What was found, and the golden examples with the answers of those that were accepted.
    """
    if not precisions:
        return (), golden
    journal.stage("variants")
    maker = _Maker(bundle, images, data, thresholds, seed, journal, bound)
    made: list[Variant] = []
    answers: dict[Precision, NDArray[np.float32]] = {}
    for precision in precisions:
        if budget.left_seconds() < VARIANT_SECONDS[precision]:
            variant = Variant(precision=precision, refusal="there was no time left in the budget to make it")
        else:
            variant = maker.make(precision)
        made.append(variant)
        if variant.accepted:
            answers[precision], _ = predict(maker.open(precision), [image[None] for image in golden.images])
        journal.message(_told(variant))
    return tuple(made), replace(golden, variants=answers)


class _Maker:
    """Makes and measures the variants of one bundle; the arguments are those of `make_variants`."""

    def __init__(
        self,
        bundle: Path,
        images: NDArray[np.uint8],
        data: Audit,
        thresholds: tuple[float, ...] | None,
        seed: int,
        journal: Journal,
        bound: float | None,
    ) -> None:
        self._bound = bound
        self._bundle, self._images, self._data, self._thresholds, self._journal = bundle, images, data, thresholds, journal
        rows = data.rows[TRAIN]
        chosen = np.random.default_rng(seed).choice(rows, min(CALIBRATION_PICTURES, len(rows)), replace=False)
        self._calibration = images[np.sort(chosen)]
        session = self.open(Precision.FP32)
        self._reference = {split: self._answers(session, split)[0] for split in (VALIDATION, TEST)}

    def make(self, precision: Precision) -> Variant:
        """Makes a variant; its file is in the bundle afterwards if it was accepted."""
        path = self._bundle / precision.file
        if len(self._data.rows[VALIDATION]) < MIN_EXAMPLES:
            count = len(self._data.rows[VALIDATION])
            return Variant(
                precision=precision,
                refusal=f"it cannot be judged by {count} validation pictures: at least {MIN_EXAMPLES} are needed, so name a larger "
                "validation_fraction or more pictures",
            )
        try:
            for build in _BUILDERS[precision]:
                build(self._bundle / MODEL, path, self._calibration)
                variant = self._measure(precision)
                if variant.accepted:
                    break
        except Unsuitable as unsuitable:
            variant = Variant(precision=precision, refusal=str(unsuitable))
        except Exception as error:  # noqa: BLE001 - whatever a converter cannot do, the version is whole without it
            variant = Variant(precision=precision, refusal=f"it could not be made ({type(error).__name__}: {error})")
        if not variant.accepted:
            path.unlink(missing_ok=True)
        return variant

    def _measure(self, precision: Precision) -> Variant:
        session = self.open(precision)
        said = {split: self._answers(session, split) for split in (VALIDATION, TEST)}
        judged = {split: self._fidelity(probabilities, split) for split, (probabilities, _) in said.items()}
        provider = _provider(precision)
        speed = None
        # fp16 runs on a CPU through 32 bits: that says how it answers, not how fast.
        if precision is Precision.INT8 or provider == CUDA:
            batch = self._images[self._data.rows[TEST][: _TIMED_BATCHES[provider]]]
            runs = [_run_of(opened, batch) for opened in (self.open(Precision.FP32, provider), session)]
            quickest(runs, 1)  # the first run of a shape allocates
            seconds = quickest(runs, _ROUNDS)
            speed = round(seconds[0] / seconds[1], 3)
        return Variant(
            precision=precision,
            size_bytes=(self._bundle / precision.file).stat().st_size,
            validation=judged[VALIDATION],
            test=judged[TEST],
            speed=speed,
            device=device_name(),
            refusal=refusal(judged[VALIDATION]) or estranged(said[VALIDATION][1], self._bound),
        )

    def open(self, precision: Precision, provider: str | None = None) -> onnxruntime.InferenceSession:
        """Opens the network in a precision, on what can run it here."""
        return open_session(self._bundle / precision.file, provider or _provider(precision))

    def _answers(self, session: onnxruntime.InferenceSession, split: str) -> Predicted:
        rows = self._data.rows[split]

        def batches() -> Iterator[NDArray[np.uint8]]:
            for start in range(0, len(rows), _BATCH):
                self._journal.check()
                yield self._images[rows[start : start + _BATCH]]

        return predict(session, batches())

    def _fidelity(self, found: NDArray[np.float32], split: str) -> Fidelity:
        if not np.isfinite(found).all():
            raise Unsuitable("it gives answers that are no numbers")
        return compare(found, self._reference[split], self._data.targets[self._data.rows[split]], self._thresholds)


def compare(
    found: NDArray[np.float32], reference: NDArray[np.float32], targets: Targets, thresholds: tuple[float, ...] | None = None
) -> Fidelity:
    """Returns how a variant answers beside model.onnx.

    Args:
        found: float32 [N, C], the probabilities of the variant.
        reference: float32 [N, C], those of model.onnx.
        targets: what the pictures show.
        thresholds: of a multi-label model.
    """
    mine, theirs = answers_of(found, targets, thresholds), answers_of(reference, targets, thresholds)
    accuracies = [float(answers.right.mean()) for answers in (mine, theirs)]
    errors = [calibration_error(answers.confidences, answers.held) for answers in (mine, theirs)]
    return Fidelity(
        examples=len(found),
        agreement=float((mine.applies == theirs.applies).all(1).mean()),
        accuracy=accuracies[0],
        accuracy_lost=accuracies[1] - accuracies[0],
        log_loss=float(mine.log_losses.mean()),
        calibration_error=errors[0],
        calibration_error_grown=errors[0] - errors[1],
    )


def refusal(judged: Fidelity) -> str:
    """Returns why a variant is refused, as what `it` does; "" where it is not.

    One picture never decides: what it moves, 1 / examples, is always allowed.
    """
    one = 1 / judged.examples
    deviation = sqrt(judged.accuracy * (1 - judged.accuracy) / judged.examples)
    lost, grown = max(MAX_ACCURACY_LOST, one), max(MAX_CALIBRATION_ERROR_GROWN, one, deviation)
    epsilon = 1e-9  # differences of sums of thousandths
    reasons = []
    if not judged.agreement >= MIN_AGREEMENT - epsilon:
        reasons.append(f"it gives the same answer to {judged.agreement:.4f} of them, at least {MIN_AGREEMENT:g} is needed")
    if not judged.accuracy_lost <= lost + epsilon:
        reasons.append(f"it loses {judged.accuracy_lost:.4f} of accuracy, at most {lost:.4g} is allowed")
    if not judged.calibration_error_grown <= grown + epsilon:
        reasons.append(f"its calibration error is larger by {judged.calibration_error_grown:.4f}, at most {grown:.4g} is allowed")
    return f"of {judged.examples} validation pictures, {'; '.join(reasons)}" if reasons else ""


def estranged(scores: NDArray[np.float32] | None, bound: float | None) -> str:
    """Returns why a variant is refused that takes too many known pictures for unknown ones; "" where it does not.

    Args:
        scores: float32 [N], its `ood_score` of the validation pictures; None where it has none.
        bound: of model.onnx, which also holds for its variants; None where it has none.
    """
    if scores is None or bound is None:
        return ""
    beyond, allowed = int((~(scores <= bound)).sum()), max(2, int(MAX_UNKNOWN * len(scores)))
    if beyond <= allowed:
        return ""
    return f"of {len(scores)} validation pictures, it takes {beyond} for unknown ones, at most {allowed} are allowed"


def _run_of(session: onnxruntime.InferenceSession, batch: NDArray[np.uint8]) -> Callable[[], object]:
    return lambda: session.run([PROBABILITIES], {INPUT: batch})


def _provider(precision: Precision) -> str:
    """Returns what a precision is measured on here: CUDA where fp16 can be, else the CPU."""
    built = CUDA in onnxruntime.get_available_providers()
    return CUDA if precision is Precision.FP16 and built and torch.cuda.is_available() else CPU


def _told(variant: Variant) -> str:
    """Returns what became of a variant, a sentence."""
    if not variant.accepted:
        return f"The {variant.precision} variant was refused: {variant.refusal}."
    speed = f", {variant.speed:.2f} times as fast as model.onnx" if variant.speed is not None else ""
    agreement = variant.validation.agreement if variant.validation else 0.0
    return f"The {variant.precision} variant was accepted: {variant.size_bytes / 1e6:.1f} MB{speed}, agreement {agreement:.4f}."
