"""ClassificationService."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Final

from eyas.v1 import classification_service_pb2 as pb
from eyas.v1 import classification_service_pb2_grpc as pb_grpc
from eyasd.api.asking import ask, caller_of, check_routing_key
from eyasd.api.messages.classification import classify_response, streamed
from eyasd.api.messages.times import timedelta_of
from eyasd.api.streaming import GOING_DOWN, Answer, Stream, StreamLimits
from eyasd.core.errors import DeadlineExceeded, InvalidArgument, Overloaded, Unavailable
from eyasd.core.names import parse_model_ref
from eyasd.serving.classifier import Classifier
from eyasd.serving.question import Priority, Question
from eyasd.telemetry.metrics import Metrics

MAX_IMAGES: Final = 64
_PRIORITIES: Final = {
    pb.PRIORITY_UNSPECIFIED: Priority.NORMAL,
    pb.PRIORITY_HIGH: Priority.HIGH,
    pb.PRIORITY_NORMAL: Priority.NORMAL,
    pb.PRIORITY_LOW: Priority.LOW,
}
MAX_EXPLAINED: Final = 8  # of 1,024 pixels a side, noise even, they fit into a message


class ClassificationService(pb_grpc.ClassificationServiceServicer):
    """See protos/eyas/v1/classification_service.proto."""

    def __init__(self, classifier: Classifier, metrics: Metrics, default_deadline_seconds: float, limits: StreamLimits) -> None:
        self._classifier = classifier
        self._metrics = metrics
        self._default_deadline_seconds = default_deadline_seconds
        self._limits = limits
        self._streams: set[Stream] = set()
        self._ending = False

    async def Classify(self, request: pb.ClassifyRequest, context: Any) -> pb.ClassifyResponse:  # noqa: N802 - gRPC's name
        """Labels pictures."""
        remaining = context.time_remaining()

        def question() -> Question:
            return Question(
                ref=parse_model_ref(request.model, "model"),
                images=_images(request),
                timeout_seconds=remaining if remaining is not None else self._default_deadline_seconds,
                top_k=_top_k(request),
                allow_unknown=request.allow_unknown,
                explain=request.explain,
                priority=_priority(request),
                caller=caller_of(context),
                routing_key=check_routing_key(request.routing_key),
            )

        return classify_response(await ask(self._classifier, self._metrics, question))

    async def ClassifyStream(self, requests: AsyncIterator[pb.ClassifyStreamRequest], context: Any) -> None:  # noqa: N802 - gRPC's name
        """Labels pictures as they come."""
        stream = Stream(requests, context.write, self._limits)
        self._streams.add(stream)
        self._metrics.streams.inc()
        try:
            if self._ending:
                stream.end(GOING_DOWN)
            await stream.run(lambda options: self._answering(options, context))
        finally:
            self._streams.remove(stream)
            self._metrics.streams.dec()

    def end_streams(self) -> None:
        """Has every stream answer what it has read and end; those that come after do so at once. Calls are answered as ever."""
        self._ending = True
        for stream in self._streams:
            stream.end(GOING_DOWN)

    def _answering(self, options: pb.ClassifyStreamOptions, context: Any) -> Answer:
        ref, top_k, routing_key = (
            parse_model_ref(options.model, "options.model"),
            _top_k(options),
            check_routing_key(options.routing_key),
        )
        priority, caller = _priority(options), caller_of(context)
        longest = self._default_deadline_seconds
        if options.HasField("picture_timeout"):
            longest = timedelta_of(options.picture_timeout, "options.picture_timeout").total_seconds()
            if longest <= 0:
                raise InvalidArgument("options.picture_timeout", f"picture_timeout is {longest:g} s; it must be more than 0.")

        async def answer(picture: pb.StreamedImage) -> pb.ClassifyStreamResponse:
            remaining = context.time_remaining()
            question = Question(
                ref=ref,
                images=[picture.image.content],
                timeout_seconds=longest if remaining is None else min(longest, remaining),
                top_k=top_k,
                allow_unknown=options.allow_unknown,
                explain=options.explain,
                priority=priority,
                caller=caller,
                routing_key=routing_key,
            )
            try:
                return streamed(picture.id, await ask(self._classifier, self._metrics, lambda: question))
            except (Overloaded, DeadlineExceeded, Unavailable) as error:  # the next picture may fare better
                return streamed(picture.id, error)

        return answer


def _images(request: pb.ClassifyRequest) -> list[bytes]:
    count = len(request.images)
    if count == 0:
        raise InvalidArgument("images", f"The request holds no picture: send 1 to {MAX_IMAGES}.")
    if count > MAX_IMAGES:
        raise InvalidArgument("images", f"The request holds {count} pictures: send at most {MAX_IMAGES} at a time.")
    if request.explain and count > MAX_EXPLAINED:
        raise InvalidArgument("images", f"The request holds {count} pictures to explain: send at most {MAX_EXPLAINED} at a time.")
    return [image.content for image in request.images]


def _top_k(request: pb.ClassifyRequest | pb.ClassifyStreamOptions) -> int:
    if request.top_k < 0:
        raise InvalidArgument("top_k", f"top_k is {request.top_k}; it must be 0, for the labels that apply, or more.")
    return request.top_k


def _priority(request: pb.ClassifyRequest | pb.ClassifyStreamOptions) -> Priority:
    if request.priority not in _PRIORITIES:
        raise InvalidArgument("priority", f"priority is {request.priority}; it must be HIGH (1), NORMAL (2) or LOW (3).")
    return _PRIORITIES[request.priority]
