"""Who may report what: the token of an attempt is good for it alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from eyasd.jobs.permits import Permits, kept_key


def test_a_token_names_its_job_and_attempt() -> None:
    permits = Permits(b"a key of some length")
    assert permits.read(permits.make("0a1b", 3)) == ("0a1b", 3)


@pytest.mark.parametrize(("old", "new"), [(".3.", ".4."), ("0a1b", "0a1c"), ("job.", "jobs."), (".3.", ".03."), (".3.", ".³.")])
def test_one_that_was_changed_is_none(old: str, new: str) -> None:
    permits = Permits(b"a key of some length")
    assert permits.read(permits.make("0a1b", 3).replace(old, new)) is None


def test_one_of_another_key_is_none() -> None:
    assert Permits(b"one").read(Permits(b"other").make("j", 1)) is None
    assert Permits(b"one").read("") is None


def test_a_key_is_made_once_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "report.key"
    key = kept_key(path)
    assert len(key) == 32
    assert kept_key(path) == key
    assert path.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["report.key"]
