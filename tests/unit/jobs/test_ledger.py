"""jobs.ledger: what is accepted, and what is told of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from eyasd.core.errors import DatasetNotFound, InvalidArgument, JobNotFound, ModelNotFound
from eyasd.core.names import ModelRef
from eyasd.core.spec import TrainSpec
from eyasd.core.types import Job
from fake_trainer import House, follow, train


async def test_what_cannot_be_accepted(house: House) -> None:
    submit = house.ledger.submit_training
    with pytest.raises(InvalidArgument, match="not an absolute path"):
        await submit(model="m", dataset="photos", spec=TrainSpec(), alias=None, request_id=None)
    with pytest.raises(DatasetNotFound, match="no folder '/nowhere/at/all'"):
        await submit(model="m", dataset="/nowhere/at/all", spec=TrainSpec(), alias=None, request_id=None)
    with pytest.raises(ModelNotFound):
        await house.ledger.submit_evaluation(ref=ModelRef("none", version=1), dataset=str(house.photos), request_id=None)
    with pytest.raises(JobNotFound):
        await follow(house, Job(id="x", type="t", create_time=None, model="m", dataset="d"))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["photos.csv", "photos.jsonl", "photos.zip", "photos.tar.gz"])
async def test_a_file_may_be_a_dataset(house: House, tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    dataset = str(tmp_path / name)
    job = await house.ledger.submit_training(model="m", dataset=dataset, spec=TrainSpec(), alias=None, request_id=None)
    assert job.dataset == dataset


async def test_any_other_file_is_refused_at_once(house: House, tmp_path: Path) -> None:
    (tmp_path / "photos.rar").touch()
    with pytest.raises(InvalidArgument, match="photos.rar' is neither a folder, nor a manifest") as caught:
        await house.ledger.submit_training(
            model="m", dataset=str(tmp_path / "photos.rar"), spec=TrainSpec(), alias=None, request_id=None
        )
    assert caught.value.field == "dataset"


async def test_a_repeated_request_is_one_job(house: House) -> None:
    first, second = await train(house, request_id="r"), await train(house, request_id="r")
    assert second.id == first.id  # the job may have begun meanwhile, so the rest of it may differ
    jobs, _ = await house.ledger.page(None, 10)
    assert [job.id for job in jobs] == [first.id]


async def test_a_watch_is_taken_up_where_it_ended(house: House) -> None:
    job = await train(house)
    process = await house.runner.started.get()
    watch = house.ledger.watch(job.id, 1)
    seen = [await anext(watch), await anext(watch)]
    await watch.aclose()  # type: ignore[attr-defined]
    process.succeed()
    rest = await follow(house, job, seen[-1].sequence + 1)
    assert [event.sequence for event in seen + rest] == list(range(1, len(seen + rest) + 1))
    assert await follow(house, job, rest[-1].sequence + 1) == []
