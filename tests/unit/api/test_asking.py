"""api.asking: who a caller is, and what names callers cannot make into series."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import cast

import pytest

from eyasd.api.asking import ask, caller_of
from eyasd.core.errors import DeadlineExceeded, EyasError, InvalidArgument, Overloaded
from eyasd.core.names import ModelRef
from eyasd.serving.answer import Classified
from eyasd.serving.classifier import Classifier
from eyasd.serving.question import Question
from eyasd.telemetry.metrics import Metrics


class Context:
    """What gRPC knows of a call."""

    def __init__(self, peer: str, metadata: Sequence[tuple[str, str]] | None = ()) -> None:
        self._peer = peer
        self._metadata = metadata

    def peer(self) -> str:
        return self._peer

    def invocation_metadata(self) -> Sequence[tuple[str, str]] | None:
        return self._metadata


@pytest.mark.parametrize(
    ("peer", "caller"),
    [
        ("ipv4:192.0.2.7:42392", "ipv4:192.0.2.7"),
        ("ipv6:%5B2001:db8::7%5D:42392", "ipv6:[2001:db8::7]"),
        ("unix:", "unix"),
        ("unknown", "unknown"),
    ],
)
def test_a_caller_is_its_host_whatever_connection_it_comes_over(peer: str, caller: str) -> None:
    assert caller_of(Context(peer)) == caller
    assert caller_of(Context(peer, None)) == caller


def test_or_what_it_says_of_itself_up_to_a_length() -> None:
    assert caller_of(Context("ipv4:192.0.2.7:1", [("user-agent", "grpc"), ("eyas-caller", "shop")])) == "shop"
    assert caller_of(Context("ipv4:192.0.2.7:1", [("eyas-caller", "x" * 1000)])) == "x" * 128
    with pytest.raises(InvalidArgument, match="eyas-caller has a NUL character"):
        caller_of(Context("ipv4:192.0.2.7:1", [("eyas-caller", "a\0")]))


class Busy:
    """A classifier that knows one model, and refuses everything."""

    def __init__(self, error: EyasError) -> None:
        self._error = error

    def knows(self, model: str) -> bool:
        return model == "birds"

    async def classify(self, _: Question) -> Classified:
        raise self._error


def overloaded() -> Overloaded:
    return Overloaded("full", timedelta(seconds=1), cause="room")


async def test_a_name_that_a_caller_makes_up_is_no_label_whatever_becomes_of_the_call(metrics: Metrics) -> None:
    late = DeadlineExceeded("late")
    late.version = 3
    for model, error in (
        ("birds", overloaded()),
        ("made-up", overloaded()),
        ("made-up", DeadlineExceeded("late")),
        ("birds", late),
    ):
        question = Question(ref=ModelRef(model, alias="production"), images=[b""], timeout_seconds=1.0, caller="")
        with pytest.raises(EyasError):
            await ask(cast("Classifier", Busy(error)), metrics, lambda question=question: question)  # type: ignore[misc]
    value = metrics.registry.get_sample_value
    for model, version, code in (
        ("birds", "other", "RESOURCE_EXHAUSTED"),
        ("other", "other", "RESOURCE_EXHAUSTED"),
        ("other", "other", "DEADLINE_EXCEEDED"),
        ("birds", "3", "DEADLINE_EXCEEDED"),
    ):
        assert value("eyas_requests_total", {"model": model, "version": version, "code": code}) == 1
    assert value("eyas_refusals_total", {"model": "birds", "reason": "room"}) == 1
    assert value("eyas_refusals_total", {"model": "other", "reason": "room"}) == 1
