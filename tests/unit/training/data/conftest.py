"""Jobs that decode pictures with one cache."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eyasd.core.jobdir import PROGRESS
from eyasd.core.preprocess import Preprocess, load_image
from eyasd.core.tasks import SharedCache
from eyasd.training.data import cache
from eyasd.training.data.cache import Pictures, decode
from eyasd.training.data.listing import File
from eyasd.training.journal import FINE_TUNE_SHARES, Journal

SPEC = Preprocess(crop_px=16, crop_fraction=0.875)
Squares = Callable[..., Path]


@dataclass
class Jobs:
    """Jobs with one cache, each in a folder of its own; what they read and decoded is counted."""

    folder: Path
    max_bytes: int = 10_000_000
    read: int = 0
    decoded: int = 0
    made: list[Path] = field(default_factory=list)

    @property
    def shared(self) -> Path:
        return self.folder / "cache"

    def decode(self, files: tuple[File, ...], spec: Preprocess = SPEC) -> Pictures:
        """Runs a job; the counts are those of this one alone."""
        self.read = self.decoded = 0
        job_dir = self.folder / f"job-{len(self.made)}"
        job_dir.mkdir()
        self.made.append(job_dir)
        return decode(files, spec, job_dir, self.settings, self.journal(job_dir))

    @property
    def settings(self) -> SharedCache:
        return SharedCache(str(self.shared), self.max_bytes)

    @staticmethod
    def journal(job_dir: Path) -> Journal:
        journal = Journal(job_dir / PROGRESS, FINE_TUNE_SHARES)
        journal.stage("decode")
        return journal

    def said(self) -> str:
        """Returns what the last job said."""
        return (self.made[-1] / PROGRESS).read_text()

    def shards(self) -> list[Path]:
        return sorted(self.shared.glob("*.pictures"))


@pytest.fixture
def jobs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Jobs:
    made = Jobs(tmp_path / "jobs")
    made.folder.mkdir()

    def counting_read(file: File) -> Any:
        made.read += 1
        return read(file)

    def counting_load(content: bytes, spec: Preprocess) -> Any:
        made.decoded += 1
        return load_image(content, spec)

    read = cache._read
    monkeypatch.setattr(cache, "_read", counting_read)
    monkeypatch.setattr(cache, "load_image", counting_load)
    return made


def is_right(pictures: Pictures, files: tuple[File, ...], spec: Preprocess = SPEC) -> bool:
    """Tells whether the pictures are what the server would see."""
    rows = zip(pictures.images, pictures.entries, files, strict=True)
    return all(e.name == f.name and np.array_equal(row, load_image(f.path.read_bytes(), spec)) for row, e, f in rows)
