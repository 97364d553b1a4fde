"""`inference.GRPCInferenceService`: see protos/inference/service.proto."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Sequence
from importlib.metadata import version as version_of_package
from typing import Any, Final

import grpc

from eyasd.api.asking import ask, caller_of
from eyasd.api.gate import caller
from eyasd.api.inference.description import config, metadata, model_statistics
from eyasd.api.inference.messages import (
    SERVICE,
    Message,
    ModelConfigResponse,
    ModelInferResponse,
    ModelReadyResponse,
    ModelStatisticsResponse,
    ModelStreamInferResponse,
    RepositoryIndexResponse,
    ServerLiveResponse,
    ServerMetadataResponse,
    ServerReadyResponse,
    message_class,
)
from eyasd.api.inference.parameters import priority, routing_key, timeout_seconds
from eyasd.api.inference.stream import InferStream
from eyasd.api.inference.tensors import Wanted, answer_tensors, pictures, wanted_outputs
from eyasd.api.streaming import GOING_DOWN
from eyasd.core.bundle import Manifest
from eyasd.core.errors import EyasError, InvalidArgument, NotFound, UndecodableImage
from eyasd.core.names import PRODUCTION, ModelRef, check_identifier
from eyasd.registry.models import Models
from eyasd.serving.answer import Classified, Labelled
from eyasd.serving.catalog import ServingState
from eyasd.serving.classifier import Classifier
from eyasd.serving.fleet import Fleet
from eyasd.serving.question import Question
from eyasd.telemetry.metrics import Metrics

# What the protocol calls extensions, and the server has: `schedule_policy` is the parameters priority and timeout.
EXTENSIONS: Final = ("classification", "model_configuration", "schedule_policy")
PREDICTION_IDS: Final = "prediction_ids"  # of a response: one a picture, in order, with commas between them
_STATES: Final = {ServingState.READY: "READY", ServingState.LOADING: "LOADING"}


class InferenceService:
    """Answers the protocol's calls with the classifier, the fleet and the registry."""

    def __init__(
        self,
        classifier: Classifier,
        fleet: Fleet,
        models: Models,
        metrics: Metrics,
        *,
        default_deadline_seconds: float,
        idle_seconds: float,
        is_ready: Callable[[], bool],
        sees_all: bool,
    ) -> None:
        """Remembers whom to ask.

        Args:
            classifier: answers.
            fleet: knows what is loaded.
            models: knows what there is.
            metrics: counts requests.
            default_deadline_seconds: of a request that came without a deadline.
            idle_seconds: how long a stream may be silent, or leave an answer untaken.
            is_ready: whether the health check of the server says SERVING.
            sees_all: whether no other process answers on the same port, so that what is counted here is all there is.
        """
        self.has_statistics = sees_all
        self._classifier = classifier
        self._fleet = fleet
        self._models = models
        self._metrics = metrics
        self._default_deadline_seconds, self._idle_seconds = default_deadline_seconds, idle_seconds
        self._is_ready = is_ready
        self._streams: set[InferStream] = set()
        self._ending = False

    async def ServerLive(self, request: Message, context: Any) -> Message:  # noqa: N802, ARG002 - gRPC's names, as everywhere below
        """Says that the daemon runs."""
        return ServerLiveResponse(live=True)

    async def ServerReady(self, request: Message, context: Any) -> Message:  # noqa: N802, ARG002
        """Says whether the daemon is ready."""
        return ServerReadyResponse(ready=self._is_ready())

    async def ServerMetadata(self, request: Message, context: Any) -> Message:  # noqa: N802, ARG002
        """Says what the server is."""
        extensions = (*EXTENSIONS, "statistics") if self.has_statistics else EXTENSIONS
        return ServerMetadataResponse(name="eyas", version=version_of_package("eyas"), extensions=extensions)

    async def ModelReady(self, request: Message, context: Any) -> Message:  # noqa: N802, ARG002
        """Says whether a model, or a version of it, answers at once."""
        ref = _ref(request.name, request.version, "name", "version")
        if not request.version:
            return ModelReadyResponse(ready=self._fleet.readiness.get(ref.model, False))
        try:
            version = await asyncio.to_thread(self._models.resolve, ref)
        except NotFound:
            return ModelReadyResponse(ready=False)
        return ModelReadyResponse(ready=self._fleet.state(ref.model, version)[0] is ServingState.READY)

    async def ModelMetadata(self, request: Message, context: Any) -> Message:  # noqa: N802, ARG002
        """Describes a version's tensors."""
        ref, manifest = await self._described(request)
        return metadata(ref.model, await asyncio.to_thread(self._models.versions, ref.model), manifest)

    async def ModelConfig(self, request: Message, context: Any) -> Message:  # noqa: N802, ARG002
        """Describes them as Triton does."""
        ref, manifest = await self._described(request)
        return ModelConfigResponse(config=config(ref.model, manifest))

    async def ModelInfer(self, request: Message, context: Any) -> Message:  # noqa: N802
        """Answers pictures."""
        wanted: Sequence[Wanted] = ()

        def question() -> Question:
            nonlocal wanted
            wanted = wanted_outputs(request)
            return Question(
                ref=_ref(request.model_name, request.model_version, "model_name", "model_version"),
                images=pictures(request),
                timeout_seconds=timeout_seconds(request, context.time_remaining(), self._default_deadline_seconds),
                top_k=max((output.top_k for output in wanted), default=0) or 1,
                priority=priority(request),
                caller=caller_of(context),
                routing_key=routing_key(request),
            )

        classified = await ask(self._classifier, self._metrics, question)
        return _response(classified, wanted, request.id)

    async def ModelStreamInfer(self, requests: AsyncIterator[Message], context: Any) -> None:  # noqa: N802
        """Answers the requests of a stream, several at a time, in their order."""
        stream = InferStream(requests, context.write, lambda request: self._streamed(request, context), self._idle_seconds)
        self._streams.add(stream)
        if self._ending:
            stream.end(GOING_DOWN)
        try:
            await stream.run()
        finally:
            self._streams.remove(stream)

    async def RepositoryIndex(self, request: Message, context: Any) -> Message:  # noqa: N802, ARG002
        """Lists every version of every model."""
        if request.repository_name:
            raise InvalidArgument(
                "repository_name", f'There is no repository {request.repository_name[:80]!r}: there is one, named "".'
            )
        listed = await asyncio.to_thread(
            lambda: [
                (model, version)
                for model in self._models.names()
                if caller().may_see(model)
                for version in self._models.versions(model)
            ]
        )
        models = [self._indexed(model, version) for model, version in listed]
        return RepositoryIndexResponse(models=[model for model in models if model["state"] == "READY" or not request.ready])

    async def ModelStatistics(self, request: Message, context: Any) -> Message:  # noqa: N802, ARG002
        """Sums up what loaded versions have done."""
        found = self._fleet.statistics()
        if request.name:
            ref = _ref(request.name, request.version, "name", "version")
            known = await asyncio.to_thread(self._models.versions, ref.model)
            wanted = [await asyncio.to_thread(self._models.resolve, ref)] if request.version else known
            found = {key: sums for key, sums in found.items() if key[0] == ref.model and key[1] in wanted}
        seen = {key: sums for key, sums in found.items() if caller().may_see(key[0])}
        return ModelStatisticsResponse(model_stats=[model_statistics(*key, sums) for key, sums in seen.items()])

    def end_streams(self) -> None:
        """Has every stream answer what it has read, and end; those that are opened after do so at once."""
        self._ending = True
        for stream in self._streams:
            stream.end(GOING_DOWN)

    async def _streamed(self, request: Message, context: Any) -> Message:
        try:
            return ModelStreamInferResponse(infer_response=await self.ModelInfer(request, context))
        except EyasError as error:
            return ModelStreamInferResponse(error_message=error.message, infer_response={"id": request.id})

    async def _described(self, request: Message) -> tuple[ModelRef, Manifest]:
        ref = _ref(request.name, request.version, "name", "version")
        version = await asyncio.to_thread(self._models.resolve, ref)
        return ref, await asyncio.to_thread(self._models.manifest, ref.model, version)

    def _indexed(self, model: str, version: int) -> dict[str, str]:
        state, error = self._fleet.state(model, version)
        reason = error.message if error else "" if state in _STATES else "not loaded; the first request for it loads it"
        return {"name": model, "version": str(version), "state": _STATES.get(state, "UNAVAILABLE"), "reason": reason}


def register(service: InferenceService, server: Any) -> None:
    """Adds the service to a gRPC server, as generated code does; without statistics, where they would not be whole."""
    handlers = {}
    for method in SERVICE.methods:
        if method.name == "ModelStatistics" and not service.has_statistics:
            continue
        make = grpc.stream_stream_rpc_method_handler if method.client_streaming else grpc.unary_unary_rpc_method_handler
        parse = message_class(method.input_type.name).FromString
        handlers[method.name] = make(getattr(service, method.name), parse, message_class(method.output_type.name).SerializeToString)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE.full_name, handlers),))
    server.add_registered_method_handlers(SERVICE.full_name, handlers)


def _ref(model: str, version: str, model_field: str, version_field: str) -> ModelRef:
    """Returns what a model's name, and a number, an alias or nothing, refer to. Raises InvalidArgument."""
    check_identifier(model, model_field, "a model")
    if re.fullmatch(r"[1-9][0-9]{0,8}", version):
        return ModelRef(model, version=int(version))
    return ModelRef(model, alias=check_identifier(version, version_field, "an alias") if version else PRODUCTION)


def _response(classified: Classified, wanted: Sequence[Wanted], request_id: str) -> Message:
    for index, result in enumerate(classified.results):
        if isinstance(result, UndecodableImage):  # the protocol has no error for one of several
            raise type(result)(f"Element {index} of the input: {result.message}", **result.metadata, index=index)
    response = ModelInferResponse(model_name=classified.model, model_version=str(classified.version), id=request_id)
    response.parameters[PREDICTION_IDS].string_param = ",".join(
        result.prediction_id for result in classified.results if isinstance(result, Labelled)
    )
    count = len(classified.results)
    for tensor, raw in answer_tensors(classified, wanted):
        response.outputs.add(name=tensor.name, datatype=tensor.datatype, shape=(count, *tensor.dims))
        response.raw_output_contents.append(raw)
    return response
