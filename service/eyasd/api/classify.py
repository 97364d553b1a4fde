"""ClassificationService."""

from __future__ import annotations

from typing import Any, Final

from eyas.v1 import classification_service_pb2 as pb
from eyas.v1 import classification_service_pb2_grpc as pb_grpc
from eyasd.api.asking import ask
from eyasd.api.messages.classification import classify_response
from eyasd.core.errors import InvalidArgument
from eyasd.core.names import parse_model_ref
from eyasd.serving.classifier import Classifier
from eyasd.serving.question import Question
from eyasd.telemetry.metrics import Metrics

MAX_IMAGES: Final = 64
MAX_ROUTING_KEY: Final = 256
MAX_EXPLAINED: Final = 8  # of 1,024 pixels a side, noise even, they fit into a message


class ClassificationService(pb_grpc.ClassificationServiceServicer):
    """See protos/eyas/v1/classification_service.proto."""

    def __init__(self, classifier: Classifier, metrics: Metrics, default_deadline_seconds: float) -> None:
        self._classifier = classifier
        self._metrics = metrics
        self._default_deadline_seconds = default_deadline_seconds

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
                routing_key=_routing_key(request),
            )

        return classify_response(await ask(self._classifier, self._metrics, question))


def _images(request: pb.ClassifyRequest) -> list[bytes]:
    count = len(request.images)
    if count == 0:
        raise InvalidArgument("images", f"The request holds no picture: send 1 to {MAX_IMAGES}.")
    if count > MAX_IMAGES:
        raise InvalidArgument("images", f"The request holds {count} pictures: send at most {MAX_IMAGES} at a time.")
    if request.explain and count > MAX_EXPLAINED:
        raise InvalidArgument("images", f"The request holds {count} pictures to explain: send at most {MAX_EXPLAINED} at a time.")
    return [image.content for image in request.images]


def _top_k(request: pb.ClassifyRequest) -> int:
    if request.top_k < 0:
        raise InvalidArgument("top_k", f"top_k is {request.top_k}; it must be 0, for the labels that apply, or more.")
    return request.top_k


def _routing_key(request: pb.ClassifyRequest) -> str:
    length = len(request.routing_key)
    if length > MAX_ROUTING_KEY:
        raise InvalidArgument("routing_key", f"routing_key has {length:,} characters; at most {MAX_ROUTING_KEY} are allowed.")
    key: str = request.routing_key
    return key
