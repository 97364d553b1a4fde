"""Finds the pictures of a version's own split again, in the dataset that it was trained on or wherever they lie now."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Final

from eyasd.core.answers import KeptAnswers, Split, fingerprints
from eyasd.core.errors import BadDataset
from eyasd.core.processors import cpu_count
from eyasd.core.wording import counted
from eyasd.training.data.cache import digest
from eyasd.training.data.listing import Listing
from eyasd.training.journal import Journal

_CHUNK: Final = 256  # files between two looks at whether the job shall end


def stored_split(listing: Listing, kept: KeptAnswers, split: Split, version: str, journal: Journal) -> tuple[Listing, int]:
    """Returns the listed files that are in a version's split, whatever the dataset's own splits, and how many it lacks.

    A split that holds a picture twice has it twice here, if there are two files of it; those that lie in the dataset's split of
    that name come first, as others may bear another label.

    Args:
        listing: of the dataset.
        kept: of the version.
        split: to find.
        version: its short name, for messages.
        journal: hears of the progress.

    Raises:
        BadDataset: none of them is there.
    """
    wanted = Counter(kept.of(split).tolist())
    files = sorted(listing.files, key=lambda file: file.split != split)
    found = []
    with ThreadPoolExecutor(cpu_count()) as pool:
        for start in range(0, len(files), _CHUNK):
            journal.advance(start / len(files))
            chunk = files[start : start + _CHUNK]
            for file, picture in zip(chunk, fingerprints(pool.map(digest, chunk)).tolist(), strict=True):
                if wanted[picture] > 0:
                    wanted[picture] -= 1
                    found.append(file)
    missing, pictures = wanted.total(), counted(len(kept.of(split)), f"{split} picture")
    if not found:
        raise BadDataset(f"The dataset holds none of the {pictures} of {version}: name the folder, manifest or archive that does.")
    if missing:
        journal.message(f"Not in the dataset, and so not scored: {missing:,} of the {pictures} of {version}.")
    return replace(listing, files=tuple(sorted(found, key=lambda file: file.name)), splits=()), missing
