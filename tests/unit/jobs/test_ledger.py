"""jobs.ledger: what is accepted, and what is told of it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
import structlog

from builders import kept_answers, lineage, write_bundle
from eyasd.core import document, jobdir
from eyasd.core.answers import ANSWERS, Split
from eyasd.core.datasets import UploadedDataset
from eyasd.core.errors import (
    DatasetInUse,
    DatasetNotFound,
    InvalidArgument,
    JobNotFound,
    ModelNotFound,
    UploadNotFound,
    VersionNotFound,
)
from eyasd.core.jobs import Job, JobEvent
from eyasd.core.names import DatasetRef, ModelRef
from eyasd.core.promotion import Policy
from eyasd.core.spec import InspectionSpec, Preset, TrainSpec
from eyasd.core.tasks import EvaluationTask
from eyasd.core.variants import Precision
from eyasd.jobs.intake import Intake
from eyasd.jobs.ledger import Ledger
from eyasd.jobs.store import JobStore
from fake_trainer import House, at_work, follow, train
from uploads import upload


async def test_what_cannot_be_accepted(house: House) -> None:
    submit = house.intake.train
    with pytest.raises(InvalidArgument, match="not an absolute path"):
        await submit(model="m", dataset="photos", spec=TrainSpec(), alias=None, request_id=None)
    with pytest.raises(DatasetNotFound, match="no folder '/nowhere/at/all'"):
        await submit(model="m", dataset="/nowhere/at/all", spec=TrainSpec(), alias=None, request_id=None)
    with pytest.raises(ModelNotFound):
        await house.intake.evaluate(ref=ModelRef("none", version=1), dataset=str(house.photos), request_id=None)
    with pytest.raises(JobNotFound):
        await follow(house, Job(id="x", type="t", create_time=None, model="m", dataset="d"))  # type: ignore[arg-type]


async def test_a_training_makes_the_variants_that_the_policy_demands(house: House) -> None:
    assert (await train(house)).spec == TrainSpec(preset=Preset.FAST)
    demanded = Policy(aliases=("production",), at_least={}, at_most={}, required_variants=(Precision.INT8,))
    house.models.policies.set("colours", demanded, actor="ann")
    first = await train(house, request_id="r")
    assert first.spec == TrainSpec(preset=Preset.FAST, variants=(Precision.INT8,))
    house.models.policies.set("colours", replace(demanded, required_variants=()), actor="ann")
    assert await train(house, request_id="r") == first  # the request is the same, whatever became of the policy
    asked = TrainSpec(variants=(Precision.INT8, Precision.FP16))
    house.models.policies.set("colours", demanded, actor="ann")
    job = await house.intake.train(model="colours", dataset=str(house.photos), spec=asked, alias=None, request_id=None)
    assert job.spec == asked


async def test_a_job_reads_the_version_of_an_uploaded_dataset_that_was_the_newest_and_nobody_deletes_it(house: House) -> None:
    async def submit(dataset: str, request_id: str | None = None) -> Job:
        return await house.intake.train(model="colours", dataset=dataset, spec=TrainSpec(), alias=None, request_id=request_id)

    with pytest.raises(UploadNotFound, match="'photos'"):
        await submit("datasets/photos")
    upload(house.ledger.datasets, "photos", {"red/1.jpg": b"1"})
    job = await submit("datasets/photos", "r")
    assert job.dataset == "datasets/photos/versions/1"
    process = await house.runner.started.get()
    listed = document.load(UploadedDataset, (process.job_dir / jobdir.UPLOADED).read_bytes())
    assert listed == house.ledger.datasets.locate(DatasetRef("photos"))
    upload(house.ledger.datasets, "photos", {"red/2.jpg": b"2"})
    assert (await submit("datasets/photos", "r")).id == job.id  # the same request, whatever came meanwhile
    queued = await submit("datasets/photos")
    assert queued.dataset == "datasets/photos/versions/2"
    for used in (DatasetRef("photos"), DatasetRef("photos", 1), DatasetRef("photos", 2)):
        with pytest.raises(DatasetInUse, match=r"uses datasets/photos/versions/\d: wait for its end"):
            await house.ledger.refuse_if_used(used)
    await house.ledger.refuse_if_used(DatasetRef("photo"))
    house.ledger.datasets.delete(DatasetRef("photos", 2))  # at the very moment when the job was accepted
    process.succeed()
    ended = [event.job async for event in house.ledger.watch(queued.id, 1) if event.job][-1]
    assert ended.error is not None
    assert ended.error.message.startswith("Version 2 of the uploaded dataset 'photos' was deleted: upload it again")
    await house.ledger.refuse_if_used(DatasetRef("photos"))


@pytest.mark.parametrize("place", ["{photos}", "/etc/passwd", "/nowhere", "file:///etc", "s3://photos/team", "gs://a-bucket"])
async def test_a_trainer_that_reads_uploads_alone_tells_nothing_of_any_place(house: House, tmp_path: Path, place: str) -> None:
    intake = Intake(house.ledger, house.models, house.frozen, None)
    dataset = place.format(photos=house.photos)
    with pytest.raises(DatasetNotFound, match="reads no folder of its machine and no bucket for its callers: upload the dataset"):
        await intake.train(model="colours", dataset=dataset, spec=TrainSpec(), alias=None, request_id=None)
    with pytest.raises(DatasetNotFound, match="reads no folder"):
        await intake.inspect(dataset=dataset, spec=InspectionSpec(), request_id=None)
    upload(house.ledger.datasets, "photos", {"red/1.jpg": b"1"})
    assert await intake.inspect(dataset="datasets/photos", spec=InspectionSpec(), request_id=None)
    made = write_bundle(tmp_path / "job1", kept=kept_answers(), lineage=lineage("job1", dataset))
    house.models.publish("colours", made, "job1")
    with pytest.raises(DatasetNotFound, match=r"colours/1 was trained on '.*'\. This trainer reads no folder"):
        await intake.evaluate(ref=ModelRef("colours", version=1), dataset="", split=Split.TEST, request_id=None)


async def test_versions_that_cannot_be_compared(house: House, tmp_path: Path) -> None:
    for number, thresholds in enumerate((None, None, (0.5, 0.5, 0.5)), 1):
        job = f"job{number}"
        house.models.publish("colours", write_bundle(tmp_path / job, job=job, thresholds=thresholds), job)
    house.models.aliases.set("colours", "production", 1, actor="ann", reason="")
    first, second, several = (ModelRef("colours", version=number) for number in (1, 2, 3))

    async def submit(*refs: ModelRef) -> Job:
        return await house.intake.evaluate(ref=refs[0], others=refs[1:], dataset=str(house.photos), request_id=None)

    with pytest.raises(InvalidArgument, match="colours@production and colours/1 are both colours/1: name two versions"):
        await submit(ModelRef("colours", alias="production"), second, first)
    with pytest.raises(InvalidArgument, match="colours/3 gives a picture any number of labels, and colours/1 one"):
        await submit(first, second, several)
    with pytest.raises(VersionNotFound, match="no version 9"):
        await submit(first, ModelRef("colours", version=9))
    assert (await submit(second, ModelRef("colours", alias="production"))).others == (first,)


async def test_a_split_is_scored_on_the_dataset_of_its_training(house: House, tmp_path: Path) -> None:
    house.models.publish("colours", write_bundle(tmp_path / "plain"), "job1")
    for number, dataset in ((2, house.photos), (3, tmp_path / "gone")):
        job = f"job{number}"
        bundle = write_bundle(tmp_path / job, kept=kept_answers(), lineage=lineage(job, str(dataset)))
        house.models.publish("colours", bundle, job)

    async def submit(version: int, dataset: str, split: Split | None) -> Job:
        ref = ModelRef("colours", version=version)
        return await house.intake.evaluate(ref=ref, dataset=dataset, split=split, request_id=None)

    job = await submit(2, "", Split.VALIDATION)
    assert (job.dataset, job.split) == (str(house.photos), Split.VALIDATION)
    assert (await submit(3, str(house.photos), Split.TEST)).dataset == str(house.photos)
    with pytest.raises(DatasetNotFound, match="colours/3 was trained on '/.*/gone', which is not there any more: name the dataset"):
        await submit(3, "", Split.TEST)
    with pytest.raises(InvalidArgument, match="colours/1 was published without answers.npz, so its test split is not known"):
        await submit(1, str(house.photos), Split.TEST)
    with pytest.raises(InvalidArgument, match="Neither a dataset nor a split is named"):
        await submit(2, "", None)
    process = await house.runner.started.get()
    task = document.load(EvaluationTask, (process.job_dir / jobdir.EVALUATION).read_text())
    assert task.split is Split.VALIDATION
    assert (process.job_dir / jobdir.BUNDLE / ANSWERS).read_bytes() == kept_answers().to_bytes()


@pytest.mark.parametrize("name", ["photos.csv", "photos.jsonl", "photos.zip", "photos.tar.gz"])
async def test_a_file_may_be_a_dataset(house: House, tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    dataset = str(tmp_path / name)
    job = await house.intake.train(model="m", dataset=dataset, spec=TrainSpec(), alias=None, request_id=None)
    assert job.dataset == dataset


async def test_any_other_file_is_refused_at_once(house: House, tmp_path: Path) -> None:
    (tmp_path / "photos.rar").touch()
    with pytest.raises(InvalidArgument, match="photos.rar' is neither a folder, nor a manifest") as caught:
        await house.intake.train(model="m", dataset=str(tmp_path / "photos.rar"), spec=TrainSpec(), alias=None, request_id=None)
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


async def test_what_another_replica_does_reaches_a_watch(house: House, log: structlog.typing.FilteringBoundLogger) -> None:
    job = await train(house)
    process = await house.runner.started.get()
    await at_work(house, job)
    other = JobStore(house.database, log)
    elsewhere = Ledger(other, house.ledger.datasets, house.folder / "jobs", house.replica, house.metrics, log)
    watching = asyncio.create_task(all_of(elsewhere, job))
    process.say(message="hello")
    process.succeed()
    seen = await watching
    assert seen == await follow(house, job)
    assert seen == await all_of(elsewhere, job)  # which has ended
    other.close()


async def all_of(ledger: Ledger, job: Job) -> list[JobEvent]:
    return [event async for event in ledger.watch(job.id, 1)]
