"""A bundle: one model version as a folder of files, and its manifest.

    model.onnx           images uint8 [N, H, W, 3] -> probabilities float32 [N, C], logits float32 [N, C]; some versions also have
                         feature_map float32 [N, F, h, w] and ood_score float32 [N], larger = less like the training pictures
    model.fp16.onnx      the same network in another precision, where a training made it and it was accepted, see `core.variants`;
    model.int8.onnx      inputs and outputs are those of model.onnx
    golden.npz           images uint8 [G, H, W, 3], a few real inputs; probabilities float32 [G, C], what they must give, and
                         probabilities.fp16 and probabilities.int8, what the variants must
    weights.safetensors  the network before its temperature, as it was trained: `backbone.` and timm's names, without those of
                         batch normalisation that was merged into convolutions, and `head.` and its own; and `seen`, which
                         pictures it was trained on (int64 [n], the first 60 bits of their SHA-256); read by trainings alone
    explain.npz          weights float32 [C, F] of the head, for class-activation maps; where model.onnx has feature_map
    answers.npz          which pictures it was trained, validated and tested on, and what it said of the last; see `core.answers`
    report.html          what a person wants to know of the version; self-contained
    manifest.json        everything else, with the SHA-256 of each file; written last

Knows the format, not where bundles are kept: that is the registry's.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from eyasd.core import document
from eyasd.core.answers import ANSWERS
from eyasd.core.arrays import arrays_of
from eyasd.core.choices import RankedBackbone, Trial
from eyasd.core.errors import BrokenBundle, InvalidArgument
from eyasd.core.evaluation import EpochMetrics, Evaluation
from eyasd.core.findings import DatasetReport
from eyasd.core.gate import Gate
from eyasd.core.names import ModelRef
from eyasd.core.preprocess import Preprocess
from eyasd.core.reference import Reference
from eyasd.core.spec import TrainSpec
from eyasd.core.unknown import UnknownRules
from eyasd.core.variants import Precision, Variant

FORMAT_VERSION: Final = 1
MODEL: Final = "model.onnx"
GOLDEN: Final = "golden.npz"
WEIGHTS: Final = "weights.safetensors"
EXPLAIN: Final = "explain.npz"
REPORT: Final = "report.html"
MANIFEST: Final = "manifest.json"
INPUT: Final = "images"
PROBABILITIES: Final = "probabilities"
LOGITS: Final = "logits"
FEATURE_MAP: Final = "feature_map"
OOD_SCORE: Final = "ood_score"
# That of ImageNet-21k has some 10 MB.
_MOST_MANIFEST_BYTES: Final = 128 * 1024 * 1024
# Lists and objects in it: each may take 240 bytes of memory, and as few as 3 of the file. That of ImageNet-21k has some 200,000.
_MOST_PARTS: Final = 2_000_000
# Of texts each quote, and of numbers each but small ones, which Python has once for all: they take up to 60 bytes, and as few as 3
# of the file. That of ImageNet-21k has a million; what was taken for what is small numbers nearly everywhere.
_COSTLY: Final = re.compile(rb'"|[0-9][.eE]|[0-9]{3,}|-')
_MOST_COSTLY: Final = 4_000_000
# A bundle is one folder: its files lie in it, and not in others.
_FILE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
# Files that a bundle has or has not.
_OPTIONAL: Final = (ANSWERS, EXPLAIN, Precision.FP16.file, Precision.INT8.file)


@dataclass(frozen=True, slots=True)
class Parity:
    """Differences between the trained network in torch and model.onnx in ONNX Runtime on the same pictures, on the CPU.

    Attributes:
        examples: number of pictures compared.
        max_logit_difference: largest absolute difference of a logit.
        mean_logit_difference: mean absolute difference of the logits.
        batch_sizes: each was compared.
        max_score_difference: largest difference of `ood_score`, of scores beyond one as a share of them; None where there is none.
    """

    examples: int
    max_logit_difference: float
    mean_logit_difference: float
    batch_sizes: tuple[int, ...]
    max_score_difference: float | None = None


@dataclass(frozen=True, slots=True)
class Calibration:
    """Temperature scaling (Guo et al., 2017), fitted on the validation split; the errors are those of 15 equally wide bins.

    Attributes:
        examples: number of pictures it was fitted to; 0 where they were too few, and the temperature is 1; None where that was not
            noted.
    """

    temperature: float
    error_before: float
    error_after: float
    examples: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Lineage:
    """Where a version comes from.

    Attributes:
        job: id of the job that trained it.
        attempt: number of the attempt that finished.
        dataset: its path, as the request named it.
        code_version: version of Eyas.
        seed: of every random choice.
        backbone: name of the network in timm.
        weights_source: where the weights it started from came from, and their SHA-256 where they were a file; "" is none.
        recipe: every hyper-parameter as it was used.
        packages: versions of the libraries that decide the result.
        device: what it was trained on.
        duration_seconds: wall-clock time of the attempt up to the manifest.
        base_version: the version whose weights it started from; None is none.
        ranking: how the backbones were judged, the quickest first; empty where but one was allowed.
        trials: the short trainings in which hyper-parameters were searched, in their order; empty where none were.
        asked: names of what the caller set, see `core.spec.TrainSpec`; also empty where Eyas did not note it yet.
        spec: what the caller asked for; None where Eyas did not note it yet.
    """

    job: str
    attempt: int
    dataset: str
    code_version: str
    seed: int
    backbone: str
    weights_source: str
    recipe: Mapping[str, str]
    packages: Mapping[str, str]
    device: str
    duration_seconds: float
    base_version: ModelRef | None = None
    ranking: tuple[RankedBackbone, ...] = ()
    trials: tuple[Trial, ...] = ()
    asked: tuple[str, ...] = ()
    spec: TrainSpec | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """manifest.json.

    Attributes:
        format_version: of the bundle; a reader refuses one it does not know.
        create_time: when the training ended, UTC.
        labels: in order of class index.
        thresholds: of each label, the probability from which on it applies; None where a picture has one label, the most probable.
        preprocess: how a picture becomes the input of model.onnx.
        evaluation: of model.onnx on the test split.
        history: figures on the validation split, from epoch 0; after each epoch, and within one of very many steps.
        files: SHA-256, hexadecimal, of every other file, by name.
        model_bytes: size of model.onnx.
        latency: median time of one picture by itself through model.onnx, without decoding; None where it was not measured.
        latency_device: what that was measured on.
        unknown: when a picture is called unknown, where that is allowed; None where it never is.
        variants: those that the training was asked for, also where they were refused.
        feature_map: sizes F, h and w of the output of that name, by which answers are explained; None where there is none.
        reference: what pictures and answers are like where nothing has drifted; None where Eyas did not note it yet.
        gate: how it did beside the version that it started from, where captured pictures were added; None where none were.
    """

    format_version: int
    create_time: datetime
    labels: tuple[str, ...]
    preprocess: Preprocess
    calibration: Calibration
    evaluation: Evaluation
    parity: Parity
    history: tuple[EpochMetrics, ...]
    dataset_report: DatasetReport
    lineage: Lineage
    files: Mapping[str, str]
    model_bytes: int
    thresholds: tuple[float, ...] | None = None
    unknown: UnknownRules | None = None
    variants: tuple[Variant, ...] = ()
    feature_map: tuple[int, int, int] | None = None
    latency: timedelta | None = None
    latency_device: str = ""
    reference: Reference | None = None
    gate: Gate | None = None

    def accepted(self) -> tuple[Precision, ...]:
        """Returns the precisions of the variants that are in the bundle."""
        return tuple(variant.precision for variant in self.variants if variant.accepted)


def file_digests(folder: Path) -> dict[str, str]:
    """Returns the SHA-256, hexadecimal, of each of the bundle's files in `folder`, the manifest's apart."""
    optional = (name for name in _OPTIONAL if (folder / name).exists())
    return {name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in (MODEL, GOLDEN, WEIGHTS, REPORT, *optional)}


def read_manifest(text: bytes) -> Manifest:
    """Returns the manifest.

    Raises:
        BrokenBundle: it is damaged, or of a format this version of Eyas does not know.
    """
    if len(text) > _MOST_MANIFEST_BYTES:
        raise BrokenBundle(f"{MANIFEST} has {len(text):,} bytes; at most {_MOST_MANIFEST_BYTES:,} are read.")
    if text.count(b"[") + text.count(b"{") > _MOST_PARTS:
        raise BrokenBundle(f"{MANIFEST} has more than {_MOST_PARTS:,} lists and objects; no version has as many.")
    if next(islice(_COSTLY.finditer(text), _MOST_COSTLY, None), None) is not None:
        raise BrokenBundle(f"{MANIFEST} has over {_MOST_COSTLY:,} quotes and numbers that are not small; no version has as many.")
    try:
        found = document.parse(text).get("format_version", FORMAT_VERSION)
        if found != FORMAT_VERSION:  # of which nothing else is known
            raise BrokenBundle(
                f"{MANIFEST} has format version {repr(found)[:80]}, this Eyas reads {FORMAT_VERSION}; use the "
                "version of Eyas that wrote it."
            )
        return _checked(document.load(Manifest, text))
    except (ValueError, TypeError, AttributeError, InvalidArgument) as error:
        raise BrokenBundle(f"{MANIFEST} is damaged, or was written by a newer Eyas: {error}.") from error


def _checked(manifest: Manifest) -> Manifest:
    """Returns the manifest; refuses what would be found only when a picture is answered, or a file is named. Raises ValueError."""
    labels = manifest.labels
    if not labels or len(set(labels)) < len(labels):
        raise ValueError("it has no labels, or one twice")
    if manifest.thresholds is not None and len(manifest.thresholds) != len(labels):
        raise ValueError(f"it has {len(manifest.thresholds)} thresholds for {len(labels)} labels")
    if missing := {MODEL, GOLDEN} - manifest.files.keys():
        raise ValueError(f"it does not name {min(missing)}")
    for name, digest in manifest.files.items():
        if not _FILE.fullmatch(name) or not _DIGEST.fullmatch(digest):
            raise ValueError(f"{name[:80]!r} is no name of a file in a bundle, or {digest[:80]!r} no SHA-256")
    return manifest


@dataclass(frozen=True, slots=True)
class CheckedFile:
    """What became of a file of a version, read again.

    Attributes:
        name: of the file.
        sha256: hexadecimal, of what was published; "" where it was not noted.
        problem: what is wrong with it; "" where nothing is.
    """

    name: str
    sha256: str
    problem: str


def verified(manifest: Manifest, name: str, content: bytes, of: str = "") -> bytes:
    """Returns `content` if it is what the manifest says of the file `name`; `of` is the version, for the message.

    Raises:
        BrokenBundle: its SHA-256 is another.
    """
    verify_digest(manifest, name, hashlib.sha256(content).hexdigest(), of)
    return content


def verify_digest(manifest: Manifest, name: str, digest: str, of: str = "") -> None:
    """Does for a SHA-256, hexadecimal, what `verified` does for a content."""
    if digest != manifest.files.get(name):
        place = f"{name} of {of}" if of else name
        raise BrokenBundle(f"{place} was changed after it was published: its SHA-256 is now {digest[:12]}...")


@dataclass(frozen=True, slots=True)
class Golden:
    """A few real inputs and what they must give.

    Attributes:
        images: uint8 [G, H, W, 3].
        probabilities: float32 [G, C].
        variants: what each variant in the bundle must give, likewise.
    """

    images: NDArray[np.uint8]
    probabilities: NDArray[np.float32]
    variants: Mapping[Precision, NDArray[np.float32]] = field(default_factory=dict)

    def to_bytes(self) -> bytes:
        """Returns the content of golden.npz."""
        buffer = BytesIO()
        arrays = {"images": self.images, PROBABILITIES: self.probabilities}
        arrays |= {f"{PROBABILITIES}.{precision}": rows for precision, rows in self.variants.items()}
        np.savez_compressed(buffer, **arrays)  # type: ignore[arg-type] # a name could be that of an option, says mypy
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> Golden:
        """Reads golden.npz.

        Raises:
            BrokenBundle: it is damaged.
        """
        with arrays_of(content, GOLDEN) as arrays:
            names = {precision: f"{PROBABILITIES}.{precision}" for precision in Precision}
            others = {precision: arrays[name] for precision, name in names.items() if name in arrays}
            return cls(arrays["images"], arrays[PROBABILITIES], others)
