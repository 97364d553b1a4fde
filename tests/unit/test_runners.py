"""runners: where jobs run, by the settings."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import structlog

from eyasd.config import Settings
from eyasd.core.errors import StartupFailed
from eyasd.jobs.kubernetes.objects import Apart
from eyasd.jobs.kubernetes.runner import KubernetesRunner
from eyasd.jobs.local import LocalRunner
from eyasd.jobs.permits import Permits
from eyasd.jobs.queue import QueueOptions
from eyasd.runners import make_exchange, make_runner, pod_options, queue_options

PERMITS = Permits(b"a key")
KUBERNETES: dict[str, Any] = {"image": "eyas-trainer:1", "api_url": "http://127.0.0.1:1/", "namespace": "ml"}


def settings(data_dir: str = "/var/lib/eyas/data", **kubernetes: Any) -> Settings:
    return Settings(
        data_dir=Path(data_dir),
        jobs={"memory_bytes": 64_000_000_000, "time_limit_seconds": 60},  # type: ignore[arg-type]
        kubernetes={"volumes": {"/var/lib/eyas": "claim"}, **kubernetes},  # type: ignore[arg-type]
    )


def test_jobs_are_processes_of_this_machine_unless_an_image_is_named(log: structlog.typing.FilteringBoundLogger) -> None:
    runner, cluster = make_runner(settings(), PERMITS, log)
    assert isinstance(runner, LocalRunner)
    assert cluster is None


async def test_with_an_image_they_are_jobs_of_a_cluster(log: structlog.typing.FilteringBoundLogger) -> None:
    runner, cluster = make_runner(settings(**KUBERNETES), PERMITS, log)
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
        ("/data", {**KUBERNETES, "store": "memory://", "trainer": "eyas:50051"}, "would not see kubernetes.store 'memory://'"),
        ("/data", {**KUBERNETES, "store": "file:///mnt/jobs", "trainer": "eyas:50051"}, "'file:///mnt/jobs'"),
        ("/data", {**KUBERNETES, "store": "s3://photos"}, "name HOST:PORT at which pods reach this trainer"),
        (
            "/data",
            {**KUBERNETES, "store": "s3://photos", "trainer": "e:1", "trainer_ca": "/nowhere.pem"},
            "'/nowhere.pem' cannot be",
        ),
    ],
)
def test_what_is_missing_is_said_at_the_start(
    data_dir: str, kubernetes: dict[str, Any], says: str, log: structlog.typing.FilteringBoundLogger
) -> None:
    with pytest.raises(StartupFailed, match=says):
        make_runner(settings(data_dir, **kubernetes), PERMITS, log)


@pytest.mark.parametrize(
    ("gpus", "rooms", "expected"),
    [
        (0, {}, QueueOptions(devices=3, quota_running=2)),
        (8, {}, QueueOptions(devices=8, quota_running=2, jobs=3, training_devices=8)),
        (8, {"training": {"processes": 2}}, QueueOptions(devices=8, quota_running=2, jobs=3, training_devices=2)),
        (1, {"training": {"processes": 4}}, QueueOptions(devices=1, quota_running=2, jobs=3, training_devices=1)),
        (8, {"kubernetes": KUBERNETES}, QueueOptions(devices=3, quota_running=2)),
    ],
)
def test_jobs_share_the_gpus_of_the_machine(
    gpus: int, rooms: dict[str, Any], expected: QueueOptions, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eyasd.runners.gpu_count", lambda _: gpus)
    assert queue_options(Settings(jobs={"max_running": 3, "quota_running": 2}, **rooms)) == expected  # type: ignore[arg-type]


def test_the_settings_of_jobs_bound_pods_too() -> None:
    options = pod_options(settings(**KUBERNETES, gpus=16, queue="research"), "ml")
    assert (options.memory, options.time_limit_seconds, options.grace_seconds) == ("64000000000", 60, 30)
    assert (options.devices, options.queue, options.image) == (16, "research", "eyas-trainer:1")


def test_pods_need_no_volume_where_a_store_is_between(tmp_path: Path) -> None:
    authority = tmp_path / "ca.pem"
    authority.write_text("PEM")
    apart = {"volumes": {}, "store": "s3://photos/jobs/", "trainer": "eyas.ml:50051", "secrets": ["s3-key"]}
    options = pod_options(settings("eyas-data", **KUBERNETES, **apart, trainer_ca=authority), "ml")
    assert options.apart == Apart(store="s3://photos/jobs", trainer="eyas.ml:50051", authority="PEM")
    assert options.secrets == ("s3-key",)
    assert make_exchange(settings(**KUBERNETES)) is None
    assert make_exchange(settings(store="s3://photos")) is None
    assert make_exchange(settings("/var/lib/eyas", **KUBERNETES, store="file:///var/lib/eyas/jobs")) is not None
