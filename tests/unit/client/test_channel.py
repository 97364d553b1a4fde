"""What a client may be made with."""

from __future__ import annotations

import importlib.util
import json
from datetime import timedelta
from typing import Any

import pytest

import eyas
from eyas._channel import Connection, in_seconds
from fake_server import SERVICES


def connection(**values: Any) -> Connection:
    made: dict[str, Any] = {
        "address": "127.0.0.1:1",
        "timeout_seconds": 1,
        "retries": True,
        "tls": False,
        "root_certificates": None,
    }
    return Connection(**({"token": None} | made | values))


@pytest.mark.parametrize("address", ["127.0.0.1:1", "127.8.8.8:1", "localhost:1", "[::1]:1"])
def test_a_token_may_go_to_this_machine_in_the_clear(address: str) -> None:
    made = connection(address=address, token="hush")
    assert made.is_local
    assert made.metadata == (("authorization", "Bearer hush"),)
    assert "hush" not in repr(made)


@pytest.mark.parametrize("address", ["10.0.0.1:1", "example.org:1", "[2001:db8::1]:1", "localhost.example.org:1"])
def test_a_token_goes_elsewhere_only_with_tls(address: str) -> None:
    with pytest.raises(ValueError, match="in the clear: turn tls on"):
        connection(address=address, token="hush")
    assert connection(address=address, token="hush", tls=True).credentials is not None
    assert not connection(address=address).is_local


@pytest.mark.parametrize("address", ["", "host", "host:", ":1", "host:http", "http://host"])
def test_an_address_that_is_none(address: str) -> None:
    with pytest.raises(ValueError, match=r"is not an address: write HOST:PORT"):
        connection(address=address)


def test_certificates_without_tls_are_a_mistake() -> None:
    with pytest.raises(ValueError, match="tls is off"):
        eyas.Client(root_certificates=b"PEM")
    with pytest.raises(ValueError, match="A certificate is given, but tls is off"):
        eyas.Client(certificate=b"PEM", private_key=b"PEM")
    with pytest.raises(ValueError, match="certificate and private_key are given together or not at all"):
        eyas.Client(tls=True, certificate=b"PEM")
    assert "PEM" not in repr(connection(tls=True, certificate=b"a", private_key=b"PEM"))


@pytest.mark.parametrize(("given", "seconds"), [(2, 2.0), (0.5, 0.5), (timedelta(minutes=1), 60.0)])
def test_a_timeout(given: Any, seconds: float) -> None:
    assert in_seconds(given) == seconds


@pytest.mark.parametrize("given", [None, 0, -1, float("inf"), float("nan"), timedelta(0), "30"])
def test_there_is_always_a_deadline(given: Any) -> None:
    with pytest.raises(ValueError, match="timeout is .*; it must be"):
        eyas.Client(timeout=given)


def test_gRPC_repeats_every_call_but_those_that_must_not_be() -> None:  # noqa: N802
    config = json.loads(str(dict(connection().options)["grpc.service_config"]))
    repeated = {(name["service"], name["method"]) for entry in config["methodConfig"] for name in entry["name"]}
    methods = {(service.full_name, method.name) for service in SERVICES for method in service.methods}
    # A watch, a stream and an upload go on by themselves, from the right place.
    changes = ("SetAlias", "RollbackAlias", "SetPolicy", "SetTraffic", "DeleteModelVersion")
    moves = {("eyas.v1.ModelService", method) for method in changes} | {("eyas.v1.DatasetService", "DeleteDataset")}
    moves |= {("eyas.v1.JobService", method) for method in ("PauseJob", "ResumeJob")}
    captures = ("SetCapturePolicy", "LabelCapturedPictures", "DeleteCapturedPictures")
    moves |= {("eyas.v1.CaptureService", method) for method in captures}
    streams = {
        ("eyas.v1.JobService", "WatchJob"),
        ("eyas.v1.JobService", "ReportProgress"),
        ("eyas.v1.ClassificationService", "ClassifyStream"),
        ("eyas.v1.DatasetService", "UploadDataset"),
    }
    assert methods - repeated == moves | streams
    assert repeated <= methods
    assert all(entry["retryPolicy"]["retryableStatusCodes"] == ["UNAVAILABLE", "CANCELLED"] for entry in config["methodConfig"])
    assert "hedgingPolicy" not in json.dumps(config)


def test_proxies_are_for_other_machines() -> None:
    assert dict(connection().options)["grpc.enable_http_proxy"] == 0
    assert dict(connection(address="example.org:1").options)["grpc.enable_http_proxy"] == 1


def test_several_servers_are_local_if_all_are() -> None:
    assert connection(address="ipv4:127.0.0.1:1,127.0.0.1:2", token="hush").is_local
    assert not connection(address="ipv4:127.0.0.1:1,10.0.0.1:2").is_local


def test_without_retries_no_call_has_a_policy_and_balancing_stays() -> None:
    config = json.loads(str(dict(connection(retries=False).options)["grpc.service_config"]))
    assert config["methodConfig"] == []
    assert config["loadBalancingConfig"] == [{"round_robin": {}}]


@pytest.mark.parametrize(
    ("address", "asked"), [("127.0.0.1:1", False), ("ipv4:127.0.0.1:1,127.0.0.1:2", True), ("dns:///eyas.example.org:1", True)]
)
def test_of_several_servers_those_are_asked_that_serve(address: str, asked: bool) -> None:
    config = json.loads(str(dict(connection(address=address).options)["grpc.service_config"]))
    assert config.get("healthCheckConfig") == ({"serviceName": ""} if asked else None)


def test_traces_need_opentelemetry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match="install opentelemetry-api, or leave tracing out"):
        eyas.Client(tracing=True)
    eyas.Client(tracing=False).close()
    eyas.Client().close()
