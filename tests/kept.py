"""A sink of traces that keeps everything."""

from __future__ import annotations

from collections.abc import Sequence

from eyasd.telemetry.tracing import Span


class Kept:
    """A sink that keeps everything."""

    def __init__(self) -> None:
        self.spans: list[Span] = []

    def put(self, spans: Sequence[Span]) -> None:
        self.spans += spans
