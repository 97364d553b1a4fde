"""A training that adds captured pictures: what it is told, and that its alias moves through the regression gate alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.unit.registry.test_frozen import capture

from builders import kept_answers, lineage, write_bundle
from eyasd.core import document, jobdir
from eyasd.core.answers import ANSWERS
from eyasd.core.bundle import MANIFEST, MODEL, WEIGHTS
from eyasd.core.comparison import Pairs
from eyasd.core.errors import DatasetNotFound, InvalidArgument, RequestIdReused
from eyasd.core.frozen import LABELLED, FrozenList
from eyasd.core.gate import Gate, judge_regression
from eyasd.core.jobs import Job, JobState
from eyasd.core.names import ModelRef
from eyasd.core.spec import TrainSpec
from eyasd.core.tasks import TrainingTask
from fake_trainer import House, follow, states

PRODUCTION = ModelRef("colours", alias="production")
BASE = ModelRef("colours", version=1)
SAME, BETTER, NO_BETTER = Pairs(90, 3, 3, 4), Pairs(30, 2, 15, 13), Pairs(30, 8, 9, 13)
ADDED = TrainSpec(add_captured=LABELLED)


@pytest.fixture
def ask(house: House, tmp_path: Path) -> Callable[..., Any]:
    """Publishes a version as production, trained on the house's photos, and asks for the next."""
    bundle = write_bundle(tmp_path / "b", kept=kept_answers(), lineage=lineage(dataset=str(house.photos)))
    house.models.publish("colours", bundle, "job1")
    house.models.aliases.set("colours", "production", 1, actor="ann", reason="")

    async def asked(**more: Any) -> Job:
        wanted = {"model": "colours", "dataset": "", "spec": ADDED, "alias": None, "request_id": None, "base": PRODUCTION}
        return await house.intake.train(**wanted | more)

    return asked


def gate(captured: Pairs = BETTER, base: ModelRef = BASE) -> Gate:
    return judge_regression(base, 140, SAME, captured)


async def test_it_is_told_what_was_labelled_when_it_was_asked_for(house: House, ask: Callable[..., Any]) -> None:
    names = {capture(house.captured, content, "red", model="colours") for content in (b"1", b"2")}
    job = await ask(request_id="r")
    assert (job.dataset, job.alias, job.base_version) == (str(house.photos), "production", BASE)
    capture(house.captured, b"3", "red", model="colours")
    assert (await ask(request_id="r")).id == job.id
    with pytest.raises(RequestIdReused):
        await ask(request_id="r", spec=replace(ADDED, captured_weight=2.0))
    process = await house.runner.started.get()
    task = document.load(TrainingTask, (process.job_dir / jobdir.TRAINING).read_text())
    assert task.spec == job.spec
    assert task.spec.add_captured not in (None, LABELLED)
    given = process.job_dir / jobdir.BASE
    assert {path.name for path in given.iterdir()} == {MANIFEST, WEIGHTS, MODEL, ANSWERS}
    kept = process.job_dir / jobdir.CAPTURED
    assert {path.name for path in kept.iterdir()} == {*names, jobdir.CAPTURED_LIST}
    listed = document.load(FrozenList, (kept / jobdir.CAPTURED_LIST).read_bytes())
    assert {picture.id for picture in listed.pictures} == names
    process.succeed(gate=gate())
    assert states(await follow(house, job))[-1] is JobState.SUCCEEDED


async def test_an_alias_moves_to_a_version_that_has_passed(house: House, ask: Callable[..., Any]) -> None:
    capture(house.captured, b"1", "red", model="colours")
    job = await ask()
    (await house.runner.started.get()).succeed(gate=gate())
    await follow(house, job)
    record = house.models.aliases.get("colours", "production")
    assert record is not None
    assert record.version == 2
    assert record.evidence == tuple(finding.sentence for finding in gate().findings)
    assert (await house.ledger.get(job.id)).gate == gate()


@pytest.mark.parametrize(
    ("verdict", "says"),
    [
        (
            gate(NO_BETTER),
            "colours@production stays where it is, as the regression gate refuses colours/2: accuracy 0.6333 before and 0.6500",
        ),
        (
            gate(base=ModelRef("colours", version=7)),
            "colours@production stays where it is: it points to colours/1, and colours/2 was compared with colours/7. Compare the",
        ),
    ],
)
async def test_an_alias_stays_where_the_gate_refuses(house: House, ask: Callable[..., Any], verdict: Gate, says: str) -> None:
    capture(house.captured, b"1", "red", model="colours")
    job = await ask()
    (await house.runner.started.get()).succeed(gate=verdict)
    events = await follow(house, job)
    assert states(events)[-1] is JobState.SUCCEEDED
    said = [event.message for event in events if event.message][-1]
    assert said.startswith(f"Version 2 is published. {says}")
    assert said.endswith("eyas models alias colours production 2.")
    record = house.models.aliases.get("colours", "production")
    assert record is not None
    assert record.version == 1


async def test_what_cannot_be_done_is_refused_at_once(house: House, ask: Callable[..., Any]) -> None:
    with pytest.raises(InvalidArgument, match="No labelled picture of colours was captured"):
        await ask()
    capture(house.captured, b"1", "red", model="colours")
    with pytest.raises(InvalidArgument, match="name it as the base version"):
        await ask(base=None)
    numbered = await ask(base=BASE)
    assert numbered.alias is None  # nobody said which is to move
    assert (await ask(model="shades")).alias is None
    house.photos.rmdir()
    with pytest.raises(DatasetNotFound, match="colours/1 was trained on .* which is not there any more: name the dataset"):
        await ask()
    with pytest.raises(InvalidArgument, match="captured_days is set, but no captured pictures are added"):
        TrainSpec(captured_days=3)
    with pytest.raises(InvalidArgument, match="it must be labelled, or the SHA-256"):
        TrainSpec(add_captured="all")
