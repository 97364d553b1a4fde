"""The gRPC server: services, health, reflection, limits, and the order in which it goes down."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, cast

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2_grpc
from grpc_reflection.v1alpha._async import ReflectionServicer
from grpc_reflection.v1alpha.reflection import SERVICE_NAME

from eyas.v1 import (
    capture_service_pb2,
    capture_service_pb2_grpc,
    classification_service_pb2,
    classification_service_pb2_grpc,
    dataset_service_pb2,
    dataset_service_pb2_grpc,
    feedback_service_pb2,
    feedback_service_pb2_grpc,
    job_service_pb2,
    job_service_pb2_grpc,
    model_service_pb2,
    model_service_pb2_grpc,
    training_service_pb2,
    training_service_pb2_grpc,
)
from eyasd.access.tls import Certificates, Pems
from eyasd.api.capture import CaptureService
from eyasd.api.classify import ClassificationService
from eyasd.api.datasets import DatasetService
from eyasd.api.door import Door, Threshold
from eyasd.api.feedback import FeedbackService
from eyasd.api.health import Health
from eyasd.api.inference.messages import SERVICE, Descriptors
from eyasd.api.inference.service import InferenceService
from eyasd.api.inference.service import register as register_inference
from eyasd.api.interceptors import CallInterceptor
from eyasd.api.models import ModelService
from eyasd.api.training import JobService, TrainingService
from eyasd.api.transport import options
from eyasd.core.errors import StartupFailed
from eyasd.core.names import model_name

Service = (
    ClassificationService
    | TrainingService
    | JobService
    | DatasetService
    | ModelService
    | InferenceService
    | FeedbackService
    | CaptureService
)
Services = Sequence[Service]
_REGISTER: Final[Mapping[type, tuple[Any, Any]]] = {
    ClassificationService: (
        classification_service_pb2_grpc.add_ClassificationServiceServicer_to_server,
        classification_service_pb2.DESCRIPTOR,
    ),
    TrainingService: (training_service_pb2_grpc.add_TrainingServiceServicer_to_server, training_service_pb2.DESCRIPTOR),
    JobService: (job_service_pb2_grpc.add_JobServiceServicer_to_server, job_service_pb2.DESCRIPTOR),
    DatasetService: (dataset_service_pb2_grpc.add_DatasetServiceServicer_to_server, dataset_service_pb2.DESCRIPTOR),
    ModelService: (model_service_pb2_grpc.add_ModelServiceServicer_to_server, model_service_pb2.DESCRIPTOR),
    FeedbackService: (feedback_service_pb2_grpc.add_FeedbackServiceServicer_to_server, feedback_service_pb2.DESCRIPTOR),
    CaptureService: (capture_service_pb2_grpc.add_CaptureServiceServicer_to_server, capture_service_pb2.DESCRIPTOR),
    InferenceService: (register_inference, SERVICE.file),
}


class Server:
    """A gRPC server that says of itself whether it is ready."""

    def __init__(
        self,
        services: Services,
        interceptor: CallInterceptor,
        threshold: Threshold,
        *,
        address: str,
        certificates: Certificates | None,
        with_reflection: bool,
        connection_age_seconds: float,
        connections: int,
        window_bytes: int,
        shares_port: bool = False,
    ) -> None:
        """Binds the port, without serving yet.

        Raises:
            StartupFailed: the port is taken.
        """
        limits = options(connection_age_seconds, connections, window_bytes, shares_port=shares_port)
        self._server = Door(limits, interceptor.intercept, threshold, interceptor.surprise, interceptor.refusal)
        self._health = Health()
        self._names: list[str] = []
        self.is_ready = False
        for service in services:
            register, file = _REGISTER[type(service)]
            register(service, self._server)
            self._names += [descriptor.full_name for descriptor in file.services_by_name.values()]
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        if with_reflection:
            shown = [*self._names, health_pb2.DESCRIPTOR.services_by_name["Health"].full_name, SERVICE_NAME]
            reflection_pb2_grpc.add_ServerReflectionServicer_to_server(ReflectionServicer(shown, Descriptors()), self._server)
        self.port = self._bind(address, certificates)

    async def start(self) -> None:
        """Answers calls from now on, and says SERVING for the server and each of its services."""
        self.is_ready = True
        for name in ("", *self._names):
            self._health.set(name, health_pb2.HealthCheckResponse.SERVING)
        await self._server.start()

    def set_models(self, readiness: Mapping[str, bool]) -> None:
        """Says of each model, `models/{model}`, whether it is served."""
        for model, ready in readiness.items():
            state = health_pb2.HealthCheckResponse.SERVING if ready else health_pb2.HealthCheckResponse.NOT_SERVING
            self._health.set(model_name(model), state)

    def say_not_serving(self) -> None:
        """Says NOT_SERVING to whoever checks, for good, while calls are still answered, so that balancers look elsewhere."""
        self.is_ready = False
        self._health.refuse_checks()

    def send_away(self) -> None:
        """Says it to those that watch, too, and that at once take their calls elsewhere; see `health`."""
        self._health.send_away()

    async def stop(self, grace_seconds: float) -> None:
        """Refuses new calls, and lets those in flight finish within the grace."""
        self._health.end_watches()
        await self._server.stop(grace_seconds)

    def _bind(self, address: str, certificates: Certificates | None) -> int:
        try:
            return self._server.listen(address, _credentials(certificates) if certificates else None)
        except RuntimeError as error:
            raise StartupFailed(
                f"The address {address} cannot be listened on, because the port is in use or the address is not this machine's: "
                "stop what uses it, or choose another with --listen."
            ) from error


def _credentials(certificates: Certificates) -> grpc.ServerCredentials:
    """Returns credentials that show every new connection the certificate of the moment; those that there are keep theirs."""
    shown = certificates.current

    def fetch() -> grpc.ServerCertificateConfiguration | None:
        """Is called in gRPC's threads, before each handshake."""
        nonlocal shown
        current = certificates.current
        if current is shown:
            return None
        shown = current
        return _configuration(current)

    # None is no change, which the types of grpcio do not say.
    fetcher = cast("Callable[[], grpc.ServerCertificateConfiguration]", fetch)
    return grpc.dynamic_ssl_server_credentials(_configuration(shown), fetcher, shown.client_authority is not None)


def _configuration(pems: Pems) -> grpc.ServerCertificateConfiguration:
    return grpc.ssl_server_certificate_configuration([(pems.key, pems.certificate)], pems.client_authority)
