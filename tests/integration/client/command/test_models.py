"""`eyas models`: versions, and the aliases that lead to them."""

from __future__ import annotations

from datetime import UTC, datetime

import grpc
from tests.integration.client.command.conftest import Eyas

from eyas.v1 import model_pb2, model_service_pb2
from fake_server import FakeServer, Refusal
from replies import version_message


def test_a_damaged_version_is_listed_and_not_pruned(eyas: Eyas, server: FakeServer) -> None:
    damaged = model_pb2.ModelVersion(name="models/clothing/versions/2", serving_state="SERVING_STATE_FAILED")
    damaged.serving_error.message = "manifest.json of clothing/2 was changed."
    server.answers("ListModelVersions", model_service_pb2.ListModelVersionsResponse(versions=[version_message(), damaged]))
    _, out, _ = eyas("models", "show", "clothing")
    assert "clothing/2 cannot be served: manifest.json of clothing/2 was changed." in out
    assert "1970" not in out
    status, out, _ = eyas("models", "prune", "clothing", "--older-than", "1h")
    assert (status, len(server.calls("DeleteModelVersion"))) == (0, 1)
    assert "was changed. Delete clothing/2 by its number, or restore it." in out


def test_old_versions_are_pruned_and_those_in_use_named(eyas: Eyas, server: FakeServer) -> None:
    versions = [version_message(number) for number in (4, 3, 2)]
    versions[0].create_time.FromDatetime(datetime.now(UTC))
    server.answers("ListModelVersions", model_service_pb2.ListModelVersionsResponse(versions=versions))
    in_use = Refusal(grpc.StatusCode.FAILED_PRECONDITION, "clothing@production points to version 3: point it elsewhere first.")
    server.answers("DeleteModelVersion", in_use, model_service_pb2.DeleteModelVersionResponse())
    status, out, _ = eyas("models", "prune", "clothing", "--older-than", "90d")
    assert (status, out.splitlines()) == (
        0,
        ["1 version is deleted.", "clothing@production points to version 3: point it elsewhere first."],
    )
    asked = [call.request.name for call in server.received if call.method.endswith("DeleteModelVersion")]
    assert asked == ["models/clothing/versions/3", "models/clothing/versions/2"]


def test_an_alias_keeps_its_reason(eyas: Eyas, server: FakeServer) -> None:
    status, out, _ = eyas("models", "alias", "clothing", "production", "3", "--reason", "better on shoes")
    assert (status, out) == (0, "clothing@production -> clothing/3\n")
    assert server.received[0].request.reason == "better on shoes"


def test_an_alias_can_be_forced(eyas: Eyas, server: FakeServer) -> None:
    assert eyas("models", "alias", "clothing", "production", "3", "--force")[0] == 0
    assert server.received[0].request.force


def test_a_rollback_says_what_is_gone(eyas: Eyas, server: FakeServer) -> None:
    status, out, _ = eyas("models", "rollback", "clothing", "--reason", "bad on hats", "--expected", "3")
    assert (status, out) == (0, "clothing@production -> clothing/2, no longer clothing/3\n")
    request = server.received[0].request
    assert (request.name, request.reason) == ("models/clothing/aliases/production", "bad on hats")
    assert request.expected_version == "models/clothing/versions/3"


def test_a_history_says_who_moved_what_and_why(eyas: Eyas, server: FakeServer) -> None:
    status, out, _ = eyas("models", "history", "clothing", "canary", "--at", "2026-11-25T20:00+01:00")
    assert status == 0
    rows = [[cell.strip() for cell in line.split("│")] for line in out.splitlines()[2:]]
    assert [[row[0], *row[2:]] for row in rows] == [
        ["3", "2", "3", "ipv4:1", "takes back 2: bad on hats"],
        ["2", "3", "", "ipv4:1", "better"],
    ]
    request = server.received[0].request
    assert request.parent == "models/clothing/aliases/canary"
    assert request.time.ToDatetime(UTC) == datetime(2026, 11, 25, 19, tzinfo=UTC)
    server.answers("ListAliasRecords", model_service_pb2.ListAliasRecordsResponse())
    assert eyas("models", "history", "clothing", "--at", "2020-01-01")[:2] == (0, "clothing@production did not exist then.\n")
