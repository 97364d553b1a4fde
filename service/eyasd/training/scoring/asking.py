"""Shows the files of a dataset to one or several versions, each decoded once for all that see it in the same form. No torch."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from eyasd.core.answers import ANSWERS, Fingerprints, KeptAnswers, fingerprints
from eyasd.core.bundle import MANIFEST, MODEL, Manifest, read_manifest, verified
from eyasd.core.findings import UnreadableFile
from eyasd.core.graph import check_graph
from eyasd.core.processors import cpu_count
from eyasd.training.data.cache import read_forms
from eyasd.training.data.listing import File, none_readable
from eyasd.training.journal import Journal
from eyasd.training.outcome.evaluate import Predicted, joined, predict
from eyasd.training.outcome.session import open_session

BATCH: Final = 32


@dataclass(frozen=True, slots=True)
class Version:
    """A version that is measured.

    Attributes:
        name: its short one, for messages.
        manifest: its own.
        session: its network in ONNX Runtime.
        kept: which pictures it was made with; None where it did not note them.
    """

    name: str
    manifest: Manifest
    session: Any
    kept: KeptAnswers | None

    @classmethod
    def opened(cls, name: str, place: Path) -> Version:
        """Opens the bundle in a folder. Raises BrokenBundle."""
        manifest = read_manifest((place / MANIFEST).read_bytes())
        check_graph(verified(manifest, MODEL, (place / MODEL).read_bytes()), MODEL)
        kept = None
        if ANSWERS in manifest.files:
            kept = KeptAnswers.from_bytes(verified(manifest, ANSWERS, (place / ANSWERS).read_bytes()))
        return cls(name, manifest, open_session(place / MODEL), kept)

    def made_with(self, prints: Fingerprints) -> NDArray[np.bool_]:
        """Returns bool [N], which pictures, int64 [N], had a part in its making; none where it did not note them."""
        return np.zeros(len(prints), np.bool_) if self.kept is None else np.isin(prints, self.kept.used)


@dataclass(frozen=True, slots=True)
class Answered:
    """What versions said of the files.

    Attributes:
        files: those that are pictures, N of them.
        prints: int64 [N], by which they are known; see `core.answers`.
        unreadable: the others.
        probabilities: float32 [N, C] of each version.
        ood_scores: float32 [N] of each version; None of one that does not compute them.
        samples: uint8 [n, H, W, 3] for each version, the first pictures as it sees them, at most a batch.
    """

    files: tuple[File, ...]
    prints: Fingerprints
    unreadable: tuple[UnreadableFile, ...]
    probabilities: tuple[NDArray[np.float32], ...]
    ood_scores: tuple[NDArray[np.float32] | None, ...]
    samples: tuple[NDArray[np.uint8], ...]

    def of(self, chosen: NDArray[np.bool_]) -> Answered:
        """Returns the same of some of the files, bool [N]."""
        files = tuple(file for file, taken in zip(self.files, chosen, strict=True) if taken)
        return replace(
            self,
            files=files,
            prints=self.prints[chosen],
            probabilities=tuple(p[chosen] for p in self.probabilities),
            ood_scores=tuple(None if scores is None else scores[chosen] for scores in self.ood_scores),
        )


def ask(versions: Sequence[Version], files: Sequence[File], journal: Journal) -> Answered:
    """Returns what each version says of each file.

    Raises:
        BadDataset: none of them is a picture.
    """
    specs = list(dict.fromkeys(version.manifest.preprocess for version in versions))
    forms = [specs.index(version.manifest.preprocess) for version in versions]
    readable: list[File] = []
    digests: list[str] = []
    unreadable: list[UnreadableFile] = []
    answers: list[list[Predicted]] = [[] for _ in versions]
    samples: list[NDArray[np.uint8]] = []
    with ThreadPoolExecutor(cpu_count()) as pool:  # Pillow decodes without the interpreter's lock
        for start in range(0, len(files), BATCH):
            journal.advance(start / len(files))
            chunk = files[start : start + BATCH]
            seen: list[list[NDArray[np.uint8]]] = []
            for file, (entry, images) in zip(chunk, pool.map(lambda f: read_forms(f, specs), chunk), strict=True):
                if images:
                    readable.append(file)
                    digests.append(entry.sha256)
                    seen.append(images)
                else:
                    unreadable.append(UnreadableFile(file.name, entry.problem))
            if seen:
                batches = [np.stack(images) for images in zip(*seen, strict=True)]
                samples = samples or batches
                for version, form, said in zip(versions, forms, answers, strict=True):
                    said.append(predict(version.session, [batches[form]]))
    if not readable:
        raise none_readable(unreadable)
    probabilities, ood_scores = zip(*map(joined, answers), strict=True)
    return Answered(
        files=tuple(readable),
        prints=fingerprints(digests),
        unreadable=tuple(unreadable),
        probabilities=probabilities,
        ood_scores=ood_scores,
        samples=tuple(samples[form] for form in forms),
    )
