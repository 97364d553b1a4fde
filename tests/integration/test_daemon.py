"""The daemon as a whole: health, reflection, identity, start-up mistakes, the way down."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from builders import picture, write_bundle
from eyas.v1 import classification_service_pb2 as pb
from eyas.v1 import job_service_pb2, model_service_pb2, training_service_pb2
from eyas.v1.classification_service_pb2_grpc import ClassificationServiceStub
from eyas.v1.job_service_pb2_grpc import JobServiceStub
from eyas.v1.model_service_pb2_grpc import ModelServiceStub
from eyas.v1.training_service_pb2_grpc import TrainingServiceStub
from eyasd.app import App, Role
from eyasd.core.errors import StartupFailed
from eyasd.registry.models import Models
from waits import until

SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
CLASSIFY = pb.ClassifyRequest(model="models/colours", images=[pb.Image(content=picture())])


async def health(channel: grpc.aio.Channel, service: str) -> int:
    response = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service=service))
    return int(response.status)


async def test_health_of_the_server_its_services_and_its_models(app: App, channel: grpc.aio.Channel) -> None:
    for service in ("", "eyas.v1.ClassificationService", "eyas.v1.TrainingService", "models/colours"):
        assert await health(channel, service) == SERVING
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await health(channel, "models/nothing")
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


async def test_a_model_that_cannot_be_served_is_not_healthy_and_the_others_are(
    daemon: Any, published: Models, tmp_path: Path, data_dir: Path
) -> None:
    published.publish("broken", write_bundle(tmp_path / "b"), "job1")
    published.aliases.set("broken", "production", 1, actor="test", reason="")
    (data_dir / "models/broken/1/model.onnx").write_bytes(b"damaged")
    async with daemon(Role.SERVER) as app, grpc.aio.insecure_channel(f"127.0.0.1:{app.port}") as channel:
        assert await health(channel, "models/broken") == NOT_SERVING
        assert await health(channel, "models/colours") == SERVING
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await ClassificationServiceStub(channel).Classify(
                pb.ClassifyRequest(model="models/broken", images=[pb.Image(content=picture())])
            )
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        versions = await ModelServiceStub(channel).ListModelVersions(
            model_service_pb2.ListModelVersionsRequest(parent="models/broken")
        )
        assert "was changed after it was published" in versions.versions[0].serving_error.message


async def test_checks_and_then_watches_see_the_way_down_while_calls_are_still_answered(
    daemon: Any, published: Models, lingering: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eyasd.app._LEAVING_SECONDS", 0.125)
    async with daemon(api={"lame_duck_seconds": 0.375}) as app, grpc.aio.insecure_channel(f"127.0.0.1:{app.port}") as channel:
        health = health_pb2_grpc.HealthStub(channel)
        states = aiter(health.Watch(health_pb2.HealthCheckRequest(service="")))
        assert (await anext(states)).status == SERVING
        with lingering() as way:
            stopping = asyncio.create_task(app.stop())
            told = asyncio.create_task(anext(states))
            await until(lambda: way.pauses)
            assert (await health.Check(health_pb2.HealthCheckRequest())).status == NOT_SERVING
            assert not told.done()
            way.go_on()
            assert (await told).status == NOT_SERVING
            response = await ClassificationServiceStub(channel).Classify(CLASSIFY)
            assert len(response.results) == 1
            assert way.pauses == [0.25, 0.125]
            way.go_on()
            await stopping


async def test_reflection_lists_the_services(app: App) -> None:
    def look() -> tuple[set[str], list[str]]:
        with grpc.insecure_channel(f"127.0.0.1:{app.port}") as plain:
            database = ProtoReflectionDescriptorDatabase(plain)
            names = database.get_services()
            return set(names), [database.FindFileContainingSymbol(name).package for name in names]

    names, packages = await asyncio.to_thread(look)
    assert {f"eyas.v1.{name}Service" for name in ("Classification", "Feedback", "Training", "Job", "Model")} <= names
    assert {"eyas.v1", "inference", "grpc.health.v1"} <= set(packages)


@pytest.mark.parametrize(("role", "missing"), [(Role.SERVER, TrainingServiceStub), (Role.TRAINER, ClassificationServiceStub)])
async def test_a_role_offers_its_own_services(daemon: Any, published: Models, data_dir: Path, role: Role, missing: Any) -> None:
    async with daemon(role) as app, grpc.aio.insecure_channel(f"127.0.0.1:{app.port}") as channel:
        call = (
            missing(channel).Train(training_service_pb2.TrainRequest())
            if role is Role.SERVER
            else missing(channel).Classify(CLASSIFY)
        )
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
        while not (data_dir / "models" / ".feedback-key").exists():  # a server may only be allowed to read it
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("given", [None, "Bearer wrong", "hush"])
async def test_without_the_token_nobody_gets_in(daemon: Any, published: Models, given: str | None) -> None:
    async with daemon(api={"token": "hush"}) as app, grpc.aio.insecure_channel(f"127.0.0.1:{app.port}") as channel:
        metadata = (("authorization", given),) if given else ()
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await ClassificationServiceStub(channel).Classify(CLASSIFY, metadata=metadata)
        assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
        stream = JobServiceStub(channel).WatchJob(job_service_pb2.WatchJobRequest(name="jobs/x"), metadata=metadata)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await anext(aiter(stream))
        assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
        assert await health(channel, "") == SERVING  # probes carry no token
        right = (("authorization", "Bearer hush"),)
        assert len((await ClassificationServiceStub(channel).Classify(CLASSIFY, metadata=right)).results) == 1


@pytest.mark.parametrize(
    ("sent", "code", "says"),
    [
        ({"model": "models/m", "dataset": "/nowhere/at/all"}, "NOT_FOUND", "no folder '/nowhere/at/all'"),
        ({"model": "models/m", "dataset": "photos"}, "INVALID_ARGUMENT", "'photos' is not an absolute path"),
        ({"model": "models/m", "dataset": "/etc/hostname"}, "INVALID_ARGUMENT", "'/etc/hostname' is neither a folder"),
        ({"model": "models/M", "dataset": "/"}, "INVALID_ARGUMENT", "'M' is not a name for a model"),
        ({"model": "models/m", "dataset": "/", "alias": "-"}, "INVALID_ARGUMENT", "'-' is not a name for an alias"),
        ({"model": "models/m", "dataset": "/", "spec": {"preset": 99}}, "INVALID_ARGUMENT", "99 is not a preset"),
        (
            {"model": "models/m", "dataset": "/", "spec": {"dropout": 2}},
            "INVALID_ARGUMENT",
            "dropout is 2.0; it must be from 0 to 0.9",
        ),
        ({"model": "models/m", "dataset": "/", "base_version": "m/1"}, "INVALID_ARGUMENT", "'m/1' does not name a model version"),
        ({"model": "models/m", "dataset": "/", "base_version": "models/m"}, "NOT_FOUND", "no model 'm'; the models are: colours"),
        (
            {"model": "models/m", "dataset": "/", "base_version": "models/colours/versions/7"},
            "NOT_FOUND",
            "Model 'colours' has no version 7",
        ),
        (
            {"model": "models/m", "dataset": "/", "base_version": "models/colours", "spec": {"backbone": "resnet50"}},
            "INVALID_ARGUMENT",
            "backbone is resnet50, but that of colours/1 is colours",
        ),
        ({"model": "models/m", "dataset": "/", "request_id": "x" * 65}, "INVALID_ARGUMENT", "request_id has 65 characters"),
        ({"model": "models/m", "dataset": "/", "request_id": "x\0"}, "INVALID_ARGUMENT", "request_id has a NUL character"),
        ({"model": "models/m", "dataset": "/\0", "request_id": "x"}, "INVALID_ARGUMENT", "dataset has a NUL character"),
    ],
)
async def test_a_training_that_cannot_be_accepted(channel: grpc.aio.Channel, sent: dict[str, Any], code: str, says: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await TrainingServiceStub(channel).Train(training_service_pb2.TrainRequest(**sent))
    assert (caught.value.code().name, says in str(caught.value.details())) == (code, True), caught.value.details()


@pytest.mark.parametrize(
    ("sent", "code", "says"),
    [
        ({"dataset": "/", "other_models": ["models/colours/versions/1"] * 10}, "INVALID_ARGUMENT", "has 10 names; at most 9 are"),
        ({"dataset": "/", "other_models": ["colours"]}, "INVALID_ARGUMENT", "'colours' does not name a model version"),
        ({"dataset": "/", "other_models": ["models/colours/versions/7"]}, "NOT_FOUND", "Model 'colours' has no version 7"),
        ({"dataset": "/", "other_models": ["models/colours/versions/1"]}, "INVALID_ARGUMENT", "are both colours/1: name two"),
        ({"dataset": "/\0"}, "INVALID_ARGUMENT", "dataset has a NUL character, which cannot be kept: leave it out."),
        ({"dataset": "/", "split": 9}, "INVALID_ARGUMENT", "9 is not a split: use one of train, validation, test."),
        ({"dataset": "/", "split": 3}, "INVALID_ARGUMENT", "published without answers.npz, so its test split is not known"),
        ({}, "INVALID_ARGUMENT", "Neither a dataset nor a split is named"),
    ],
)
async def test_an_evaluation_that_cannot_be_accepted(channel: grpc.aio.Channel, sent: dict[str, Any], code: str, says: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await TrainingServiceStub(channel).Evaluate(training_service_pb2.EvaluateRequest(model="models/colours", **sent))
    assert (caught.value.code().name, says in str(caught.value.details())) == (code, True), caught.value.details()


async def test_an_inspection_that_cannot_be_accepted(channel: grpc.aio.Channel) -> None:
    stub = TrainingServiceStub(channel)
    for sent, code in (
        ({"dataset": "/nowhere/at/all"}, "NOT_FOUND"),
        ({"dataset": "/", "request_id": "x" * 65}, "INVALID_ARGUMENT"),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.InspectDataset(training_service_pb2.InspectDatasetRequest(**sent))
        assert caught.value.code().name == code


@pytest.mark.parametrize(
    ("name", "version", "code"),
    [
        ("models/colours/aliases/canary", "models/colours/versions/9", "NOT_FOUND"),
        ("models/colours", "models/colours/versions/1", "INVALID_ARGUMENT"),
        ("models/colours/aliases/canary", "models/other/versions/1", "INVALID_ARGUMENT"),
        ("models/colours/aliases/canary", "models/colours", "INVALID_ARGUMENT"),
    ],
)
async def test_an_alias_that_cannot_be_set(channel: grpc.aio.Channel, name: str, version: str, code: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await ModelServiceStub(channel).SetAlias(model_service_pb2.SetAliasRequest(name=name, version=version))
    assert caught.value.code().name == code


async def test_models_versions_and_aliases_are_listed_in_pages(
    channel: grpc.aio.Channel, published: Models, tmp_path: Path
) -> None:
    for number in (2, 3):
        published.publish("colours", write_bundle(tmp_path / str(number), job=f"job{number}"), f"job{number}")
    published.publish("zebra", write_bundle(tmp_path / "z"), "job1")
    stub = ModelServiceStub(channel)
    alias = await stub.SetAlias(
        model_service_pb2.SetAliasRequest(
            name="models/colours/aliases/canary", version="models/colours/versions/3", reason="try it"
        )
    )
    assert (alias.alias.version, alias.alias.record, alias.alias.reason) == ("models/colours/versions/3", 1, "try it")
    first = await stub.ListModels(model_service_pb2.ListModelsRequest(page_size=1))
    second = await stub.ListModels(model_service_pb2.ListModelsRequest(page_size=1, page_token=first.next_page_token))
    assert ([m.name for m in (*first.models, *second.models)], second.next_page_token) == (["models/colours", "models/zebra"], "")
    model = (await stub.GetModel(model_service_pb2.GetModelRequest(name="models/colours"))).model
    assert (model.version_count, model.latest_version) == (3, "models/colours/versions/3")
    assert [a.name for a in model.aliases] == ["models/colours/aliases/canary", "models/colours/aliases/production"]
    names: list[str] = []
    token = ""
    while True:
        page = await stub.ListModelVersions(
            model_service_pb2.ListModelVersionsRequest(parent="models/colours", page_size=2, page_token=token)
        )
        names += [version.name for version in page.versions]
        token = page.next_page_token
        if not token:
            break
    assert names == [f"models/colours/versions/{n}" for n in (3, 2, 1)]


async def test_a_port_in_use_stops_the_start(daemon: Any, app: App) -> None:
    for rooms in ({"api": {"listen": f"127.0.0.1:{app.port}"}}, {"telemetry": {"metrics_listen": f"127.0.0.1:{app.metrics_port}"}}):
        with pytest.raises(StartupFailed, match="cannot be listened on"):
            async with daemon(Role.SERVER, **rooms):
                pass


def eyasd(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "eyasd", *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        env=os.environ | environment,
        check=False,
    )


def test_a_data_folder_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    ended = eyasd("trainer", "--data-dir", str(tmp_path / "file"), "--listen", "127.0.0.1:0", "--metrics-port", "0")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert ended.stderr.startswith("eyasd: The data folder")
    assert ended.stderr.count("\n") == 1


def test_tls_files_that_are_not_there_are_one_sentence(tmp_path: Path) -> None:
    ended = eyasd(
        "server", "--listen", "127.0.0.1:0", "--metrics-port", "0", EYASD_API__TLS_KEY="no.key", EYASD_API__TLS_CERTIFICATE="no.crt"
    )
    assert (ended.returncode, ended.stderr.count("\n")) == (1, 1)
    assert "The TLS files no.crt and no.key cannot be read" in ended.stderr


def test_sigterm_ends_the_process_well_and_no_torch_was_loaded(published: Models, data_dir: Path, free_port: int) -> None:
    process = subprocess.Popen(
        [
            sys.executable,
            "-X",
            "importtime",
            "-m",
            "eyasd",
            "server",
            "--data-dir",
            str(data_dir),
            "--listen",
            f"127.0.0.1:{free_port}",
            "--metrics-port",
            "0",
        ],
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    lines: list[str] = []
    for line in process.stderr:
        lines.append(line)
        if '"event": "serving"' in line:
            process.send_signal(signal.SIGTERM)
    process.stderr.close()
    assert process.wait(30) == 0
    assert '"event": "stopped"' in lines[-1]
    assert not [
        line for line in lines if "import time" in line and line.split("|")[-1].strip().split(".")[0] in {"torch", "timm", "onnx"}
    ]


async def test_metrics_are_served(app: App) -> None:
    text = await asyncio.to_thread(lambda: urllib.request.urlopen(f"http://127.0.0.1:{app.metrics_port}/metrics").read().decode())
    assert "eyas_loaded_version_info" in text
