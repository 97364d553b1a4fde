"""core.document: what is written is read again, and what is foreign is refused."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from eyasd.core import bundle, document
from eyasd.core.bundle import Manifest
from eyasd.core.jobs import Job, JobState, JobType, Progress
from eyasd.core.spec import Optimizer, TrainSpec


def job() -> Job:
    spec = TrainSpec(budget=timedelta(minutes=3), dropout=0.3, optimizer=Optimizer.SGD)
    progress = Progress(stage="fine-tune", time_left=timedelta(seconds=1.5))
    return Job(
        id="a",
        type=JobType.TRAINING,
        state=JobState.RUNNING,
        create_time=datetime.now(UTC),
        model="m",
        dataset="/é",
        spec=spec,
        progress=progress,
    )


def test_a_job_survives_the_trip() -> None:
    made = job()
    assert document.load(Job, document.dump(made)) == made


def test_a_manifest_survives_the_trip(tiny_bundle: Path) -> None:
    manifest = bundle.read_manifest((tiny_bundle / bundle.MANIFEST).read_bytes())
    assert document.load(Manifest, document.dump(manifest)) == manifest


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"surprise": 1}, "unknown keys"),
        ({"model": 3}, "Job.model must be of type str"),
        ({"model": None}, "Job.model"),
        ({"state": "asleep"}, "asleep"),
        ({"spec": []}, "Job.spec must be an object"),
        ({"create_time": 5}, "Job.create_time must be a time"),
        ({"attempt": True}, "Job.attempt must be of type int"),
    ],
)
def test_a_foreign_value_is_refused_by_its_place(change: dict[str, object], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        document.load(Job, json.dumps(json.loads(document.dump(job())) | change))


def test_a_missing_field_is_named() -> None:
    data = json.loads(document.dump(job()))
    del data["dataset"]
    with pytest.raises(ValueError, match=r"Job\.dataset must be present"):
        document.load(Job, json.dumps(data))


def test_what_is_no_json_is_refused() -> None:
    with pytest.raises(ValueError, match="Expecting"):
        document.load(Job, b"{")


def test_nan_is_not_written() -> None:
    @dataclass
    class Figure:
        value: float

    with pytest.raises(ValueError, match="not JSON compliant"):
        document.dump(Figure(float("nan")))
