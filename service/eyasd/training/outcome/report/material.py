"""What the report shows beside the manifest: pictures, the answers that went wrong, curves. numpy and Pillow alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from eyasd.core.bundle import Manifest
from eyasd.core.opening import open_picture
from eyasd.training.data.listing import File
from eyasd.training.data.thumbnails import data_uri, thumbnail, thumbnails
from eyasd.training.outcome.figures import Answers
from eyasd.training.outcome.report.curves import Curves, precision_recall

_MISTAKES: Final = 12
_MISTAKE_PX: Final = 144
# Of each kind of answer, right and wrong; with their maps 20 pictures of some 6 KB.
_LOOKS: Final = 4
_LOOK_PX: Final = 160
_LEAST_GAP: Final = 0.1  # between a probability and the truth, below which a label is no part of what was got wrong

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
    rows: NDArray[np.int64],
    answers: Answers,
    sheet: str,
    overlays: Overlays,
) -> Material:
    """Returns what the report shows.

    Args:
        manifest: of the version; it names the pictures of the audit.
        files: of the dataset.
        images: uint8 [N, H, W, 3], of each file.
        rows: int64 [n], which of them are the test split.
        answers: what the model said of these.
        sheet: data URI of the contact sheet, or "".
        overlays: draws class-activation maps.
    """
    tested = _Tested([files[row].name for row in rows], images, rows, answers, manifest.labels)
    wrong = tested.wrong()
    return Material(
        thumbnails=thumbnails(manifest.dataset_report, files, images),
        sheet=sheet,
        mistakes=tuple(tested.mistake(place) for place in wrong[:_MISTAKES]),
        wrong=len(wrong),
        looks=tested.looks([*tested.surest_right()[:_LOOKS], *wrong[:_LOOKS]], overlays),
        curves=precision_recall(answers.probabilities, answers.true, manifest.labels),
    )


@dataclass(frozen=True, slots=True)
class _Tested:
    """The test split, and what was said of it; a place is the number of a picture within it.

    Attributes:
        names: of its files.
        images: uint8 [N, H, W, 3], of all files of the dataset.
        rows: int64 [n], which of them are its own.
        answers: what was said of these.
        labels: in order of class index.
    """

    names: Sequence[str]
    images: NDArray[np.uint8]
    rows: NDArray[np.int64]
    answers: Answers
    labels: Sequence[str]

    def wrong(self) -> list[int]:
        """Returns the places of the wrong answers, the worst first."""
        answers, places = self.answers, np.flatnonzero(~self.answers.right)
        badness = answers.log_losses[places] if answers.multi_label else answers.probabilities[places].max(1)
        found: list[int] = places[np.argsort(-badness, kind="stable")].tolist()
        return found

    def surest_right(self) -> list[int]:
        """Returns, of each label that has one, the place of the right answer that is surest of it; the surest first."""
        answers = self.answers
        surest = np.where(answers.true & answers.right[:, None], answers.probabilities, -1)
        places, best = surest.argmax(0), surest.max(0)
        ordered = places[np.argsort(-best, kind="stable")][: int((best >= 0).sum())]
        return list(dict.fromkeys(ordered.tolist()))

    def mistake(self, place: int) -> Mistake:
        """Returns a wrong answer with its picture."""
        answers = self.answers
        return Mistake(
            path=self.names[place],
            picture=thumbnail(self.images[self.rows[place]], _MISTAKE_PX),
            true=self._labels(answers.true[place]),
            given=self._labels(answers.applies[place]),
            confidence=None if answers.multi_label else float(answers.probabilities[place].max()),
            log_loss=float(answers.log_losses[place]),
        )

    def looks(self, places: Sequence[int], overlays: Overlays) -> tuple[Look, ...]:
        """Returns some answers with the maps of what they are about; none where the network has no maps."""
        asked = [(place, label) for place in places for label in self._explaining(place)]
        drawn = overlays(self.images[self.rows[[place for place, _ in asked]]], [label for _, label in asked]) if asked else []
        maps: dict[int, list[Map]] = {}
        for (place, label), overlay in zip(asked, drawn, strict=bool(drawn)):
            probability, true = float(self.answers.probabilities[place, label]), bool(self.answers.true[place, label])
            maps.setdefault(place, []).append(
                Map(label=self.labels[label], probability=probability, true=true, picture=_small(overlay))
            )
        return tuple(
            Look(
                path=self.names[place],
                right=bool(self.answers.right[place]),
                picture=thumbnail(self.images[self.rows[place]], _LOOK_PX),
                maps=tuple(found),
            )
            for place, found in maps.items()
        )

    def _explaining(self, place: int) -> list[int]:
        """Returns the class indices that explain an answer: the surest one, or, where it is wrong, what it got most wrong."""
        probabilities = self.answers.probabilities[place]
        if self.answers.right[place]:
            return [int(probabilities.argmax())]
        gaps = np.abs(self.answers.true[place] - probabilities)
        worst = np.argsort(-gaps, kind="stable")[:2]
        return sorted((int(i) for i in worst if gaps[i] > _LEAST_GAP), key=lambda i: -probabilities[i])

    def _labels(self, flags: NDArray[np.bool_]) -> tuple[str, ...]:
        return tuple(self.labels[int(i)] for i in np.flatnonzero(flags))


def _small(encoded: bytes) -> str:
    with open_picture(encoded) as picture:
        small = picture.convert("RGB")
    small.thumbnail((_LOOK_PX, _LOOK_PX))
    return data_uri(small)
