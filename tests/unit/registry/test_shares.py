"""registry.shares: what one caller sends and makes leaves room for the others."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from eyasd.core.errors import QuotaExceeded
from eyasd.registry import shares as module
from eyasd.registry.datasets import Datasets
from eyasd.registry.shares import Share, Shares
from uploads import manifest, open_uploads, put

LIST = len(manifest({"a.jpg": b"x" * 600}))  # which is content, too


@pytest.fixture
def datasets(tmp_path: Path) -> Datasets:
    return open_uploads(tmp_path)


def of(shares: Shares, name: str) -> Share:
    return shares.of(f"token:{name}", name, lambda actor: actor == name)


def make(datasets: Datasets, shares: Shares, name: str, dataset: str, content: bytes) -> None:
    datasets.create(dataset, put(datasets, {"a.jpg": content}), name, of(shares, name).made)


def test_datasets_and_what_is_sent_for_others_are_a_callers_share(datasets: Datasets) -> None:
    shares = Shares(datasets, 1000, timedelta(days=7))
    of(shares, "ann").send(600 + LIST)
    make(datasets, shares, "ann", "hats", b"x" * 600)  # of which what was sent is a part now
    left = 400 - LIST
    of(shares, "ann").check(left)
    with pytest.raises(
        QuotaExceeded, match=f"of ann may take 1,000 bytes: {600 + LIST} are taken, and {left + 1} more do not"
    ) as full:
        of(shares, "ann").check(left + 1)
    assert full.value.metadata["owner"] == "ann"
    of(shares, "ann").send(left - 10)
    with pytest.raises(QuotaExceeded, match=f"taken, {left - 10} were sent within 7 days and are in none, and 11 more do not fit"):
        of(shares, "ann").send(11)
    of(shares, "ann").send(10)  # what was refused is not counted
    with pytest.raises(QuotaExceeded):
        make(datasets, shares, "ann", "shirts", b"y" * (left - LIST + 1))
    assert datasets.names() == ["hats"]
    make(datasets, shares, "bob", "shirts", b"z" * (1000 - LIST))  # who has a share of his own
    make(datasets, shares, "ann", "hats", b"x" * 600)  # is there already, so it takes nothing


def test_a_small_dataset_makes_no_room_for_what_is_in_none(datasets: Datasets) -> None:
    shares = Shares(datasets, 1000, timedelta(days=7))
    of(shares, "ann").send(900)
    make(datasets, shares, "ann", "hats", b"x")
    made = 1 + len(manifest({"a.jpg": b"x"}))
    with pytest.raises(QuotaExceeded, match=f"{made} are taken, {900 - made} were sent"):
        of(shares, "ann").send(101)
    of(shares, "ann").send(100)


def test_what_was_sent_is_forgotten_when_it_is_not_kept_any_more(datasets: Datasets, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_CALLERS", 50)
    seconds = 1000.0
    shares = Shares(datasets, 100, timedelta(days=1), lambda: seconds)
    of(shares, "ann").send(100)
    seconds += 86_399
    with pytest.raises(QuotaExceeded):
        of(shares, "ann").send(1)
    seconds += 1
    of(shares, "ann").send(1)
    for number in range(200):
        of(shares, f"caller{number}").send(1)
    assert len(shares._sent) == 50


def test_without_a_bound_nothing_is_counted(datasets: Datasets) -> None:
    shares = Shares(datasets, 0, timedelta(days=1))
    of(shares, "ann").send(10**15)
    make(datasets, shares, "ann", "hats", b"x")
    assert len(shares._sent) == 0
