"""In which precision a version is served: the quickest of those that its training accepted for this device.

The quickest is measured here, when the version is loaded: the machine that trained it had another processor, and whether int8 pays
depends on that. A variant that cannot be used never keeps a version from being served: model.onnx is what the version is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from eyasd.core.bundle import Golden, Manifest
from eyasd.core.errors import BrokenBundle, StartupFailed
from eyasd.core.stopwatch import quickest
from eyasd.core.variants import Precision
from eyasd.serving.network.providers import CPU, CUDA, TENSORRT

if TYPE_CHECKING:
    from eyasd.serving.network.session import Session

Wish = Literal["auto"] | Precision
# What each provider may run beside fp32. ONNX Runtime has no 8-bit kernels for CUDA, and on a CPU converts 16 bits to 32.
VARIANTS: Final = {CPU: Precision.INT8, CUDA: Precision.FP16, TENSORRT: Precision.FP16}
# What a variant has to gain, so that noise does not decide for it.
_LEAST_GAIN: Final = 1.05
_ROUNDS: Final = 5


class Log(Protocol):
    """Where lines for the operator go; structlog's loggers are such."""

    def info(self, event: str, **fields: object) -> object:
        """Says what is good to know."""
        ...

    def warning(self, event: str, **fields: object) -> object:
        """Says what somebody should look at."""
        ...


def check_wish(wish: Wish, provider: str) -> None:
    """Refuses a precision that the provider never runs.

    Raises:
        StartupFailed: says which it may run.
    """
    if wish not in ("auto", Precision.FP32, VARIANTS[provider]):
        raise StartupFailed(
            f"serving.precision is {wish}, which {provider} does not run, or only slower: choose auto, fp32 or "
            f"{VARIANTS[provider]}, or another serving.device."
        )


@dataclass(frozen=True, slots=True)
class Chosen:
    """The network that answers for a version.

    Attributes:
        session: warmed; its golden answers are right.
        precision: of it.
        speed: the variant's pictures a second as a multiple of model.onnx's on this machine; None where it was not measured.
    """

    session: Session
    precision: Precision = Precision.FP32
    speed: float | None = None


def choose(
    open_session: Callable[[Precision], Session],
    manifest: Manifest,
    golden: Golden,
    wish: Wish,
    provider: str,
    max_batch_size: int,
    log: Log,
) -> Chosen:
    """Returns the network to serve with, whose golden answers are right.

    Args:
        open_session: loads the version's network in a precision; may raise BrokenBundle.
        manifest: says which variants were accepted.
        golden: what each must answer.
        wish: a precision, or the quickest that is allowed.
        provider: that the sessions run on.
        max_batch_size: of the sessions.
        log: hears why a variant is not used, and how quick it is.

    Raises:
        BrokenBundle: model.onnx cannot be loaded, or does not give its recorded answers.
    """
    plain = Chosen(_proven(open_session, Precision.FP32, golden, manifest, log))
    precision = VARIANTS[provider]
    if wish == Precision.FP32:
        return plain
    if precision not in manifest.accepted():
        if wish == precision:
            log.warning("the version has no such variant; it is served in fp32", precision=precision)
        return plain
    try:
        session = _proven(open_session, precision, golden, manifest, log)
    except BrokenBundle as error:
        log.warning("a variant cannot be used; the version is served in fp32", precision=precision, error=error.message)
        return plain
    speed = round(_speed(plain.session, session, golden.images[0], max_batch_size), 3)
    taken = wish == precision or speed >= _LEAST_GAIN
    log.info("a variant was timed beside fp32", precision=precision, speed=speed, taken=taken)
    return Chosen(session, precision, speed) if taken else Chosen(plain.session, speed=speed)


def _proven(
    open_session: Callable[[Precision], Session], precision: Precision, golden: Golden, manifest: Manifest, log: Log
) -> Session:
    """Returns a session that is warm, gives its recorded answers, and the map that explains them. Raises BrokenBundle."""
    recorded = golden.probabilities if precision is Precision.FP32 else golden.variants.get(precision)
    if recorded is None:
        raise BrokenBundle(f"golden.npz has no answers of {precision.file}.")
    sizes, side = golden.images.shape, manifest.preprocess.crop_px
    if not len(golden.images) or sizes[1:] != (side, side, 3) or golden.images.dtype != np.uint8:
        raise BrokenBundle(f"golden.npz has pictures of the sizes {sizes}; the version sees [{side}, {side}, 3].")
    session = open_session(precision)
    session.warm(golden.images[0])
    if session.without_graphs:
        log.info("the network runs without CUDA graphs", precision=precision, reason=session.without_graphs)
    if session.elsewhere:
        log.warning("a part of the network does not run on the device", precision=precision, nodes=session.elsewhere)
    answers = np.concatenate([session.run(image[None]).probabilities for image in golden.images])
    if answers.shape != recorded.shape or answers.shape[1] != len(manifest.labels):
        raise BrokenBundle(f"{precision.file} gives answers of shape {answers.shape}; {recorded.shape} was recorded.")
    difference = float(np.abs(answers - recorded).max())
    if not difference <= precision.golden_tolerance:  # so that NaN fails
        raise BrokenBundle(
            f"{precision.file} does not give its recorded answers on this machine: they differ by {difference:.3g}, "
            f"{precision.golden_tolerance:g} is allowed."
        )
    if manifest.feature_map:
        maps = session.run(golden.images[:1], maps=True).feature_maps
        found = None if maps is None else maps.shape[1:]
        if found != manifest.feature_map:
            raise BrokenBundle(f"{precision.file} gives a feature map of the sizes {found}; {manifest.feature_map} was recorded.")
    return session


def _speed(plain: Session, variant: Session, image: NDArray[np.uint8], max_batch_size: int) -> float:
    """Returns how many times as fast the variant is, of one picture or of a full batch, whichever gains less.

    A full batch, which takes half a second of a start, is not run where one picture has decided.
    """
    speed = float("inf")
    for size in (1, max_batch_size):
        batch = np.repeat(image[None], size, axis=0)
        before, after = quickest([partial(plain.run, batch), partial(variant.run, batch)], _ROUNDS)
        speed = min(speed, before / after)
        if speed < _LEAST_GAIN:
            break
    return speed
