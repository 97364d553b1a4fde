"""`eyasd ROLE --check`: what it says, and that it leaves nothing behind."""

from __future__ import annotations

import io
import socket
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import kmock
import kubernetes_validate
import pytest
import structlog
import yaml

from builders import write_bundle
from eyasd.app import App, Role
from eyasd.check import check
from eyasd.config import read_settings
from eyasd.jobs.kubernetes.rights import RIGHTS, RIGHTS_APART
from eyasd.registry.models import Models
from eyasd.storage.address import open_store
from fake_cluster import FakeCluster

Log = structlog.typing.FilteringBoundLogger


async def told(role: Role, data_dir: Path, log: Log, **rooms: Any) -> tuple[int, dict[str, tuple[str, str]], str]:
    """Returns the exit status, what is said of each thing that was tried, and the last line."""
    free = {"api": {"listen": "127.0.0.1:0"}, "telemetry": {"metrics_listen": "127.0.0.1:0"}}
    out = io.StringIO()
    status = await check(role, read_settings(None, {"data_dir": data_dir, **free, **rooms}), log, out)
    *lines, last = out.getvalue().splitlines()
    rows = [(line[:6].strip(), line[17:33].strip(), line[35:]) for line in lines]
    return status, {name: (state, said) for state, name, said in rows}, last


async def test_a_daemon_that_can_start(published: Models, data_dir: Path, log: Log) -> None:
    status, rows, last = await told(Role.ALL, data_dir, log)
    assert (status, last) == (0, "eyasd all can start.")
    assert {state for state, _ in rows.values()} == {"ok"}
    assert list(rows) == [
        *("settings", "data folder", "jobs", "training", "uploads", "registry", "captured", "address", "metrics address", "device"),
        "colours/1",
    ]
    assert rows["registry"][1].endswith("models has 1 model; aliases lead to 1 version")
    assert "gives its recorded answers in fp32" in rows["colours/1"][1]
    assert rows["colours/1"][1].endswith("; production")
    assert not (data_dir / "jobs.sqlite").exists()


@pytest.mark.parametrize("listens", [True, False])
async def test_a_collector_of_traces_is_looked_for(
    published: Models, data_dir: Path, log: Log, free_port: int, listens: bool
) -> None:
    telemetry = {"metrics_listen": "127.0.0.1:0", "otlp_endpoint": f"http://127.0.0.1:{free_port}", "trace_ratio": 0.01}
    with socket.create_server(("127.0.0.1", free_port)) if listens else ExitStack():
        status, rows, _ = await told(Role.SERVER, data_dir, log, telemetry=telemetry)
    says = "a collector listens at http://127.0.0.1:" if listens else "No collector listens at http://127.0.0.1:"
    assert (status, rows["traces"][0]) == ((0, "ok") if listens else (1, "failed"))
    assert rows["traces"][1].startswith(says)


async def test_every_failure_is_told(app: App, published: Models, data_dir: Path, tmp_path: Path, log: Log) -> None:
    published.publish("broken", write_bundle(tmp_path / "b"), "job1")
    published.aliases.set("broken", "canary", 1, actor="test", reason="")
    (data_dir / "models/broken/1/model.onnx").write_bytes(b"damaged")
    (tmp_path / "no.pem").write_text("no PEM")
    taken = f"127.0.0.1:{app.port}"
    api = {"listen": taken, "http_listen": taken, "tls_certificate": tmp_path / "no.pem", "tls_key": tmp_path / "no.pem"}
    status, rows, last = await told(Role.SERVER, data_dir, log, api=api, capture={"redact": "no.such:hook"})
    failed = {name: said for name, (state, said) in rows.items() if state == "failed"}
    assert (status, set(failed)) == (1, {"settings", "address", "redaction", "HTTP address", "broken/1"})
    assert last == "eyasd server would not start as it should: settings, address, redaction, HTTP address, broken/1."
    assert "they must be PEM, and belong together" in failed["settings"]
    assert failed["address"].endswith("(Address already in use): stop what uses it, or choose another with --listen.")
    assert failed["HTTP address"].endswith("choose another with api.http_listen.")
    assert "was changed after it was published" in failed["broken/1"]
    assert rows["colours/1"][0] == "ok"


async def test_what_is_not_there_yet(data_dir: Path, tmp_path: Path, log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    status, rows, _ = await told(Role.SERVER, data_dir, log)
    assert (status, rows["registry"][1]) == (0, f"{data_dir / 'models'} is not there yet: there is no model to serve")
    monkeypatch.setattr("eyasd.check._TRAINER_PACKAGES", ("no_such_package",))
    (tmp_path / "file").write_text("")
    status, rows, _ = await told(Role.TRAINER, tmp_path / "file", log)
    assert status == 1
    assert rows["data folder"][0] == "failed"
    assert rows["training"] == ("failed", "Trainings need no_such_package: install 'eyas[trainer]'.")


async def test_a_repository_in_an_object_store(data_dir: Path, tiny_bundle: Path, log: Log, s3_address: str) -> None:
    models = Models(open_store(s3_address, data_dir))
    models.publish("colours", tiny_bundle, "job1")
    models.aliases.set("colours", "production", 1, actor="test", reason="")
    status, rows, _ = await told(Role.SERVER, data_dir, log, registry={"url": s3_address})
    assert (status, rows["registry"][1]) == (0, f"{s3_address} has 1 model; aliases lead to 1 version")
    assert rows["colours/1"][0] == "ok"
    status, rows, _ = await told(Role.SERVER, data_dir, log, registry={"url": "s3://nobodys"})
    assert (status, rows["registry"]) == (1, ("failed", "There is no bucket of s3://nobodys: make it, or name another."))


async def test_a_cache_of_models_is_tried(published: Models, data_dir: Path, tmp_path: Path, log: Log) -> None:
    for folder, status, said in (
        (tmp_path / "cache", 0, f"{tmp_path / 'cache'} has 0 files, 0 MB of at most 2000 MB"),
        (data_dir / "models/colours/1/model.onnx", 1, "model.onnx cannot be used: "),
    ):
        registry = {"cache_dir": folder, "cache_bytes": 2_000_000_000}
        found, rows, _ = await told(Role.SERVER, data_dir, log, registry=registry)
        assert found == status
        assert said in rows["model cache"][1]


async def test_a_cluster_says_what_the_trainer_may_do(data_dir: Path, log: Log, s3_address: str) -> None:
    async with FakeCluster() as cluster, kmock.Server(cluster):
        cluster.forbidden = {"delete jobs", "get pods/log"}
        kubernetes = {"image": "eyas-trainer:1", "api_url": str(cluster.url), "namespace": "ml", "volumes": {str(data_dir): "data"}}
        status, rows, _ = await told(Role.TRAINER, data_dir, log, kubernetes=kubernetes)
        said = "The trainer may not delete jobs, get pods/log in the namespace 'ml': bind the Role of docs/operations.md"
        assert (status, rows["training"][0]) == (1, "failed")
        assert rows["training"][1].startswith(said)
        cluster.forbidden = set()
        status, rows, _ = await told(Role.TRAINER, data_dir, log, kubernetes=kubernetes)
        assert (status, rows["training"]) == (0, ("ok", "the trainer may do what it has to in the namespace 'ml'"))
        cluster.forbidden = {"create secrets"}
        apart = {**kubernetes, "trainer": "eyas:50051", "store": f"file://{data_dir}/jobs"}
        _, rows, _ = await told(Role.TRAINER, data_dir, log, kubernetes=apart)
        assert rows["training"][1].startswith("The trainer may not create secrets in")
        cluster.forbidden = set()
        _, rows, _ = await told(Role.TRAINER, data_dir, log, kubernetes={**apart, "store": "s3://nobodys"})
        assert (
            rows["training"][1] == "kubernetes.store cannot be used: There is no bucket of s3://nobodys: make it, or name another."
        )
    status, rows, _ = await told(Role.TRAINER, data_dir, log, kubernetes=kubernetes)
    assert rows["training"][1].startswith("The cluster cannot be asked: the API server at http://127.0.0.1:")


def test_the_role_in_the_documents_is_what_is_checked() -> None:
    text = (Path(__file__).parents[2] / "docs/operations.md").read_text()
    role = yaml.safe_load(text[text.index("apiVersion: rbac") :].partition("```")[0])
    rules = {
        (group, name): tuple(rule["verbs"]) for rule in role["rules"] for group in rule["apiGroups"] for name in rule["resources"]
    }
    assert rules == {**RIGHTS, **RIGHTS_APART}
    assert kubernetes_validate.validate({**role, "metadata": {"name": "eyas-trainer"}}, "1.36", strict=True) == "1.36"
