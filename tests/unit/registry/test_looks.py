"""Looks at test splits are counted, each once, and are kept."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from builders import evaluation, write_bundle
from eyasd.core import document
from eyasd.core.promotion import Policy
from eyasd.registry.looks import Look, Looks
from eyasd.registry.models import Models
from eyasd.storage.local import LocalStore


def test_each_scoring_counts_once(models: Models, tmp_path: Path) -> None:
    for version, job in ((1, "a"), (1, "b"), (2, "b"), (2, "b")):
        models.looks.add("colours", "s1", version, job)
    models.looks.add("colours", "s2", 1, "a")
    models.looks.add("colours", "", 1, "a")
    assert [models.looks.count("colours", split) for split in ("s1", "s2", "s3", "")] == [3, 1, 0, 0]
    assert models.looks.count("other", "s1") == 0
    look = document.load(Look, (tmp_path / "models/colours/looks/s1/2-b.json").read_bytes())
    assert (look.version, look.job) == (2, "b")


def test_of_many_at_once_each_counts(tmp_path: Path) -> None:
    """Of 200 scorings, each taken down by two daemons at the same moment, through stores of their own."""
    looks = [Looks(LocalStore(tmp_path)) for _ in range(2)]
    with ThreadPoolExecutor(16) as pool:
        for number in range(200):
            for one in looks:
                pool.submit(one.add, "colours", "s", number % 5, f"job{number}")
    assert looks[0].count("colours", "s") == 200


def test_looks_outlive_their_version(models: Models, tmp_path: Path) -> None:
    models.publish("colours", write_bundle(tmp_path / "b"), "job1")
    models.looks.add("colours", "s", 1, "job1")
    models.delete("colours", 1, timedelta(0))
    assert models.looks.count("colours", "s") == 1


def test_the_evidence_of_a_promotion_says_how_often(models: Models, tmp_path: Path) -> None:
    models.policies.set("colours", Policy(aliases=("production",), at_least={"accuracy": 0.5}, at_most={}), actor="ann")
    for number in (1, 2):
        job = f"job{number}"
        scored = replace(evaluation(), test_split="s")
        models.publish("colours", write_bundle(tmp_path / job, job=job, evaluation=scored), job)
        models.looks.add("colours", "s", number, job)
        record = models.promote("colours", "production", number, actor="ann", reason="")
        times = "1 time" if number == 1 else "2 times"
        assert record.evidence == (
            "accuracy is 0.9000, at least 0.5 is demanded",
            f"its test split has been looked at {times}",
        )
