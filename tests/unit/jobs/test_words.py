"""jobs.words: what is said of a program that ended, of all that it has printed."""

from __future__ import annotations

from pathlib import Path

import pytest

from eyasd.jobs import words

TRACEBACK = "ready\nTraceback (most recent call last):\n  File x\n    y\n"
CUDA = f"""{TRACEBACK}torch.AcceleratorError: CUDA error: an illegal memory access was encountered
Search for `cudaErrorIllegalAddress' for more information.
CUDA kernel errors might be asynchronously reported at some other API call, so the stacktrace below might be incorrect.
For debugging consider passing CUDA_LAUNCH_BLOCKING=1
Device-side assertion tracking was not enabled by user.
"""
TORCHRUN = """[rank0]: Traceback (most recent call last):
[rank0]:   File "x.py", line 1, in <module>
[rank0]: RuntimeError: the roof is on fire
E1126 07:00:00.000000 1 torch/distributed/elastic/multiprocessing/api.py:874] failed (exitcode: 1) local_rank: 0 (pid: 7)
Traceback (most recent call last):
  File "/usr/local/bin/torchrun", line 8, in <module>
torch.distributed.elastic.multiprocessing.errors.ChildFailedError:
============================================================
"""
NO_MEMORY = "cannot allocate memory for thread-local data: ABORT"
ILLEGAL = "torch.AcceleratorError: CUDA error: an illegal memory access was encountered"


@pytest.mark.parametrize(
    ("log", "found"),
    [
        ("", ""),
        ("all is well\n", ""),
        (f"{TRACEBACK}ValueError: no\nsuch thing\n", "ValueError: no"),
        (CUDA, ILLEGAL),
        (TORCHRUN, "RuntimeError: the roof is on fire"),
    ],
)
def test_the_exception_is_found_before_what_follows_it(log: str, found: str) -> None:
    assert words.exception(log) == found


@pytest.mark.parametrize(
    ("log", "status", "found"),
    [
        (CUDA, 1, ILLEGAL),
        (TORCHRUN, 1, "RuntimeError: the roof is on fire"),
        (f"{CUDA}Attempt 2\nImportError: libtorch_cpu.so: failed to map\n", 1, "ImportError: libtorch_cpu.so: failed to map"),
        (
            f"{CUDA}{NO_MEMORY}\n",
            127,
            NO_MEMORY,
        ),
        (f"{CUDA}s3://photos could not be used.\n\n", 75, "s3://photos could not be used."),
        ("no exception\n", 1, "no exception"),
        ("", 1, "it left no word."),
    ],
)
def test_the_last_words_are_those_of_the_last_attempt(tmp_path: Path, log: str, status: int, found: str) -> None:
    (tmp_path / "log").write_text(log)
    assert words.last_words(tmp_path / "log", status) == found


def test_of_a_long_log_the_end_is_read(tmp_path: Path) -> None:
    assert words.last_words(tmp_path / "log", None) == "it left no word."
    (tmp_path / "log").write_text(f"{CUDA}{100_000 * 'x'}\nlast\n")
    assert (words.last_words(tmp_path / "log", 1), words.last_line(tmp_path / "log")) == ("last", "last")
