"""telemetry.tracing: which calls are traced, what their spans say, and that the rest is nearly free."""

from __future__ import annotations

import asyncio

import pytest

from eyasd.telemetry import tracing
from eyasd.telemetry.context import Context
from eyasd.telemetry.tracing import MOST_SPANS, OFF, Kind, Tracing
from kept import Kept

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0"


@pytest.fixture(autouse=True)
def no_call() -> None:
    tracing._current.set(None)


def test_a_call_and_its_parts_are_one_trace_whose_times_nest() -> None:
    kept = Kept()
    made = Tracing(kept, 0.0)
    call = made.begin("A/B", [("traceparent", PARENT + "1"), ("tracestate", "v=1")])
    assert call.trace is not None
    start = call.trace.start
    decode = call.trace.span("decode", start, start + 0.001, {"bytes": 3})
    other = call.trace.span("queue", start, start - 5.0, links=[Context("a" * 32, "b" * 16, sampled=True)], error="late")
    made.finish(call.trace, "broken")
    root, first, second = kept.spans
    assert (root.name, root.kind, root.parent_id, root.error) == ("A/B", Kind.SERVER, "00f067aa0ba902b7", "broken")
    assert {span.context.trace_id for span in kept.spans} == {"4bf92f3577b34da6a3ce929d0e0e4736"}
    assert {span.context.state for span in kept.spans} == {"v=1"}
    assert (first.context, second.context) == (decode, other)
    assert [span.parent_id for span in (first, second)] == [root.context.span_id] * 2
    assert first.end_ns - first.start_ns == pytest.approx(1e6, abs=1e3)
    assert second.end_ns == second.start_ns  # a clock that was set back makes no negative times
    assert root.start_ns <= first.start_ns <= first.end_ns
    assert second.error == "late"


@pytest.mark.parametrize(
    ("ratio", "flag", "always", "sampled"),
    [
        (0.0, "1", False, True),  # the parent decides
        (1.0, "0", True, False),
        (1.0, "", False, True),
        (0.0, "", False, False),
        (0.0, "", True, False),
        (1e-9, "", True, True),
        (1e-9, "", False, False),
    ],
)
def test_the_parent_decides_else_the_ratio(ratio: float, flag: str, always: bool, sampled: bool) -> None:
    call = Tracing(Kept(), ratio).begin("A/B", [("traceparent", PARENT + flag)] if flag else [], always=always)
    assert (call.trace is not None) is sampled
    assert bool(tracing.trace_id()) is sampled
    assert bool(call.trace_id) is (sampled or bool(flag))  # a line in the log names the caller's trace all the same


def test_a_share_of_the_calls_is_sampled() -> None:
    made = Tracing(Kept(), 0.25)
    assert 700 < sum(made.begin("A/B", []).trace is not None for _ in range(4000)) < 1300


def test_without_a_sink_nothing_is_traced_and_every_call_has_an_id() -> None:
    calls = [OFF.begin("A/B", [("traceparent", PARENT + "1")]) for _ in range(2)]
    assert [call.trace for call in calls] == [None, None]
    assert calls[0].request_id != calls[1].request_id
    assert calls[0].trace_id == "4bf92f3577b34da6a3ce929d0e0e4736"
    assert tracing.trace_id() == ""
    assert tracing.trace() is None
    assert OFF.trace("shadow", Kind.INTERNAL, always=True) is None


def test_a_call_has_no_more_spans_than_it_may_and_says_so() -> None:
    kept = Kept()
    made = Tracing(kept)
    trace = made.begin("A/B", []).trace
    assert trace is not None
    contexts = [trace.span("picture", 1.0, 2.0) for _ in range(MOST_SPANS + 5)]
    made.finish(trace)
    assert len(kept.spans) == 1 + MOST_SPANS
    assert contexts[MOST_SPANS:] == [None] * 5
    assert kept.spans[0].attributes["eyas.spans_left_out"] == 5


async def test_each_task_works_on_its_own_call() -> None:
    made = Tracing(Kept())

    async def one() -> tuple[str, str]:
        call = made.begin("A/B", [])
        await asyncio.sleep(0)
        inner = await asyncio.create_task(within())
        return call.trace_id, inner

    async def within() -> str:
        return tracing.trace_id()

    found = await asyncio.gather(*(one() for _ in range(3)))
    assert all(own == inner for own, inner in found)
    assert len(set(found)) == 3
    assert tracing.current() is None
