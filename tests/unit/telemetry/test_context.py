"""telemetry.context: what callers send of a trace is taken where it is well-formed, and never where it is not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eyasd.telemetry.context import Context, new_span_id, new_trace_id, parse, read

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.mark.parametrize(("flags", "sampled"), [("00", False), ("01", True), ("02", False), ("03", True), ("ff", True)], ids=str)
def test_the_last_bit_of_the_flags_samples(flags: str, sampled: bool) -> None:
    assert parse(f"00-{TRACE}-{SPAN}-{flags}", "vendor=1") == Context(TRACE, SPAN, sampled, "vendor=1")


def test_a_later_version_may_say_more() -> None:
    assert parse(f"cc-{TRACE}-{SPAN}-01-what-the-future-holds") == Context(TRACE, SPAN, sampled=True)


@pytest.mark.parametrize(
    "header",
    [
        "",
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE}-{SPAN}-01-more",
        f"00-{TRACE}-{SPAN}-01\n",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE.upper()}-{SPAN}-01",
    ],
)
def test_what_is_malformed_is_none(header: str) -> None:
    assert parse(header) is None


@given(st.text(max_size=80), st.text(max_size=80))
def test_no_text_is_too_odd(header: str, request_id: str) -> None:
    given_id, context = read([("traceparent", header), ("x-request-id", request_id)])
    assert given_id in {"", request_id}
    assert given_id.isascii()
    assert given_id.isprintable()
    assert '"' not in given_id
    assert context is None or context.trace_id in header


@pytest.mark.parametrize(
    ("request_id", "taken"), [("a-1.b:2", True), ("x" * 64, True), ("x" * 65, False), ("a b", False), ("-", False)]
)
def test_a_request_id_is_taken_if_it_needs_no_quotes(request_id: str, taken: bool) -> None:
    assert read([("user-agent", "x"), ("x-request-id", request_id)]) == (request_id if taken else "", None)


def test_a_state_that_is_too_long_is_left_out() -> None:
    context = parse(f"00-{TRACE}-{SPAN}-01", "x" * 513)
    assert context == Context(TRACE, SPAN, sampled=True)
    assert context.header == f"00-{TRACE}-{SPAN}-01"


def test_ids_are_well_formed_and_new() -> None:
    made = {f"00-{new_trace_id()}-{new_span_id()}-01" for _ in range(1000)}
    assert len(made) == 1000
    assert all(parse(one) for one in made)
