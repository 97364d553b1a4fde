"""A gRPC server on a real socket that answers each method of the contract as a test says, and remembers what it was asked."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.descriptor_pool import Default as DescriptorPool
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.rpc import status_pb2

from eyas.v1 import (
    capture_service_pb2,
    dataset_service_pb2,
    feedback_service_pb2,
    job_service_pb2,
    model_service_pb2,
    training_service_pb2,
)
from eyas.v1 import classification_service_pb2 as classification_pb2

SERVICES = [
    module.DESCRIPTOR.services_by_name[name]
    for module, name in (
        (classification_pb2, "ClassificationService"),
        (feedback_service_pb2, "FeedbackService"),
        (training_service_pb2, "TrainingService"),
        (job_service_pb2, "JobService"),
        (dataset_service_pb2, "DatasetService"),
        (model_service_pb2, "ModelService"),
        (capture_service_pb2, "CaptureService"),
    )
]


@dataclass(frozen=True)
class Refusal:
    """The end of a call with a status; `details` go into `grpc-status-details-bin`, as the daemon sends them."""

    code: grpc.StatusCode
    message: str = ""
    details: tuple[Message, ...] = ()

    def status(self) -> status_pb2.Status:
        packed = []
        for detail in self.details:
            packed.append(AnyMessage())
            packed[-1].Pack(detail)
        return status_pb2.Status(code=self.code.value[0], message=self.message, details=packed)

    def end(self, context: grpc.ServicerContext) -> None:
        trailers = (("grpc-status-details-bin", self.status().SerializeToString()),) if self.details else ()
        context.set_trailing_metadata(trailers)
        context.abort(self.code, self.message)


@dataclass(frozen=True)
class Received:
    """A call as it arrived."""

    method: str
    request: Any
    metadata: dict[str, str]
    seconds_left: float | None
    peer: str


Answer = Message | Refusal | Callable[[Any], "Message | Refusal"]


class FakeServer(grpc.GenericRpcHandler):  # type: ignore[misc] # grpc has no types at run time
    """Use it as a context manager; `server.answers("GetJob", ...)` says what comes back, the last answer again and again."""

    def __init__(self, port: int = 0) -> None:
        self.received: list[Received] = []
        self._answers: dict[str, list[Any]] = {}
        self._lock = threading.Lock()
        self._server = grpc.server(
            ThreadPoolExecutor(16), handlers=[self], options=[("grpc.max_receive_message_length", 32 * 2**20)]
        )
        self.port = self._server.add_insecure_port(f"127.0.0.1:{port}")
        self.address = f"127.0.0.1:{self.port}"

    def __enter__(self) -> FakeServer:
        self._server.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        self._server.stop(0).wait()

    def answers(self, method: str, *answers: Answer | Iterable[Any]) -> None:
        """Sets the answers of a method; that of a stream is a list of messages, refusals, and functions that are called."""
        self._answers[method] = list(answers)

    def converses(self, method: str, *conversations: Callable[[Iterator[Any]], Iterator[Any]]) -> None:
        """Sets what goes on in the calls of a method that streams both ways, from its second message on."""
        self._answers[method] = list(conversations)

    def calls(self, method: str) -> list[Received]:
        return [call for call in self.received if call.method == method]

    def service(self, details: grpc.HandlerCallDetails) -> Any:
        """Finds the handler of a method; see `grpc.GenericRpcHandler`."""
        method = DescriptorPool().FindMethodByName(details.method.strip("/").replace("/", "."))
        parse = GetMessageClass(method.input_type).FromString
        if method.name not in self._answers:
            return None
        if method.client_streaming:
            return grpc.stream_stream_rpc_method_handler(lambda r, c: self._converse(method.name, r, c), parse, _write)
        if method.server_streaming:
            return grpc.unary_stream_rpc_method_handler(lambda r, c: self._stream(method.name, r, c), parse, _write)
        return grpc.unary_unary_rpc_method_handler(lambda r, c: self._answer(method.name, r, c), parse, _write)

    def _next(self, method: str, request: Any, context: grpc.ServicerContext) -> Any:
        with self._lock:
            metadata = {str(key): str(value) for key, value in context.invocation_metadata()}
            self.received.append(Received(method, request, metadata, context.time_remaining(), context.peer()))
            answers = self._answers[method]
            return answers.pop(0) if len(answers) > 1 else answers[0]

    def _answer(self, method: str, request: Any, context: grpc.ServicerContext) -> Message | None:
        answer = self._next(method, request, context)
        return _carry_out(answer(request) if callable(answer) else answer, context)

    def _converse(self, method: str, requests: Iterator[Any], context: grpc.ServicerContext) -> Iterator[Message]:
        for item in self._next(method, next(requests), context)(requests):
            if (message := _carry_out(item, context)) is not None:
                yield message

    def _stream(self, method: str, request: Any, context: grpc.ServicerContext) -> Iterator[Message]:
        for item in self._next(method, request, context):
            if callable(item):
                item()
            elif (message := _carry_out(item, context)) is not None:
                yield message


def _carry_out(answer: Message | Refusal, context: grpc.ServicerContext) -> Message | None:
    if isinstance(answer, Refusal):
        answer.end(context)
        return None
    return answer


def _write(message: Message) -> bytes:
    return message.SerializeToString()
