"""core.document: what is written is read again, and what is foreign is refused."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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


def test_a_key_twice_is_looked_for_in_one_pass() -> None:
    """With a pass for each key it took 5 s for 20,000 of them, and hours for as many as a manifest has room for."""
    once = iter([*map(str, range(1_000)), "999", "998"])
    assert document.twice(once) == "999"
    assert next(once) == "998"
    with pytest.raises(ValueError, match="the key 'b' is there twice"):
        document.parse('{"a": 1, "b": 2, "b": 3}')


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
        ({"create_time": "2026-01-02T03:04:05"}, "Job.create_time must be a time with its offset from UTC"),
        ({"create_time": "0001-01-01T00:00:00+14:00"}, "Job.create_time must be a time of the years 1 to 9999 in UTC"),
        ({"attempt": True}, "Job.attempt must be of type int"),
        ({"attempt": 2**63}, "Job.attempt must be a number of 64 bits"),
        ({"model": "\ud800"}, "Job.model must be text"),
        ({"spec": {"dropout": 10**400}}, "Job.spec.dropout must be a number of 64 bits"),
        ({"spec": {"dropout": float("nan")}}, "NaN is no number"),
        ({"spec": {"dropout": float("-inf")}}, "-Infinity is no number"),
        ({"spec": {"budget": 1e12}}, "Job.spec.budget must be at most 315,576,000,000 seconds"),
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


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"{", "Expecting"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a":' * 100_000, "nested too deeply"),
        (b'{"id": "a", "id": "b"}', "the key 'id' is there twice"),
        (b'{"spec": {"seed": 1, "seed": 1}}', "the key 'seed' is there twice"),
        (b'{"attempt": ' + b"9" * 5000 + b"}", "4300 digits"),
        (b"[]", "Job must be an object"),
        (b"\xff\xfe{", "utf-16"),
    ],
)
def test_what_is_no_such_json_is_refused(text: bytes, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        document.load(Job, text)


def test_a_number_beyond_every_number_is_refused() -> None:
    text = document.dump(job()).replace('"dropout": 0.3', '"dropout": 1e999')
    with pytest.raises(ValueError, match=r"Job\.spec\.dropout must be finite"):
        document.load(Job, text)


PLAIN = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
NESTED = st.recursive(
    PLAIN, lambda one: st.lists(one, max_size=3) | st.dictionaries(st.text(max_size=3), one, max_size=3), max_leaves=5
)


@settings(max_examples=60)
@given(NESTED, st.sampled_from(sorted(json.loads(document.dump(job())))))
def test_any_value_anywhere_is_of_its_type_or_refused(value: object, field: str) -> None:
    text = json.dumps(json.loads(document.dump(job())) | {field: value})
    try:
        loaded = document.load(Job, text)
    except ValueError:
        return
    assert document.load(Job, document.dump(loaded)) == loaded


def test_nan_is_not_written() -> None:
    @dataclass
    class Figure:
        value: float

    with pytest.raises(ValueError, match="not JSON compliant"):
        document.dump(Figure(float("nan")))
