"""api.asking: who a caller is."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from eyasd.api.asking import caller_of
from eyasd.core.errors import InvalidArgument


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
