"""What is read of processes, and that planted leaks are found in it: each sample is taken when the process has done its work."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from builders import picture
from soak.samples import Process, by_role, family, shared_memory, size
from soak.verdict import Word, judge
from trainers import TESTS

DECODES = """
import sys
import leaks
for what in sys.argv[3:]:
    leaks.leak(what)
from eyasd.core.preprocess import Preprocess, load_image
encoded = open(sys.argv[1], "rb").read()
for line in sys.stdin:
    for _ in range(4):
        load_image(encoded, Preprocess(crop_px=32))
    print("done", flush=True)
"""


@contextmanager
def decoder(folder: Path, *leak: str) -> Iterator[subprocess.Popen[str]]:
    """A process that decodes pictures when it is told to, as an acceptor does."""
    (folder / "picture").write_bytes(picture())
    path = os.pathsep.join([str(TESTS / "faults" / "programs"), str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])])
    command = [sys.executable, "-c", DECODES, folder / "picture", "eyasd.acceptor", *leak]
    environment = os.environ | {"PYTHONPATH": path}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment) as process:
        yield process
        process.stdin.close()  # type: ignore[union-attr] - which ends it


def seen(process: subprocess.Popen[str]) -> Process:
    """Returns what a process holds when it has decoded once more."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write("again\n")
    process.stdin.flush()
    assert process.stdout.readline() == "done\n"
    return next(iter(family(process.pid)))


HOLDS = {
    "memory": lambda process: process.anonymous / 1e6,
    "descriptors": lambda process: process.files,
    "threads": lambda process: process.threads,
    "shared-memory": lambda _: len([*Path("/dev/shm").glob("eyas-soak-*")]),  # noqa: S108 - it is looked at
}
SECONDS = np.arange(90) * 40.0


@pytest.mark.parametrize("planted", [True, False])
def test_planted_leaks_are_found_and_without_them_there_are_none(planted: bool, tmp_path: Path) -> None:
    found = {name: [] for name in HOLDS}
    with decoder(tmp_path, *(HOLDS if planted else ())) as process:
        for _ in SECONDS:
            one = seen(process)
            for name, count in HOLDS.items():
                found[name].append(count(one))
    words = {name: judge(SECONDS, held, allowed=4).word for name, held in found.items()}
    assert words == dict.fromkeys(HOLDS, Word.GROWS if planted else Word.FLAT)


def test_processes_are_known_by_their_roles(tmp_path: Path) -> None:
    with decoder(tmp_path) as process:
        mine = seen(process)
        roles = by_role(os.getpid(), process.pid)
        assert [one.pid for one in roles["supervisor"]] == [os.getpid()]
        assert [one.pid for one in roles["trainer"]] == [process.pid]
        assert process.pid in {one.pid for one in roles["acceptor 1"] + roles["acceptor 2"]}
    assert mine.anonymous <= mine.rss
    assert mine.pss <= mine.rss
    assert mine.files >= 3
    assert mine.cpu > 0
    assert list(family(process.pid)) == []


APART = """
import apart, sys
apart.have_own_shared_memory()
with open("/dev/shm/eyas-soak-apart", "wb") as file:
    file.write(b"12345")
print("done", flush=True)
sys.stdin.read()
"""


def test_shared_memory_is_that_of_the_daemon_where_it_may_have_its_own() -> None:
    path = {"PYTHONPATH": str(TESTS / "faults" / "programs")}
    command = [sys.executable, "-c", APART]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=os.environ | path) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "done\n"
        files, total = shared_memory(process.pid, process.pid)
        shared = Path("/dev/shm/eyas-soak-apart")  # noqa: S108 - as the process has it
        if shared.exists():
            shared.unlink()
            assert files >= 1
        else:
            assert (files, total) == (1, 5)
        process.communicate("")


def test_files_are_counted_with_those_below(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "b").write_bytes(b"xyz")
    (tmp_path / "c").write_bytes(b"x")
    assert size(tmp_path) == (2, 4)
    assert size(tmp_path / "nowhere") == (0, 0)
