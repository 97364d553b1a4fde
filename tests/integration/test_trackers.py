"""Trackers beside a trainer: what is missing is named, and a trainer that is killed loses and doubles nothing."""

from __future__ import annotations

import io
import re
import sys
from pathlib import Path
from typing import Any

import pytest
import structlog

from eyasd.app import Role
from eyasd.check import check
from eyasd.config import read_settings
from eyasd.core.errors import StartupFailed
from eyasd.followers import make_trackers
from eyasd.registry.models import Models
from fake_mlflow import FakeMlflow
from trainers import TESTS, Trainer
from waits import wait_until


async def test_check_says_whether_trackers_could_be_told(mlflow: FakeMlflow, tmp_path: Path) -> None:
    async def told_of(**rooms: dict[str, Any]) -> tuple[int, str]:
        out = io.StringIO()
        free = {"api": {"listen": "127.0.0.1:0"}, "telemetry": {"metrics_listen": "127.0.0.1:0"}}
        settings = read_settings(None, {"data_dir": tmp_path / "data", "trackers": rooms, **free})
        status = await check(Role.TRAINER, settings, structlog.get_logger(), out)
        return status, next(line[35:] for line in out.getvalue().splitlines() if " trackers " in line)

    boards = {"dir": str(tmp_path / "boards")}
    assert await told_of(mlflow={"url": mlflow.url}, tensorboard=boards) == (
        0,
        f"MLflow answers at {mlflow.url}; TensorBoard's files go to {tmp_path}/boards",
    )
    mlflow.authorization = "Bearer other"
    status, said = await told_of(mlflow={"url": mlflow.url, "token": "t0"})
    assert status == 1
    assert said.startswith("mlflow cannot be told of jobs (it answered 401, ")
    assert said.endswith("they are run without it, and it is told later. Mend it, or leave trackers.mlflow unset.")
    (tmp_path / "file").write_text("")
    assert "tensorboard cannot be told of jobs" in (await told_of(tensorboard={"dir": str(tmp_path / "file" / "boards")}))[1]


@pytest.mark.parametrize(
    ("package", "rooms", "says"),
    [
        ("aiohttp", {"mlflow": {"url": "http://host"}}, "url needs aiohttp: install 'eyas[mlflow]'"),
        (
            "tensorboard",
            {"tensorboard": {"dir": "boards"}},
            "dir needs tensorboard: install 'eyas[tensorboard]'",
        ),
    ],
)
def test_a_package_that_is_missing_is_named(
    package: str, rooms: dict[str, Any], says: str, models: Models, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in [name for name in sys.modules if name.startswith(("eyasd.trackers.mlflow", f"{package}."))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(StartupFailed, match=re.escape(says)):
        make_trackers(read_settings(None, {"data_dir": tmp_path, "trackers": rooms}), models, structlog.get_logger())


def test_a_trainer_that_is_killed_and_its_tracker_away_lose_and_double_nothing(mlflow: FakeMlflow, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    settings = {"TRACKERS__MLFLOW__URL": mlflow.url, "TRACKERS__TENSORBOARD__DIR": tmp_path / "boards"}
    told = {"EYAS_TEST_GO": tmp_path / "go", "EYAS_TEST_RUNS": tmp_path / "runs"}
    trainer = Trainer(tmp_path / "trainer", TESTS / "fake_program", **settings, **told)
    trainer.start()
    try:
        with trainer.client() as client:
            job = client.train(tmp_path / "photos", "colours", preset="fast").id
            wait_until(lambda: len(steps(mlflow, job)) > 2)
            trainer.kill()
        known = len(mlflow.requests)
        mlflow.fault = lambda number: "drop" if number <= known else ""  # and the server is away when the next one asks
        trainer.start()
        with trainer.client() as client:
            (tmp_path / "go").touch()
            assert client.wait(job).version == "colours/1"
            wait_until(lambda: mlflow.run_of(job)["info"]["status"] == "FINISHED")
            told_of = [event for event in client.watch_job(job) if event.progress and event.progress.stage == "fine-tune"]
            assert client.get_job(job).attempt == 1  # which went on while its trainer was away
        found = steps(mlflow, job)
        assert found == sorted(set(found))
        assert len(found) == len(told_of)
        assert mlflow.run_of(job)["metrics"]["test/accuracy"][0][2] == 0.9
        wait_until(lambda: mlflow.models.get("colours", {}).get("aliases") == {"production": "1"})
        assert (tmp_path / "boards" / "colours" / job / "events.out.tfevents.eyas").stat().st_size > 0
    finally:
        trainer.end()


def steps(mlflow: FakeMlflow, job: str) -> list[int]:
    """Returns the steps that the server was told of, in their order."""
    runs = [run for run in list(mlflow.runs.values()) if run["tags"]["eyas.job"] == job]
    return [at for run in runs for at, _, _ in run["metrics"].get("train/images_per_second", [])]
