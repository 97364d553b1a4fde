"""Jobs that share decoded pictures: at once, killed, and where there is no room for all."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eyasd.core.jobdir import PROGRESS
from eyasd.core.preprocess import Preprocess
from eyasd.training.data import cache, shelf
from eyasd.training.data.cache import decode
from eyasd.training.data.listing import list_files
from eyasd.training.journal import FINE_TUNE_SHARES, Interrupted, Journal

from .conftest import SPEC, Jobs, Squares, is_right

KILLED = """
import os
import sys
from pathlib import Path
from eyasd.core.preprocess import Preprocess, load_image
from eyasd.core.tasks import SharedCache
from eyasd.training.data import cache
from eyasd.training.journal import FINE_TUNE_SHARES, Journal
from eyasd.training.data.listing import list_files

data, shared, job_dir, count = sys.argv[1:]
seen = []

def load(content, spec):
    seen.append(1)
    if len(seen) > int(count):
        os.write(1, b"half\\n")  # at once, as two threads may come here
        sys.stdin.read()
    return load_image(content, spec)

cache.load_image = load
journal = Journal(Path(job_dir) / "progress.jsonl", FINE_TUNE_SHARES)
journal.stage("decode")
cache.decode(
    list_files(Path(data)).files, Preprocess(crop_px=16, crop_fraction=0.875), Path(job_dir),
    SharedCache(shared, 10_000_000), journal,
)
print("done", flush=True)
sys.stdin.read()
"""


@contextmanager
def started(jobs: Jobs, data: Path, count: int) -> Iterator[str]:
    """Starts a job in a process of its own that stops after so many pictures; gives its first word, and kills it at the end."""
    job_dir = jobs.folder / f"process-{count}"
    job_dir.mkdir()
    arguments = [sys.executable, "-c", KILLED, str(data), str(jobs.shared), str(job_dir), str(count)]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process.stdout.readline()
        finally:
            process.kill()


def test_a_job_that_is_killed_while_it_writes_leaves_nothing_that_is_taken(squares: Squares, jobs: Jobs) -> None:
    data = squares()
    with started(jobs, data, 20) as said:
        assert said == "half\n"
    assert jobs.shards() == []
    assert len(list(jobs.shared.glob(".*.draft"))) == 1
    files = list_files(data).files
    assert is_right(jobs.decode(files), files)
    assert jobs.decoded == 36
    assert list(jobs.shared.glob(".*.draft")) == []


def test_a_job_that_is_killed_later_loses_nothing(squares: Squares, jobs: Jobs) -> None:
    data = squares()
    with started(jobs, data, 36) as said:
        assert said == "done\n"
    files = list_files(data).files
    assert is_right(jobs.decode(files), files)
    assert (jobs.read, jobs.decoded) == (0, 0)


def test_of_two_jobs_at_once_one_decodes(squares: Squares, jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    files = list_files(squares()).files
    begun, waits = threading.Event(), threading.Event()
    load = cache.load_image

    def slow_load(content: bytes, spec: Preprocess) -> Any:
        begun.set()
        assert waits.wait(60)
        return load(content, spec)

    class Told(Journal):
        def message(self, text: str) -> None:
            super().message(text)
            waits.set()

    monkeypatch.setattr(cache, "load_image", slow_load)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(jobs.decode, files)
        assert begun.wait(60)
        job_dir = jobs.folder / "second"
        job_dir.mkdir()
        journal = Told(job_dir / PROGRESS, FINE_TUNE_SHARES)
        journal.stage("decode")
        second = decode(files, SPEC, job_dir, jobs.settings, journal)
    assert jobs.decoded == 36
    assert np.array_equal(first.result().images, second.images)
    assert "Waits for another job" in (job_dir / PROGRESS).read_text()


def test_a_job_that_waits_can_be_stopped(squares: Squares, jobs: Jobs) -> None:
    data = squares()
    with started(jobs, data, 1) as said:
        assert said == "half\n"
        journal = Journal(jobs.folder / PROGRESS, FINE_TUNE_SHARES)
        journal.stage("decode")
        journal.stop()
        with pytest.raises(Interrupted):
            decode(list_files(data).files, SPEC, jobs.folder, jobs.settings, journal)


def test_the_least_recently_used_goes_and_never_what_is_in_use(squares: Squares, jobs: Jobs) -> None:
    a, b, c = (list_files(squares({label: 60}, name=f"data-{label}")).files for label in ("red", "green", "blue"))
    jobs.max_bytes = 180_000  # two of them, each of 46 KB and 31 KB set aside for its index, and their notes of 11 KB
    jobs.decode(a)
    jobs.decode(b)
    held = jobs.decode(a)
    jobs.decode(c)
    assert jobs.decode(a).entries == held.entries
    assert jobs.decoded == 0  # it was not the oldest
    jobs.decode(c)
    assert jobs.decoded == 0
    jobs.decode(b)
    assert jobs.decoded == 60
    assert sum(path.stat().st_size for path in jobs.shared.iterdir()) <= jobs.max_bytes
    assert is_right(held, a)


def test_where_all_is_in_use_a_job_decodes_for_itself(squares: Squares, jobs: Jobs) -> None:
    a, b = (list_files(squares({label: 40}, name=f"data-{label}")).files for label in ("red", "blue"))
    jobs.max_bytes = 60_000
    held = jobs.decode(a)
    assert is_right(jobs.decode(b), b)
    assert "for this job alone, as the shared cache could not take them: 0.0 GB are needed" in jobs.said()
    assert (jobs.made[-1] / "pictures").is_dir()
    assert is_right(held, a)
    del held
    assert is_right(jobs.decode(b), b)
    assert "alone" not in jobs.said()


def test_a_full_disk_takes_what_is_not_in_use(squares: Squares, jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = (list_files(squares({label: 40}, name=f"data-{label}")).files for label in ("red", "blue"))
    jobs.decode(a)
    allocate = os.posix_fallocate

    def full(file: int, start: int, length: int) -> None:
        if jobs.shards() and length > 1000:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        allocate(file, start, length)

    monkeypatch.setattr(shelf.os, "posix_fallocate", full)
    assert is_right(jobs.decode(b), b)
    assert "alone" not in jobs.said()
    assert len(jobs.shards()) == 1


LIMITED = """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
"""


def test_a_disk_without_room_is_an_error_and_leaves_nothing(squares: Squares, jobs: Jobs) -> None:
    (jobs.folder / "limited").mkdir()
    arguments = [sys.executable, "-c", LIMITED + KILLED, str(squares()), str(jobs.shared), str(jobs.folder / "limited"), "99"]
    done = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert done.stderr.endswith("OSError: [Errno 27] File too large\n")
    assert (
        "for this job alone, as the shared cache could not take them: File too large."
        in (jobs.folder / "limited" / PROGRESS).read_text()
    )
    assert [path.name for path in jobs.shared.iterdir()] == ["lock"]
