"""MLflow is told the whole of each job once, whatever fails meanwhile, and its registry is a mirror."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs

from builders import comparison, evaluation, lineage, write_bundle
from eyasd.core.jobs import JobError, JobState, JobType
from eyasd.core.names import ModelRef
from eyasd.registry.models import Models
from eyasd.trackers.follower import Follower
from eyasd.trackers.mlflow import client as mlflow_client
from eyasd.trackers.mlflow.client import Client
from eyasd.trackers.mlflow.mirror import Mirror
from eyasd.trackers.mlflow.runs import Runs
from eyasd.trackers.mlflow.tracker import MlflowTracker
from fake_mlflow import FakeMlflow
from sagas import Saga, step


@pytest.fixture
def saga(tmp_path: Path, log: structlog.typing.FilteringBoundLogger) -> Iterator[Saga]:
    made = Saga(tmp_path / "jobs.sqlite", log)
    yield made
    made.close()


class Told:
    """What tells the server, as a daemon would; `again` is the next daemon."""

    def __init__(self, saga: Saga, mlflow: FakeMlflow, models: Models, *, user: str = "", token: str = "", **more: Any) -> None:
        self.now, self._saga = 0.0, saga
        self.client = Client(mlflow.url, user, token)
        runs = Runs(self.client, "eyas {model}")
        mirror = Mirror(self.client, runs, models, "file:///srv/models", saga.log, lambda: self.now)
        self.tracker = MlflowTracker(self.client, runs, mlflow.url, models, mirror, saga.log, **more)
        self.follower: Follower = saga.follower(self.tracker)

    async def look(self) -> float:
        self.now += 100
        return await self.follower._look()


@pytest.fixture
async def told(saga: Saga, mlflow: FakeMlflow, models: Models):
    made: list[Told] = []

    def make(**more: Any) -> Told:
        made.append(Told(saga, mlflow, models, **more))
        return made[-1]

    yield make
    for one in made:
        await one.client.close()


def publish(models: Models, folder: Path, job: str, **more: Any) -> int:
    return models.publish("colours", write_bundle(folder / job, job=job, **more), job)


async def test_a_training_is_a_run_with_all_that_is_known_of_it(
    saga: Saga, mlflow: FakeMlflow, models: Models, told: Callable[..., Told], tmp_path: Path
) -> None:
    used = replace(lineage("1"), recipe={"learning_rate": "0.01", "optimizer": "adamw"}, seed=7)
    publish(models, tmp_path, "1", lineage=used)
    saga.tell("1")
    await told().look()
    run = mlflow.run_of("1")
    job = saga.store.get("1")
    assert job.start_time
    assert job.end_time
    assert mlflow.experiments == {"eyas colours": "1"}
    assert (run["info"]["run_name"], run["info"]["status"]) == ("colours/1", "FINISHED")
    assert run["info"]["start_time"] == round(job.start_time.timestamp() * 1000)
    assert run["info"]["end_time"] == round(job.end_time.timestamp() * 1000)
    assert run["params"] == {
        "asked.preset": "balanced",
        "asked.learning_rate": "0.01",
        "asked.epochs": "2",
        "asked.budget": "120 s",
        "learning_rate": "0.01",
        "optimizer": "adamw",
        "backbone": "colours",
        "seed": "7",
    }
    wanted = {"eyas.job": "1", "eyas.version": "1", "eyas.dataset": "/photos", "eyas.dataset_digest": "d1", "eyas.attempt": "1"}
    wanted |= {"eyas.code_version": "0", "eyas.backbone": "colours", "eyas.type": "training"}
    wanted["mlflow.note.content"] = "Accuracy 90.0% (74.0% to 97.0%) on 30 test pictures, by colours."
    assert wanted.items() <= run["tags"].items()
    source = json.dumps({"uri": "/photos"})
    assert run["datasets"] == [
        {"name": "/photos", "digest": "d1", "source_type": "eyas", "source": source, "mlflow.data.context": "training"}
    ]
    assert [(at, value) for at, _, value in run["metrics"]["train/loss"]] == [(1, 1.0), (2, 0.5), (3, 1 / 3)]
    assert [(at, value) for at, _, value in run["metrics"]["validation/accuracy"]] == [(0, 0.5), (3, 0.8)]
    assert [value for _, _, value in run["metrics"]["test_low/accuracy"]] == [0.74]
    assert set(mlflow.artifacts) == {f"1/run1/artifacts/{name}" for name in ("manifest.json", "report.html")}
    assert json.loads(mlflow.artifacts["1/run1/artifacts/manifest.json"])["lineage"]["job"] == "1"
    assert b"<title>colours</title>" in mlflow.artifacts["1/run1/artifacts/report.html"]


async def test_model_onnx_goes_along_where_that_is_asked_for(
    saga: Saga, mlflow: FakeMlflow, models: Models, told: Callable[..., Told], tmp_path: Path
) -> None:
    publish(models, tmp_path, "1")
    saga.tell("1")
    await told(with_model=True).look()
    assert mlflow.artifacts["1/run1/artifacts/model.onnx"] == models.fetch("colours", 1, "model.onnx")


async def test_attempts_are_folded_into_one_run_which_shows_the_jobs_state(
    saga: Saga, mlflow: FakeMlflow, told: Callable[..., Told]
) -> None:
    one, shown = told(), []

    async def look() -> None:
        await one.look()
        run = mlflow.run_of("1")
        shown.append((run["info"]["status"], run["tags"].get("eyas.attempt"), run["tags"].get("eyas.setback")))

    saga.submit("1")
    await one.look()
    assert mlflow.runs == {}  # it waits for its turn
    lease = saga.begin("1")
    saga.say(lease, step(1), step(2))
    await look()
    saga.store.update(lease, state=JobState.INTERRUPTED, resume_time=datetime.now(UTC), setback="the disk was full")
    await look()
    saga.store.wake()
    lease = saga.begin("1")
    saga.say(lease, step(2))
    await look()
    saga.end(lease, JobState.FAILED, error=JobError("TRAINER_FAILED", "it diverged"))
    await look()
    assert shown == [
        ("RUNNING", "1", None),
        ("SCHEDULED", "1", "the disk was full"),
        ("RUNNING", "2", "the disk was full"),
        ("FAILED", "2", "the disk was full"),
    ]
    assert mlflow.run_of("1")["tags"]["eyas.error"] == "TRAINER_FAILED: it diverged"
    saga.submit("2")
    saga.store.cancel("2")
    saga.submit("3", JobType.INSPECTION, model="")
    saga.begin("3")
    await one.look()
    assert mlflow.run_of("2")["info"]["status"] == "KILLED"
    assert len(mlflow.runs) == 2


async def test_an_evaluation_is_a_run_with_what_each_version_scored(
    saga: Saga, mlflow: FakeMlflow, told: Callable[..., Told]
) -> None:
    other = ModelRef("colours", version=1)
    saga.submit("1", JobType.EVALUATION, version=2, others=(other,))
    saga.end(saga.begin("1"), evaluation=evaluation(), comparisons=(comparison(other),))
    await told().look()
    run = mlflow.run_of("1")
    assert run["info"]["run_name"] == "colours/2 on /photos"
    assert run["params"] == {"asked.others": "colours/1"}
    assert run["metrics"]["evaluation/accuracy"][0][2] == 0.9
    assert run["metrics"]["versus_difference_low/colours/1/accuracy"][0][2] == -0.2
    assert json.loads(mlflow.artifacts["1/run1/artifacts/evaluation.json"])["accuracy"] == 0.9


def state(mlflow: FakeMlflow) -> dict[str, Any]:
    return {"runs": mlflow.runs, "artifacts": mlflow.artifacts, "models": mlflow.models}


@pytest.mark.parametrize(("fault", "every"), [("lose", 1), ("500", 4)])
async def test_whichever_request_fails_the_server_ends_up_with_the_same(
    saga: Saga, mlflow: FakeMlflow, models: Models, told: Callable[..., Told], tmp_path: Path, fault: str, every: int
) -> None:
    publish(models, tmp_path, "1")
    models.promote("colours", "production", 1, actor="a", reason="")
    saga.tell("1", steps=4)
    await told().look()
    wanted, count = state(mlflow), len(mlflow.requests)
    assert count > 12
    for number in range(0, count, every):
        other = FakeMlflow()
        try:
            other.fault = lambda asked, number=number: fault if asked == number else ""
            one = Told(saga, other, models)
            assert await one.look() in {1.0, 2.0}  # what only reads is asked for again at once
            if number % 2:  # and this trainer was killed meanwhile
                await one.client.close()
                one = Told(saga, other, models)
            assert await one.look() == 1.0
            await one.client.close()
            if fault == "lose" and other.requests[number] == "mlflow/runs/create":
                assert len(other.runs) == 1
            assert state(other) == wanted, (number, other.requests[number])
        finally:
            other.close()


async def test_a_server_that_hangs_or_is_down_or_refuses_holds_no_job_up(
    saga: Saga, mlflow: FakeMlflow, models: Models, told: Callable[..., Told], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = told()
    saga.submit("1")
    lease = saga.begin("1")
    saga.say(lease, step(1))
    await one.look()
    with capture_logs() as logged:
        for fault in ("hang", "500", "drop"):
            mlflow.fault = lambda _, fault=fault: fault
            saga.say(lease, step(2), step(3))
            with monkeypatch.context() as patch:
                patch.setattr(mlflow_client, "_SECONDS", 0.2)
                assert await one.look() > 1
        mlflow.authorization = "Bearer other"
        mlflow.fault = lambda _: ""
        assert await one.look() > 1
    assert [line["event"] for line in logged] == ["tracker away"]
    saga.succeed(lease)  # all the while, the job goes on
    mlflow.authorization = None
    assert await one.look() == 1.0
    assert [at for at, _, _ in mlflow.run_of("1")["metrics"]["train/loss"]] == [1, 2, 3, 2, 3, 2, 3]
    assert mlflow.run_of("1")["info"]["status"] == "FINISHED"


async def test_a_run_that_somebody_deleted_there_is_left_alone(saga: Saga, mlflow: FakeMlflow, told: Callable[..., Told]) -> None:
    one = told()
    saga.submit("1")
    lease = saga.begin("1")
    await one.look()
    mlflow.run_of("1")["info"]["lifecycle_stage"] = "deleted"
    saga.say(lease, step(1))
    saga.tell("2")
    with capture_logs() as logged:
        assert await one.look() == 1.0
        saga.say(lease, step(2))
        assert await one.look() == 1.0
    assert [line["event"] for line in logged if line.get("job") == "1"] == ["tracker refuses a job"]
    assert mlflow.run_of("2")["info"]["status"] == "FINISHED"
    assert mlflow.run_of("1")["metrics"] == {}
    assert len(mlflow.runs) == 2


async def test_an_experiment_that_was_deleted_for_good_is_made_again(
    saga: Saga, mlflow: FakeMlflow, told: Callable[..., Told]
) -> None:
    one = told()
    saga.tell("1")
    await one.look()
    mlflow.experiments = {"theirs": "7"}
    mlflow.runs.clear()
    saga.tell("2")
    assert await one.look() == 1.0
    assert mlflow.run_of("2")["info"]["status"] == "FINISHED"


@pytest.mark.parametrize(
    ("who", "wanted"), [({"token": "t0"}, "Bearer t0"), ({"user": "ann", "token": "t0"}, "Basic YW5uOnQw"), ({}, None)]
)
async def test_a_token_and_a_user_go_with_every_request(
    saga: Saga, mlflow: FakeMlflow, told: Callable[..., Told], who: dict[str, str], wanted: str | None
) -> None:
    mlflow.authorization = wanted
    saga.tell("1")
    assert await told(**who).look() == 1.0
    assert mlflow.run_of("1")["info"]["status"] == "FINISHED"


async def test_artifacts_that_the_server_does_not_keep_are_said_to_be_left_out(
    saga: Saga, mlflow: FakeMlflow, models: Models, told: Callable[..., Told], tmp_path: Path
) -> None:
    mlflow.kept_by = "s3://bucket"
    publish(models, tmp_path, "1")
    saga.tell("1")
    with capture_logs() as logged:
        assert await told().look() == 1.0
    assert [(line["event"].partition(":")[0], line["scheme"]) for line in logged] == [("artifacts stay out of tracker", "s3")]
    assert mlflow.artifacts == {}
    assert mlflow.run_of("1")["info"]["status"] == "FINISHED"


async def test_the_registry_mirrors_versions_promotions_rollbacks_and_deletions(
    saga: Saga, mlflow: FakeMlflow, models: Models, told: Callable[..., Told], tmp_path: Path
) -> None:
    def mirrored() -> tuple[dict[str, str], dict[str, str]]:
        """Returns the sources of the versions, and those where the aliases point."""
        model = mlflow.models["colours"]
        sources = {kept["tags"]["eyas.version"]: kept["source"] for kept in model["versions"].values()}
        return sources, {alias: model["versions"][number]["source"] for alias, number in model["aliases"].items()}

    first, second, third = (f"eyas:///srv/models/colours/{number}" for number in (1, 2, 3))
    one = told()
    for job in ("1", "2"):
        publish(models, tmp_path, job)
        saga.tell(job, version=int(job))
    models.promote("colours", "production", 1, actor="a", reason="")
    models.promote("colours", "latest", 1, actor="a", reason="")  # a word of MLflow's own
    with capture_logs() as logged:
        await one.look()
    assert [(line["event"], line["alias"]) for line in logged] == [("tracker refuses an alias", "latest")]
    assert mirrored() == ({"1": first, "2": second}, {"production": first})
    assert mlflow.models["colours"]["versions"]["1"]["run"] == mlflow.run_of("1")["info"]["run_id"]
    mlflow.fault = lambda _: "drop"
    models.promote("colours", "production", 2, actor="a", reason="")
    publish(models, tmp_path, "3")
    assert await one.look() == 2.0
    mlflow.fault = lambda _: ""
    await one.look()
    assert mirrored() == ({"1": first, "2": second, "3": third}, {"production": second})
    models.rollback("colours", "production", actor="a", reason="")
    models.delete("colours", 2, timedelta(0))
    mlflow.models["colours"]["versions"]["9"] = {"source": "s3://theirs", "run": "", "tags": {}}
    await told().look()
    del mlflow.models["colours"]["versions"]["9"]  # which is somebody else's, and was left alone
    assert mirrored() == ({"1": first, "3": third}, {"production": first})
    asked = len(mlflow.requests)
    await one.look()
    await one.look()
    assert len(mlflow.requests) <= asked + 3  # once more for its own view, and then no more
