"""Captured pictures beside a dataset: which are added, and how all are split so that a version can be compared with its base.

The base's splits stay what they were, picture by picture, so that its test split is as untouched as before. Some of the captured
pictures are held out, in a part of their own: never trained on, they tell what was gained where the model was in doubt.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np

from eyasd.core import document
from eyasd.core.answers import KeptAnswers, fingerprints
from eyasd.core.errors import BadDataset
from eyasd.core.frozen import FrozenList, FrozenPicture
from eyasd.core.jobdir import CAPTURED_LIST
from eyasd.core.wording import counted
from eyasd.training.data.duplicates import Ids
from eyasd.training.data.listing import TEST, TRAIN, VALIDATION, File, Listing, names
from eyasd.training.data.split import carve
from eyasd.training.data.units import names_of, units_of

# Where captured pictures lie in a listing, and the part that is held out.
CAPTURED: Final = "captured"
# Of files that are in no part at all.
LEFT_OUT: Final = ""
# One for each of train, validation and the part that is held out.
_LEAST_OF_NEW_LABEL: Final = 3
# What is captured within so many seconds may show the same thing, so it stays together where the labels leave enough to divide.
_WINDOWS_SECONDS: Final = (600, 60, 10, 1)


def with_captured(listing: Listing, place: Path) -> Listing:
    """Returns a dataset's files and the captured ones, of no split yet.

    Args:
        listing: of the dataset.
        place: JOB_DIR/captured.

    Raises:
        BadDataset: none of the captured pictures is there any more, or none has a label that can be learnt.
    """
    frozen = document.load(FrozenList, (place / CAPTURED_LIST).read_bytes())
    chosen, warnings = _usable(frozen.pictures, listing)
    if frozen.removed:
        warnings.append(f"{counted(frozen.removed, 'captured picture')} left out: removed since the training was asked for.")
    if not chosen:
        raise BadDataset(f"No captured picture of {frozen.model} can be added. {' '.join(warnings)} Label others, and ask again.")
    files = [
        File(place / one.id, f"{CAPTURED}/{one.id}", one.labels, None, captured_time=one.time.timestamp(), by_chance=one.by_chance)
        for one in chosen
    ]
    return replace(listing, files=(*listing.files, *files), warnings=(*listing.warnings, *warnings))


def _usable(pictures: Sequence[FrozenPicture], listing: Listing) -> tuple[list[FrozenPicture], list[str]]:
    """Returns the pictures whose labels can be learnt, and sentences about the others."""
    warnings = []
    alike = [picture for picture in pictures if listing.multi_label or len(picture.labels) == 1]
    if left := len(pictures) - len(alike):
        warnings.append(f"{counted(left, 'captured picture')} with none or several labels left out: every picture here has one.")
    known, counts = set(listing.labels), Counter(label for picture in alike for label in picture.labels)
    rare = {label for label, count in counts.items() if label not in known and count < _LEAST_OF_NEW_LABEL}
    chosen = [picture for picture in alike if not rare.intersection(picture.labels)]
    if rare:
        warnings.append(
            f"{counted(len(alike) - len(chosen), 'captured picture')} left out: of a label that the dataset lacks "
            f"{_LEAST_OF_NEW_LABEL} are needed at least, and of {names(sorted(rare))} there are fewer."
        )
    if new := sorted({label for picture in chosen for label in picture.labels} - known):
        warnings.append(f"Labels that the dataset lacks come from captured pictures alone: {names(new)}.")
    return chosen, warnings


@dataclass(frozen=True, slots=True)
class Held:
    """What is held fast of the version that a training starts from.

    Attributes:
        base: its short name, for messages.
        answers: its own.
        whole: whether the dataset must hold all of its test split: it is said to be its own.
        fraction: share of the captured pictures of each label that are held out.
    """

    base: str
    answers: KeptAnswers
    whole: bool
    fraction: float

    def split(
        self, files: Sequence[File], digests: Sequence[str], copies: Ids, validation: float, seed: int
    ) -> tuple[list[File], list[str]]:
        """Returns the files, each in a part, and what a person should know of how they came there.

        Args:
            files: the readable ones, of which the captured ones have a time.
            digests: SHA-256 of each, hexadecimal.
            copies: int64 [n], equal for copies, exact or near.
            validation: share of the captured pictures that join the validation split.
            seed: of the choice.

        Raises:
            BadDataset: the dataset does not hold the base's test split, or a label is left without a picture to train on.
        """
        prints = fingerprints(digests).tolist()
        parts: list[str | None] = [None] * len(files)
        warnings = self._keep(files, prints, parts)
        warnings += self._follow(copies, parts)
        rest = [i for i, part in enumerate(parts) if part is None]
        fractions = {VALIDATION: validation, CAPTURED: self.fraction}
        for i, part in zip(rest, _carved(rest, files, digests, copies, fractions, seed), strict=True):
            parts[i] = part
        divided = [replace(file, split=part) for file, part in zip(files, parts, strict=True)]
        learnt = {label for file in divided if file.split == TRAIN for label in file.labels}
        if lost := {label for file in files for label in file.labels} - learnt:
            raise BadDataset(
                f"No picture of the label {min(lost)!r} is left to train on: all that are new are copies of pictures that "
                f"{self.base} was tested on. Add others."
            )
        return divided, [*warnings, _told(divided)]

    def _keep(self, files: Sequence[File], prints: Sequence[int], parts: list[str | None]) -> list[str]:
        """Puts every file that had a part in the base where it was, and what is new in the dataset where it does no harm."""
        own = self.answers
        before: dict[int, list[str]] = defaultdict(list)
        for part, pictures in ((TEST, own.picture), (CAPTURED, own.captured), (VALIDATION, own.validation), (TRAIN, own.used)):
            for picture in pictures.tolist():
                before[picture].append(part)
        new = 0
        for i, (file, picture) in enumerate(zip(files, prints, strict=True)):
            found = before.get(picture, [])
            if found:
                # A picture that the dataset has in two splits is in the one that it lies in.
                parts[i] = file.split if file.split in found else found[0]
            elif file.captured_time is None:
                new += 1
                parts[i] = LEFT_OUT if file.split == TEST else file.split or TRAIN
        missing = Counter(own.picture.tolist()) - Counter(p for p, part in zip(prints, parts, strict=True) if part == TEST)
        warnings = []
        if gone := missing.total():
            said = f"{gone:,} of the {counted(len(own.picture), 'test picture')} of {self.base}"
            if self.whole or gone == len(own.picture):
                raise BadDataset(
                    f"The dataset is not what {self.base} was trained on any more: it lacks {said}, so a new version could not be "
                    "compared with it. Put them back, or name the dataset that holds its pictures now."
                )
            warnings.append(f"The dataset lacks {said}; the two are compared on the others.")
        if new:
            warnings.append(f"{counted(new, 'picture')} of the dataset not among those of {self.base}; none is tested on.")
        return warnings

    def _follow(self, copies: Ids, parts: list[str | None]) -> list[str]:
        """Puts captured copies of pictures that have a part into that; those of test pictures nowhere."""
        where: dict[int, set[str]] = defaultdict(set)
        for copy, part in zip(copies.tolist(), parts, strict=True):
            if part:
                where[copy].add(part)
        left_out = 0
        for i, copy in enumerate(copies.tolist()):
            if parts[i] is None and (found := where[copy]):
                parts[i] = next(part for part in (TEST, TRAIN, VALIDATION, CAPTURED) if part in found)
                if parts[i] == TEST:
                    parts[i] = LEFT_OUT
                    left_out += 1
        return [f"{counted(left_out, 'captured picture')} left out, as copies of test pictures."] if left_out else []


def _carved(
    rows: Sequence[int], files: Sequence[File], digests: Sequence[str], copies: Ids, fractions: Mapping[str, float], seed: int
) -> list[str]:
    """Returns the part of some captured files: of each label its share, and what was captured at about the same time together."""
    if not rows:
        return []
    some, contents, same = [files[i] for i in rows], [digests[i] for i in rows], copies[np.array(rows)]
    units = defaultdict(set)
    for file, unit in zip(some, same.tolist(), strict=True):
        for label in file.labels:
            units[label].add(unit)
    # A label of fewer could not be in every part; its pictures are trained on.
    common = [all(len(units[label]) > len(fractions) for label in file.labels) for file in some]
    parts = [TRAIN] * len(some)
    chosen = [i for i, taken in enumerate(common) if taken]
    if not chosen:
        return parts
    grouped = [some[i] for i in chosen]
    for window in (*_WINDOWS_SECONDS, None):
        timed = [replace(f, group=None if window is None else str((f.captured_time or 0) // window)) for f in grouped]
        wanted = names_of(units_of(timed, same[np.array(chosen)]), [contents[i] for i in chosen])
        try:
            carved = carve(wanted, [file.labels for file in grouped], fractions, seed)
        except BadDataset:
            if window is None:
                return parts
            continue
        if window is None or _near(carved, fractions):
            break
    for i, part in zip(chosen, carved, strict=True):
        parts[i] = part
    return parts


def _near(carved: Sequence[str], fractions: Mapping[str, float]) -> bool:
    """Tells whether the shares are about what was asked for, which few large units cannot give."""
    counts = Counter(carved)
    return all(0.5 <= counts[part] / (fraction * len(carved)) <= 1.5 for part, fraction in fractions.items())


def _told(files: Iterable[File]) -> str:
    counts = Counter(file.split for file in files if file.captured_time is not None)
    return (
        f"Of the captured pictures {counts[TRAIN]:,} are trained on, {counts[VALIDATION]:,} are for validation, and "
        f"{counts[CAPTURED]:,} are held out."
    )
