"""What the report shows beside the manifest: pictures, the answers that went wrong, curves. numpy and Pillow alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from typing import Final

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from eyasd.core.bundle import Manifest
from eyasd.training.data.listing import File
from eyasd.training.data.targets import as_flags
from eyasd.training.data.thumbnails import data_uri, thumbnail, thumbnails
from eyasd.training.outcome.evaluate import Scored
from eyasd.training.outcome.report.curves import Curves, precision_recall

_MISTAKES: Final = 12
_MISTAKE_PX: Final = 144
# Of each kind of answer, right and wrong; with their maps 20 pictures of some 6 KB.
_LOOKS: Final = 4
_LOOK_PX: Final = 160

# uint8 [N, H, W, 3], a class index for each -> N PNG files with the map of that class over the picture, or none at all
Overlays = Callable[[NDArray[np.uint8], Sequence[int]], Sequence[bytes]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mistake:
    """A test picture that got a wrong answer.

    Attributes:
        path: the file's name.
        picture: data URI.
        true: the labels that it bears.
        given: the labels that it got.
        confidence: of the label given, 0..1; None of a multi-label model.
        log_loss: of the whole answer, in nats.
    """

    path: str
    picture: str
    true: tuple[str, ...]
    given: tuple[str, ...]
    confidence: float | None
    log_loss: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Map:
    """Where in a picture the network saw a label, as a picture in a data URI; `true` is whether it bears the label."""

    label: str
    probability: float
    true: bool
    picture: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """A test picture with the maps of the labels that its answer was about."""

    path: str
    right: bool
    picture: str
    maps: tuple[Map, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Material:
    """What the report shows beside the manifest; by default nothing.

    Attributes:
        thumbnails: data URIs of the pictures that the audit names, by the file's name.
        sheet: data URI of the contact sheet, or "" where no picture was changed.
        mistakes: the most confident first; of a multi-label model those of the largest log loss.
        wrong: number of all of them.
        looks: pictures with their class-activation maps; empty where the network has none.
        curves: None where nothing was scored.
    """

    thumbnails: Mapping[str, str] = field(default_factory=dict)
    sheet: str = ""
    mistakes: tuple[Mistake, ...] = ()
    wrong: int = 0
    looks: tuple[Look, ...] = ()
    curves: Curves | None = None


def gather(
    manifest: Manifest,
    files: Sequence[File],
    images: NDArray[np.uint8],
    scored: Scored,
    sheet: str,
    overlays: Overlays,
) -> Material:
    """Returns what the report shows.

    Args:
        manifest: of the version; it names the pictures of the audit.
        files: of the dataset.
        images: uint8 [N, H, W, 3], of each file.
        scored: what the model answered about some of them.
        sheet: data URI of the contact sheet, or "".
        overlays: draws class-activation maps.
    """
    answers = _Answers.of(scored, manifest.labels, manifest.thresholds)
    wrong = answers.wrong()
    return Material(
        thumbnails=thumbnails(manifest.dataset_report, files, images),
        sheet=sheet,
        mistakes=tuple(answers.mistake(i, files, images) for i in wrong[:_MISTAKES]),
        wrong=len(wrong),
        looks=_looks(answers, wrong[:_LOOKS], files, images, overlays),
        curves=precision_recall(scored.probabilities, answers.true, manifest.labels),
    )


@dataclass(frozen=True, slots=True)
class _Answers:
    """What was answered, with what is so: the same of a model of one label a picture and of one of several.

    Attributes:
        true: bool [N, C]; so `given`.
        log_losses: float64 [N].
    """

    rows: NDArray[np.int64]
    probabilities: NDArray[np.float32]
    true: NDArray[np.bool_]
    given: NDArray[np.bool_]
    log_losses: NDArray[np.float64]
    labels: Sequence[str]
    multi_label: bool

    @classmethod
    def of(cls, scored: Scored, labels: Sequence[str], thresholds: Sequence[float] | None) -> _Answers:
        probabilities = scored.probabilities
        true = as_flags(scored.targets, len(labels)) == 1
        if thresholds is None:
            given = np.arange(len(labels)) == probabilities.argmax(1)[:, None]
        else:
            given = probabilities >= np.array(thresholds, np.float32)
        likelihoods = np.where(true, probabilities, 1 if thresholds is None else 1 - probabilities).astype(np.float64)
        losses = -np.log(np.maximum(likelihoods, 1e-12)).sum(1)
        return cls(scored.rows, probabilities, true, given, losses, labels, thresholds is not None)

    def wrong(self) -> NDArray[np.int64]:
        """Returns the places of the wrong answers, the worst first."""
        places = np.flatnonzero((self.given != self.true).any(1))
        badness = self.log_losses[places] if self.multi_label else self.probabilities[places].max(1)
        return places[np.argsort(-badness, kind="stable")]

    def surest_right(self) -> NDArray[np.int64]:
        """Returns, of each label that has one, the place of the right answer that is surest of it; the surest first."""
        right = (self.given == self.true).all(1)
        surest = np.where(self.true & right[:, None], self.probabilities, -1)
        places, best = surest.argmax(0), surest.max(0)
        chosen = places[np.argsort(-best, kind="stable")][: int((best >= 0).sum())]
        return np.array(list(dict.fromkeys(chosen.tolist())), np.int64)

    def names(self, flags: NDArray[np.bool_]) -> tuple[str, ...]:
        return tuple(self.labels[int(i)] for i in np.flatnonzero(flags))

    def mistake(self, place: int, files: Sequence[File], images: NDArray[np.uint8]) -> Mistake:
        row = self.rows[place]
        return Mistake(
            path=files[row].name,
            picture=thumbnail(images[row], _MISTAKE_PX),
            true=self.names(self.true[place]),
            given=self.names(self.given[place]),
            confidence=None if self.multi_label else float(self.probabilities[place].max()),
            log_loss=float(self.log_losses[place]),
        )

    def spoken_of(self, place: int) -> list[int]:
        """Returns the class indices that explain an answer: the surest one, or, where it is wrong, what it got most wrong."""
        probabilities, true = self.probabilities[place], self.true[place]
        if (self.given[place] == true).all():
            return [int(probabilities.argmax())]
        gaps = np.abs(true - probabilities)
        worst = np.argsort(-gaps, kind="stable")[:2]
        return sorted((int(i) for i in worst if gaps[i] > 0.1), key=lambda i: -probabilities[i])


def _looks(
    answers: _Answers, wrong: NDArray[np.int64], files: Sequence[File], images: NDArray[np.uint8], overlays: Overlays
) -> tuple[Look, ...]:
    """Returns the surest right answers, of different labels, and the worst wrong ones; none where the network has no maps."""
    right = answers.surest_right()[:_LOOKS]
    places = [int(place) for place in (*right, *wrong)]
    asked = [(place, label) for place in places for label in answers.spoken_of(place)]
    drawn = overlays(images[answers.rows[[place for place, _ in asked]]], [label for _, label in asked])
    maps: dict[int, list[Map]] = {}
    for (place, label), overlay in zip(asked, drawn, strict=False):
        maps.setdefault(place, []).append(
            Map(
                label=answers.labels[label],
                probability=float(answers.probabilities[place, label]),
                true=bool(answers.true[place, label]),
                picture=_small(overlay),
            )
        )
    return tuple(
        Look(
            path=files[answers.rows[place]].name,
            right=bool((answers.given[place] == answers.true[place]).all()),
            picture=thumbnail(images[answers.rows[place]], _LOOK_PX),
            maps=tuple(found),
        )
        for place, found in maps.items()
    )


def _small(encoded: bytes) -> str:
    with Image.open(BytesIO(encoded)) as picture:
        small = picture.convert("RGB")
    small.thumbnail((_LOOK_PX, _LOOK_PX))
    return data_uri(small)
