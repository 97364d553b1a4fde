"""What the program knows of its machine."""

from __future__ import annotations

import os
import platform
from pathlib import Path

import pytest

from eyasd.training.machine import cpu_name, tuned_environment


def test_the_processors_have_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0})
    (tmp_path / "cpuinfo").write_text("processor\t: 0\nmodel name\t: A Fast One @ 3 GHz\nprocessor\t: 1\nmodel name\t: Another\n")
    assert cpu_name(tmp_path / "cpuinfo") == "A Fast One @ 3 GHz, 1 thread"
    (tmp_path / "plain").write_text("Features: none\n")
    assert cpu_name(tmp_path / "plain") == cpu_name(tmp_path / "absent") == f"{platform.machine()}, 1 thread"


def test_the_environment_is_tuned_once_and_the_operators_word_is_kept() -> None:
    tuned = tuned_environment({"PATH": "/bin", "OMP_WAIT_POLICY": "ACTIVE"})
    assert tuned["PATH"] == "/bin"
    assert tuned["OMP_WAIT_POLICY"] == "ACTIVE"
    assert "GLIBC_TUNABLES" in tuned
    assert tuned_environment(tuned) == tuned
