"""A folder of very many tiny files: how long a trainer lists it, in how much memory, and what it says meanwhile."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.faults.conftest import Tell

from eyasd.core.tasks import Sources
from eyasd.training.data import dataset
from eyasd.training.data.dataset import open_dataset
from eyasd.training.journal import EVALUATION_SHARES, Interrupted, Journal

# Of a file in a listing; 520 were measured.
MOST_BYTES = 800
_LISTS = """
import resource, sys, time
from pathlib import Path
from eyasd.core.tasks import Sources
from eyasd.training.data.dataset import open_dataset
from eyasd.training.journal import EVALUATION_SHARES, Journal
before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
found = open_dataset(sys.argv[1], Path(sys.argv[2]), Journal(Path(sys.argv[2], "progress.jsonl"), EVALUATION_SHARES), Sources())
print(len(found.files), time.monotonic() - start, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024)
"""


@pytest.fixture
def many(tmp_path: Path, all_faults: bool) -> Iterator[Path]:
    """A million names in ten folders, and a few files behind them; or a few thousand."""
    mount = tmp_path / "many"
    mount.mkdir()
    if all_faults:
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1g,nr_inodes=2m", "tmpfs", mount], check=True)
    (mount / "one").write_bytes(b"x")
    for label in range(10):
        (mount / "data" / str(label)).mkdir(parents=True)
        for number in range(100_000 if all_faults else 2000):
            os.link(mount / "one", mount / "data" / str(label) / f"{number:06}.jpg")
    yield mount / "data"
    if all_faults:
        subprocess.run(["umount", "--lazy", mount], check=True)


def test_very_many_files_take_a_bounded_memory_and_are_told_of(many: Path, tmp_path: Path, all_faults: bool, tell: Tell) -> None:
    done = subprocess.run([sys.executable, "-c", _LISTS, many, tmp_path], capture_output=True, text=True, check=True)
    files, seconds, size_bytes = int(done.stdout.split()[0]), *map(float, done.stdout.split()[1:])
    assert files == (1_000_000 if all_faults else 20_000)
    assert size_bytes < files * MOST_BYTES + 20_000_000
    said = (tmp_path / "progress.jsonl").read_text()
    assert said.count("files so far.") == files // 100_000
    tell(f"a folder of {files:,} tiny files is listed: {seconds:.0f} s, {size_bytes / 1e6:.0f} MB", "1", "0")


def test_the_listing_stops_when_it_is_told_to_and_has_a_limit(many: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(tmp_path / "progress.jsonl", EVALUATION_SHARES)
    monkeypatch.setattr(dataset, "MAX_ROWS", 15_000)
    with pytest.raises(dataset.BadDataset, match="The dataset holds more than 15,000 files: make several datasets of it"):
        open_dataset(str(many), tmp_path, journal, Sources())
    journal.moves, before = 0, journal.check

    def check() -> None:
        if journal.moves == 5:
            journal.stop()
        before()

    monkeypatch.setattr(journal, "check", check)
    with pytest.raises(Interrupted):
        open_dataset(str(many), tmp_path, journal, Sources())
    assert journal.moves == 6
