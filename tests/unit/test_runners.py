"""runners: where jobs run, by the settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import structlog

from eyasd.config import Settings
from eyasd.core.errors import StartupFailed
from eyasd.jobs.kubernetes.runner import KubernetesRunner
from eyasd.jobs.local import LocalRunner
from eyasd.runners import make_runner, pod_options

KUBERNETES: dict[str, Any] = {"image": "eyas-trainer:1", "api_url": "http://127.0.0.1:1/", "namespace": "ml"}


def settings(data_dir: str = "/var/lib/eyas/data", **kubernetes: Any) -> Settings:
    return Settings(
        data_dir=Path(data_dir),
        jobs={"memory_bytes": 64_000_000_000, "time_limit_seconds": 60},  # type: ignore[arg-type]
        kubernetes={"volumes": {"/var/lib/eyas": "claim"}, **kubernetes},  # type: ignore[arg-type]
    )


def test_jobs_are_processes_of_this_machine_unless_an_image_is_named(log: structlog.typing.FilteringBoundLogger) -> None:
    runner, cluster = make_runner(settings(), log)
    assert isinstance(runner, LocalRunner)
    assert cluster is None


async def test_with_an_image_they_are_jobs_of_a_cluster(log: structlog.typing.FilteringBoundLogger) -> None:
    runner, cluster = make_runner(settings(**KUBERNETES), log)
    assert isinstance(runner, KubernetesRunner)
    assert cluster is not None
    await cluster.close()


@pytest.mark.parametrize(
    ("data_dir", "kubernetes", "says"),
    [
        ("/var/lib/eyas/data", {**KUBERNETES, "namespace": None}, "name the namespace"),
        ("/var/lib/eyas/data", {"image": "eyas-trainer:1"}, "no pod with a service account"),
        ("/var/lib/eyasdata", KUBERNETES, "Pods would not see data_dir '/var/lib/eyasdata'"),
        ("eyas-data", KUBERNETES, "absolute path"),
    ],
)
def test_what_is_missing_is_said_at_the_start(
    data_dir: str, kubernetes: dict[str, Any], says: str, log: structlog.typing.FilteringBoundLogger
) -> None:
    with pytest.raises(StartupFailed, match=says):
        make_runner(settings(data_dir, **kubernetes), log)


def test_the_settings_of_jobs_bound_pods_too() -> None:
    options = pod_options(settings(**KUBERNETES, gpus=16, queue="research"), "ml")
    assert (options.memory, options.time_limit_seconds, options.grace_seconds) == ("64000000000", 60, 30)
    assert (options.devices, options.queue, options.image) == (16, "research", "eyas-trainer:1")
