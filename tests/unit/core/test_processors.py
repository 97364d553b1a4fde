"""core.processors: a container's quota counts, in either version of the kernel's control groups, and in groups around it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from eyasd.core.processors import cores, cpu_count


@pytest.fixture(autouse=True)
def eight(monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight processors, not numbered from 0."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(4, 12)))


def group(folder: Path, **files: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / f"cpu.{name}").write_text(text)


@pytest.mark.parametrize(
    ("quota", "expected"),
    [("150000 100000\n", 2), ("50000 100000\n", 1), ("max 100000\n", 8), ("6400000 100000\n", 8), ("nonsense", 8)],
)
def test_a_containers_quota_counts(tmp_path: Path, quota: str, expected: int) -> None:
    group(tmp_path, max=quota)
    assert cpu_count(tmp_path, tmp_path / "absent") == expected


@pytest.mark.parametrize(("quota", "expected"), [("300000", 3), ("-1", 8)])
def test_so_does_one_of_version_1(tmp_path: Path, quota: str, expected: int) -> None:
    group(tmp_path / "cpu", cfs_quota_us=quota, cfs_period_us="100000")
    assert cpu_count(tmp_path, tmp_path / "absent") == expected


@pytest.mark.parametrize(("line", "root"), [("0::/pods/eyas\n", ""), ("7:blkio:/\n4:cpu,cpuacct:/pods/eyas\n", "cpu")])
def test_the_tightest_of_the_groups_around_the_process_counts(tmp_path: Path, line: str, root: str) -> None:
    (tmp_path / "own").write_text(line)
    group(tmp_path / root / "pods", max="200000 100000")
    group(tmp_path / root / "pods" / "eyas", max="500000 100000")
    group(tmp_path / root / "pods" / "other", max="100000 100000")
    assert cpu_count(tmp_path, tmp_path / "own") == 2


def test_without_control_groups_the_affinity_counts(tmp_path: Path) -> None:
    assert cpu_count(tmp_path / "absent", tmp_path / "absent") == 8
    assert cores() == (4, 5, 6, 7, 8, 9, 10, 11)
