"""A version's network in other precisions than model.onnx's: the nouns.

Each precision is for one kind of device. fp16 halves what a GPU reads and suits its tensor cores; a CPU would convert back and
forth. int8 suits the CPU; on CUDA, ONNX Runtime has no kernels for it, and is slower than in 32 bits (microsoft/onnxruntime#12229,
#24807).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

# A setting of ONNX Runtime's sessions, for whoever runs int8. x86 without VNNI adds two products of bytes in 16 bits, where those
# of weights beyond 7 bits are cut off without a word. With this such weights are multiplied in 16 bits there, which takes longer,
# so that the integers are the same on every processor.
EXACT_INT8: Final = ("session.x64quantprecision", "1")


class Precision(StrEnum):
    """The numbers that a network computes with; fp32 is model.onnx, the others are variants of it."""

    FP32 = "fp32"
    FP16 = "fp16"
    INT8 = "int8"

    @property
    def file(self) -> str:
        """Name of its file in a bundle."""
        return "model.onnx" if self is Precision.FP32 else f"model.{self}.onnx"

    @property
    def golden_tolerance(self) -> float:
        """The largest difference of a probability from the recorded one at which a server takes a file for sound.

        fp32: between two machines or two versions of ONNX Runtime the probabilities of a sound file differ by rounding only: parity
        allows 1e-3 on a logit, and a probability moves by at most a quarter of that. TF32 on a GPU adds about 1e-3.

        int8: a value that another kernel rounds the other way moves the next layer by a whole step. The same file with its kernels
        and with their emulation in floating point differs by up to 0.041 on 96 photographs (tf_efficientnet_lite0). fp16 rounds
        8,000 times as coarsely as fp32. Another network than the recorded one is off by nearly 1 on some picture.
        """
        return {Precision.FP32: 5e-3, Precision.FP16: 0.05, Precision.INT8: 0.1}[self]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fidelity:
    """How a variant answers beside model.onnx, on the same pictures.

    Attributes:
        examples: number of pictures.
        agreement: share of them to which both give the same label, the most probable one, or the same set of labels.
        accuracy: of the variant.
        accuracy_lost: how much higher that of model.onnx is; below 0 where it is lower.
        log_loss: of the variant, see `core.evaluation.Evaluation`.
        calibration_error: likewise.
        calibration_error_grown: how much lower that of model.onnx is; below 0 where it is higher.
    """

    examples: int
    agreement: float
    accuracy: float
    accuracy_lost: float
    log_loss: float
    calibration_error: float
    calibration_error_grown: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """A network in another precision, as its training made it.

    Attributes:
        precision: not fp32.
        size_bytes: of its file; 0 where it could not be made.
        validation: by which it was accepted or refused; None where it was not measured.
        test: on the test split, which decided nothing; None likewise.
        speed: pictures a second as a multiple of model.onnx's, in turns on `device`; None where the variant is not for that.
        device: what it was measured on.
        refusal: why its file is not in the bundle, a sentence; "" where it is.
    """

    precision: Precision
    size_bytes: int = 0
    validation: Fidelity | None = None
    test: Fidelity | None = None
    speed: float | None = None
    device: str = ""
    refusal: str = ""

    @property
    def accepted(self) -> bool:
        """Whether it may serve."""
        return not self.refusal
