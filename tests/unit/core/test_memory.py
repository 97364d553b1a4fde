"""core.memory: a container's limit counts, in either version of the kernel's control groups."""

from __future__ import annotations

from pathlib import Path

import pytest

from eyasd.core.memory import free_bytes, memory_bytes


@pytest.mark.parametrize(("root", "name"), [("", "memory.max"), ("memory", "memory.limit_in_bytes")])
def test_the_tightest_limit_around_the_process_counts(tmp_path: Path, root: str, name: str) -> None:
    (tmp_path / "own").write_text("0::/pods/eyas\n" if not root else "4:memory:/pods/eyas\n")
    for part, limit in (("pods", "2000000"), ("pods/eyas", "1000000"), ("pods/other", "10")):
        (tmp_path / root / part).mkdir(parents=True)
        (tmp_path / root / part / name).write_text(f"{limit}\n")
    assert memory_bytes(tmp_path, tmp_path / "own") == 1_000_000


def test_without_a_limit_it_is_the_machine_s(tmp_path: Path) -> None:
    machine = memory_bytes(tmp_path, tmp_path / "absent")
    assert machine > 10**8
    (tmp_path / "memory.max").write_text("max\n")
    assert memory_bytes(tmp_path, tmp_path / "absent") == machine
    (tmp_path / "memory.max").write_text(f"{2**63 - 4096}\n")  # how version 1 says that there is none
    assert memory_bytes(tmp_path, tmp_path / "absent") == machine


@pytest.mark.parametrize(
    ("root", "limit", "used", "files"),
    [
        ("", "memory.max", "memory.current", "inactive_file"),
        ("memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ],
)
def test_what_a_container_could_still_use_is_free_files_that_can_be_read_again_among_it(
    tmp_path: Path, root: str, limit: str, used: str, files: str
) -> None:
    (tmp_path / "own").write_text("0::/pod\n" if not root else "4:memory:/pod\n")
    (tmp_path / root / "pod").mkdir(parents=True)
    for name, said in ((limit, "1000000"), (used, "700000"), ("memory.stat", f"anon 5\n{files} 50000")):
        (tmp_path / root / "pod" / name).write_text(f"{said}\n")
    assert free_bytes(tmp_path, tmp_path / "own") == 350_000
    (tmp_path / root / "pod" / used).write_text("2000000\n")
    assert free_bytes(tmp_path, tmp_path / "own") == 0


def test_without_a_container_what_the_machine_has_left_is_free(tmp_path: Path) -> None:
    assert 0 < free_bytes(tmp_path, tmp_path / "absent") < memory_bytes(tmp_path, tmp_path / "absent")
