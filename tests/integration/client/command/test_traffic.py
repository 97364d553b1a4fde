"""`eyas canary`, `eyas shadow` and `eyas traffic`."""

from __future__ import annotations

import pytest
from tests.integration.client.command.conftest import Eyas, one_sentence

from eyas.v1 import model_service_pb2, traffic_pb2
from fake_server import FakeServer


@pytest.fixture
def alone(server: FakeServer) -> FakeServer:
    """A server whose `clothing` has neither canary nor shadow."""
    nothing = traffic_pb2.Traffic(name="models/clothing/traffic")
    server.answers("GetTraffic", model_service_pb2.GetTrafficResponse(traffic=nothing))
    return server


def test_what_is_in_force_is_shown(eyas: Eyas) -> None:
    status, out, _ = eyas("traffic", "clothing")
    assert (status, out.splitlines()[:3]) == (
        0,
        [
            "clothing/7 answers 5 % of the requests for clothing@production",
            "  rolled back above 0.02 failed, or 1.5 times the latency, from 50 requests on",
            "clothing@next (clothing/8) is shown 10 % of the requests for clothing@production",
        ],
    )
    assert out.splitlines()[3].endswith("by ipv4:1: better on hats")
    status, out, _ = eyas("traffic", "clothing", "--history")
    assert "clothing/7 5 %" in out
    assert "clothing@next 10 %" in out


def test_a_model_without_either_says_what_can_be_done(eyas: Eyas, alone: FakeServer) -> None:
    status, out, _ = eyas("traffic", "clothing")
    assert (status, out) == (0, "clothing@production answers all of its requests by itself: eyas canary --help.\n")
    status, _, err = eyas("canary", "clothing", "--promote")
    assert status == 1
    assert one_sentence(err) == "clothing has no canary: start one with `eyas canary clothing VERSION --percent 5`."


def test_a_new_canary_leaves_the_shadow(eyas: Eyas, server: FakeServer) -> None:
    assert eyas("canary", "clothing", "9", "--percent", "2.5", "--min-requests", "100", "--reason", "hats")[0] == 0
    (sent,) = server.calls("SetTraffic")
    asked = sent.request.traffic
    assert (asked.canary.target, asked.canary.percent, asked.canary.min_requests) == ("models/clothing/versions/9", 2.5, 100)
    assert not asked.canary.HasField("max_error_rate")
    assert (asked.shadow.target, asked.shadow.percent) == ("models/clothing/aliases/next", 10)
    assert (sent.request.reason, sent.request.expected_record) == ("hats", 4)


def test_the_canary_there_is_gets_another_share_and_keeps_its_bounds(eyas: Eyas, server: FakeServer) -> None:
    assert eyas("canary", "clothing", "--percent", "50")[0] == 0
    canary = server.calls("SetTraffic")[0].request.traffic.canary
    assert (canary.target, canary.percent, canary.min_requests) == ("models/clothing/versions/7", 50, 50)


def test_they_end(eyas: Eyas, server: FakeServer) -> None:
    assert eyas("canary", "clothing", "--end")[0] == 0
    assert eyas("shadow", "clothing", "--end")[0] == 0
    first, second = (call.request.traffic for call in server.calls("SetTraffic"))
    assert (first.HasField("canary"), first.HasField("shadow")) == (False, True)
    assert (second.HasField("canary"), second.HasField("shadow")) == (True, False)


def test_a_promotion_points_production_to_the_canary(eyas: Eyas, server: FakeServer) -> None:
    assert eyas("canary", "clothing", "--promote")[0] == 0
    (sent,) = server.calls("SetAlias")
    assert (sent.request.name, sent.request.version) == ("models/clothing/aliases/production", "models/clothing/versions/7")
    assert server.calls("SetTraffic") == []


def test_a_shadow_is_named_by_an_alias(eyas: Eyas, server: FakeServer) -> None:
    assert eyas("shadow", "clothing", "next", "--percent", "1")[0] == 0
    assert server.calls("SetTraffic")[0].request.traffic.shadow.target == "models/clothing/aliases/next"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("canary", "clothing"), "Give a version or an alias with --percent, or other bounds"),
        (("canary", "clothing", "7", "--end"), "Give a version or an alias with --percent, or other bounds"),
        (("canary", "clothing", "9"), "A new canary needs a share: add --percent, such as --percent 5."),
        (("canary", "clothing", "7", "--percent", "0"), "0 is not in the range"),
        (("shadow", "clothing", "7"), "Give a version or an alias with --percent, or --end."),
    ],
)
def test_what_contradicts_itself_changes_nothing(eyas: Eyas, server: FakeServer, arguments: tuple[str, ...], says: str) -> None:
    status, _, err = eyas(*arguments)
    assert status == 2
    assert one_sentence(err).startswith(says) or says in one_sentence(err)
    assert server.calls("SetTraffic") == []
