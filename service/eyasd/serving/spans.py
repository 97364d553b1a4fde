"""What a trace shows of a picture's way: its decoding, its wait, and the batch that it was computed in, at their true times.

Engines measure, and tell with each answer; the clock of all processes of a machine is the same. So nothing of a trace goes there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from eyasd.serving.engine.loading import LoadedVersion
from eyasd.serving.engine.picture import Answer
from eyasd.serving.engine.wire import Batch
from eyasd.telemetry.context import Context
from eyasd.telemetry.tracing import Trace, Value

# A batch is answered at once, so those whose traces are known are the last few.
_MOST_BATCHES: Final = 64
_SHORT_SECONDS: Final = 0.0005  # a wait that nobody wants to see


class Times(NamedTuple):
    """When a picture's stages ended, on the clock of `time.monotonic`.

    Attributes:
        start: it began to wait for a slot.
        entered: it had one.
        decoded: its pixels were there, and the engine was asked.
    """

    start: float
    entered: float
    decoded: float


class Spans:
    """Makes spans of pictures. Belongs to one event loop."""

    def __init__(self, provider: str) -> None:
        """Begins; `provider` is ONNX Runtime's name of what runs the networks."""
        self._provider = provider
        self._first: dict[Batch, Context] = {}

    def add(self, trace: Trace, loaded: LoadedVersion, times: Times, answer: Answer, about: Mapping[str, Value]) -> None:
        """Adds a picture that was answered; those of one batch are linked to the first of them that is traced.

        Args:
            trace: of its call.
            loaded: the version that answered.
            times: see there.
            answer: the engine's.
            about: the picture.
        """
        if times.entered - times.start > _SHORT_SECONDS:
            trace.span("slot", times.start, times.entered)
        trace.span("decode", times.entered, times.decoded, about)
        begun = times.decoded + answer.queue_seconds
        trace.span("queue", times.decoded, begun)
        batch = answer.batch
        shown: dict[str, Value] = {
            "eyas.model": loaded.model,
            "eyas.version": loaded.version,
            "eyas.precision": loaded.precision,
            "eyas.provider": self._provider,
            "eyas.engine.pid": batch.engine,
            "eyas.batch.id": f"{batch.engine}-{batch.number}",
            "eyas.batch.images": batch.images,
        }
        first = self._first.get(batch)
        made = trace.span("inference", begun, begun + answer.inference_seconds, shown, links=[first] if first else [])
        if first is None and made is not None and batch.images > 1:
            self._first[batch] = made
            if len(self._first) > _MOST_BATCHES:
                del self._first[next(iter(self._first))]
