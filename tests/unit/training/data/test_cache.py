"""Pictures are decoded once, by the one definition of preprocessing, for all jobs."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eyasd.core.jobdir import PROGRESS
from eyasd.core.preprocess import MAX_ENCODED_BYTES, Preprocess, load_image
from eyasd.core.tasks import SharedCache
from eyasd.training.data import cache, shelf
from eyasd.training.data.cache import Pictures, decode
from eyasd.training.data.listing import File, list_files
from eyasd.training.journal import FINE_TUNE_SHARES, Interrupted, Journal

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


def test_rows_are_what_the_server_would_see(squares: Squares, jobs: Jobs) -> None:
    files = list_files(squares()).files
    pictures = jobs.decode(files)
    assert pictures.images.shape == (36, 16, 16, 3)
    assert is_right(pictures, files)
    assert jobs.decoded == 36


def test_a_later_attempt_decodes_nothing(squares: Squares, journal: Journal, tmp_path: Path, jobs: Jobs) -> None:
    files = list_files(squares()).files
    first = decode(files, SPEC, tmp_path, None, journal)
    jobs.read = 0
    again = decode(files, SPEC, tmp_path, None, journal)
    assert jobs.read == 0
    assert again.entries == first.entries
    assert np.array_equal(again.images, first.images)
    assert "Took 36 of 36 decoded pictures" in (tmp_path / PROGRESS).read_text()


def test_another_job_reads_and_decodes_nothing(squares: Squares, jobs: Jobs) -> None:
    files = list_files(squares()).files
    first = jobs.decode(files)
    again = jobs.decode(files)
    assert (jobs.read, jobs.decoded) == (0, 0)
    assert again.entries == first.entries
    assert is_right(again, files)
    assert [path.name for path in jobs.made[-1].iterdir()] == [PROGRESS]


def test_a_touched_file_is_read_but_not_decoded(squares: Squares, jobs: Jobs) -> None:
    files = list_files(squares()).files
    jobs.decode(files)
    os.utime(files[3].path, ns=(1, 1))
    assert is_right(jobs.decode(files), files)
    assert (jobs.read, jobs.decoded) == (1, 0)
    jobs.decode(files)
    assert jobs.read == 0


def test_a_copy_of_the_dataset_is_not_decoded(squares: Squares, jobs: Jobs, tmp_path: Path) -> None:
    root = squares()
    jobs.decode(list_files(root).files)
    shutil.copytree(root, tmp_path / "copy")
    (tmp_path / "copy" / "red").rename(tmp_path / "copy" / "violet")
    files = list_files(tmp_path / "copy").files
    assert is_right(jobs.decode(files), files)
    assert (jobs.read, jobs.decoded) == (36, 0)


def test_only_what_is_new_is_decoded(squares: Squares, jobs: Jobs) -> None:
    root = squares()
    before = list_files(root).files
    jobs.decode(before)
    (root / "blue" / "new.png").write_bytes(before[-1].path.read_bytes() + b"\0")  # another file, the same picture
    before[5].path.unlink()
    after = list_files(root).files
    assert is_right(jobs.decode(after), after)
    assert (jobs.read, jobs.decoded) == (1, 1)
    assert "Took 35 of 36 decoded pictures" in jobs.said()


def test_a_changed_file_is_decoded_anew(squares: Squares, jobs: Jobs) -> None:
    files = list_files(squares()).files
    jobs.decode(files)
    status = files[0].path.stat()
    files[0].path.write_bytes(files[0].path.read_bytes()[:-1] + b"\1")  # of the same size
    os.utime(files[0].path, ns=(status.st_atime_ns, status.st_mtime_ns))  # and the same age
    assert is_right(jobs.decode(files), files)
    assert (jobs.read, jobs.decoded) == (1, 1)


def test_other_preprocessing_shares_digests_but_no_pixels(squares: Squares, jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    files = list_files(squares()).files
    jobs.decode(files)
    other = Preprocess(crop_px=8)
    assert is_right(jobs.decode(files, other), files, other)
    assert jobs.decoded == 36
    monkeypatch.setattr(cache, "_CODE", "another version")
    jobs.decode(files)
    assert jobs.decoded == 36
    assert len(jobs.shards()) == 3


def test_what_is_no_picture_is_remembered_and_what_cannot_be_read_is_tried_again(squares: Squares, jobs: Jobs) -> None:
    root = squares()
    (root / "red" / "broken.png").write_text("no picture")
    (root / "red" / "link.png").symlink_to(root / "later.png")
    files = (*list_files(root).files, File(root / "red" / "link.png", "red/link.png", ("red",), None))
    first = jobs.decode(files)
    problems = {entry.name: entry.problem for entry in first.entries if entry.problem}
    assert problems.keys() == {"red/broken.png", "red/link.png"}
    assert problems["red/link.png"] == "The file cannot be read: No such file or directory."
    again = jobs.decode(files)
    assert (jobs.read, jobs.decoded) == (1, 0)
    assert again.entries == first.entries
    shutil.copy(root / "blue" / "025.png", root / "later.png")
    entry = jobs.decode(files).entries[-1]
    assert (entry.problem, jobs.decoded) == ("", 0)  # its content is known from another file


def test_want_of_memory_is_not_remembered(squares: Squares, jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    files = list_files(squares()).files

    def fail(*_: object) -> None:
        raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr("eyasd.core.preprocess._decode", fail)
        assert all(entry.problem for entry in jobs.decode(files).entries)
    assert is_right(jobs.decode(files), files)


@pytest.mark.parametrize("damage", ["cut", "emptied", "overwritten", "removed"])
def test_what_is_damaged_is_decoded_again(squares: Squares, jobs: Jobs, damage: str) -> None:
    files = list_files(squares()).files
    jobs.decode(files)
    for path in jobs.shared.iterdir():
        content = path.read_bytes()
        path.unlink()
        if damage != "removed":
            path.write_bytes({"cut": content[:-1], "emptied": b"", "overwritten": content[:-99] + 99 * b"{"}[damage])
    assert is_right(jobs.decode(files), files)
    assert jobs.decoded == 36
    assert is_right(jobs.decode(files), files)
    assert (jobs.read, jobs.decoded) == (0, 0)


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


def test_a_cache_that_cannot_be_written_is_done_without(squares: Squares, jobs: Jobs) -> None:
    jobs.shared.write_text("a file, not a folder")
    files = list_files(squares()).files
    assert is_right(jobs.decode(files), files)
    assert "for this job alone, as the shared cache could not take them: File exists." in jobs.said()


def test_the_cache_is_its_owners_alone(squares: Squares, jobs: Jobs) -> None:
    jobs.decode(list_files(squares()).files)
    assert jobs.shared.stat().st_mode & 0o077 == 0


def test_a_huge_file_is_refused_unread(squares: Squares, jobs: Jobs) -> None:
    root = squares()
    with (root / "red" / "film.mp4").open("wb") as film:
        film.truncate(MAX_ENCODED_BYTES + 1)
    entry = next(e for e in jobs.decode(list_files(root).files).entries if e.name == "red/film.mp4")
    assert entry.sha256 == ""
    assert "20,000,001 bytes" in entry.problem


def test_a_file_that_may_not_be_read_is_named(squares: Squares, jobs: Jobs) -> None:
    root = squares()
    (root / "red" / "gone.png").symlink_to(root / "red" / "001.png")
    files = list_files(root).files
    (root / "red" / "001.png").unlink()
    problems = [entry for entry in jobs.decode(files).entries if entry.problem]
    assert [entry.name for entry in problems] == ["red/001.png", "red/gone.png"]
    assert problems[0].problem == "The file cannot be read: No such file or directory."


def test_what_is_no_file_is_never_read(jobs: Jobs, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    files = tuple(File(path, path.name, ("red",), None) for path in (tmp_path / "pipe", tmp_path, Path("/dev/zero")))
    assert {entry.problem for entry in jobs.decode(files).entries} == {"The file cannot be read: it is not a file."}


def test_decoding_stops_when_asked(squares: Squares, journal: Journal, tmp_path: Path) -> None:
    journal.stop()
    with pytest.raises(Interrupted):
        decode(list_files(squares()).files, SPEC, tmp_path, None, journal)
    assert list((tmp_path / "pictures").iterdir()) == [tmp_path / "pictures" / "lock"]
