"""How a channel to a server is made: address, TLS, token, limits, and which calls gRPC may repeat by itself."""

from __future__ import annotations

import ipaddress
import json
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

import grpc

from eyas import _tracing

MAX_MESSAGE_BYTES: Final = 32 * 1024 * 1024
DEFAULT_ADDRESS: Final = "127.0.0.1:50051"
DEFAULT_TIMEOUT_SECONDS: Final = 30.0
_LONGEST_SECONDS: Final = 365 * 86_400.0

# Repeating these changes nothing: they read, or a request id, or that of a prediction, makes the second call the first. PauseJob,
# ResumeJob, SetAlias, RollbackAlias, SetPolicy and SetTraffic are not among them, since between the two attempts somebody else may
# have made another change on purpose.
_REPEATABLE: Final = {
    "ClassificationService": ["Classify"],
    "FeedbackService": ["ReportFeedback"],
    "TrainingService": ["Train", "Evaluate", "InspectDataset"],
    "JobService": ["GetJob", "ListJobs", "CancelJob"],
    "DatasetService": ["CheckUpload", "CreateDataset", "GetDataset", "ListDatasets"],
    "ModelService": [
        "ListModels",
        "GetModel",
        "GetModelVersion",
        "ListModelVersions",
        "GetReport",
        "ListAliasRecords",
        "GetPolicy",
        "GetTraffic",
        "ListTrafficRecords",
    ],
    "CaptureService": ["GetCapturePolicy", "ListCapturedPictures", "GetCapturedPicture"],
}
_RETRIES: Final = {
    "name": [{"service": f"eyas.v1.{service}", "method": method} for service, methods in _REPEATABLE.items() for method in methods],
    "retryPolicy": {
        "maxAttempts": 5,
        "initialBackoff": "0.05s",
        "maxBackoff": "0.5s",
        "backoffMultiplier": 2,
        # A server that goes down cancels what reaches it at that very moment.
        "retryableStatusCodes": ["UNAVAILABLE", "CANCELLED"],
    },
}
_OPTIONS: Final = (
    # gRPC would have all channels of a process share a connection, and so one of the server's acceptors, or one pod.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    # A request that does not fit here is never repeated; gRPC's own 256 KiB would leave out most requests with pictures.
    ("grpc.per_rpc_retry_buffer_size", MAX_MESSAGE_BYTES),
    # gRPC waits 1 s before it connects again, then up to two minutes: longer than a call is repeated, or a watch is patient.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    # A name is asked again when a server of its goes; gRPC would wait until 30 s after it asked before. Where all servers are
    # replaced in less than that, it would know none: in a roll-out of two within 5 s all calls failed for 25 s.
    ("grpc.dns_min_time_between_resolutions_ms", 1_000),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
)


@dataclass(frozen=True, kw_only=True)
class Connection:
    """Where a client's calls go, and with what.

    Attributes:
        address: `HOST:PORT`; of several servers `ipv4:HOST:PORT,HOST:PORT`, or `dns:///NAME:PORT`, which is all that the name has.
        timeout_seconds: of every call that names no other.
        retries: whether gRPC may repeat a call that changes nothing when repeated.
        tls: whether the connection is encrypted and the server's certificate checked.
        root_certificates: PEM of the authorities to trust; None is the system's.
        certificate: PEM of the client's own certificate and what leads to its authority; None is none.
        private_key: PEM of its key.
        token: sent as a bearer token.
        tracing: whether calls are spans of OpenTelemetry; None is where one is current.
    """

    address: str
    timeout_seconds: float
    retries: bool
    tls: bool
    root_certificates: bytes | None
    token: str | None = field(repr=False)
    tracing: bool | None = None
    certificate: bytes | None = None
    private_key: bytes | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        """Rejects what could not work, and what would send the token in the clear.

        Raises:
            ValueError: says what is wrong.
        """
        host, _, port = self.address.rpartition(":")
        if not host or not port.isdecimal():
            raise ValueError(f"{self.address!r} is not an address: write HOST:PORT, such as {DEFAULT_ADDRESS}.")
        _tracing.check(self.tracing)
        if self.root_certificates is not None and not self.tls:
            raise ValueError("root_certificates are given, but tls is off: turn it on.")
        if (self.certificate is None) != (self.private_key is None):
            raise ValueError("certificate and private_key are given together or not at all.")
        if self.certificate is not None and not self.tls:
            raise ValueError("A certificate is given, but tls is off: turn it on.")
        if self.token is not None and not self.tls and not self.is_local:
            raise ValueError(f"The token would travel to {host} in the clear: turn tls on.")

    @property
    def is_local(self) -> bool:
        """Whether the server is on this machine."""
        several = self.address.removeprefix("ipv4:").removeprefix("ipv6:").split(",")
        return all(_is_local(one.rpartition(":")[0].strip("[]")) for one in several)

    @property
    def is_several(self) -> bool:
        """Whether the address is meant to lead to several servers."""
        return "," in self.address or self.address.startswith("dns:")

    @property
    def options(self) -> tuple[tuple[str, str | int], ...]:
        """What a channel is made with."""
        # A proxy named in the environment cannot reach this machine's own ports, and gRPC would ask it to.
        proxy = ("grpc.enable_http_proxy", int(not self.is_local))
        return (*_OPTIONS, ("grpc.service_config", _service_config(retries=self.retries, several=self.is_several)), proxy)

    @property
    def credentials(self) -> grpc.ChannelCredentials | None:
        """What a secure channel is made with; None is a plain one."""
        return grpc.ssl_channel_credentials(self.root_certificates, self.private_key, self.certificate) if self.tls else None

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        """What is sent with every call."""
        token = (("authorization", f"Bearer {self.token}"),) if self.token is not None else ()
        return token + _tracing.headers(self.tracing)


def _service_config(*, retries: bool, several: bool) -> str:
    config: dict[str, object] = {
        "loadBalancingConfig": [{"round_robin": {}}],
        # Without a policy gRPC repeats only what no server has seen, as when a connection has become too old at the same moment.
        "methodConfig": [_RETRIES] if retries else [],
    }
    if several:
        # Those are asked that say SERVING; one that goes down says NOT_SERVING before it refuses anything. One server alone, or one
        # address that stands for several, is asked for as long as it answers.
        config["healthCheckConfig"] = {"serviceName": ""}
    return json.dumps(config)


def _is_local(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def in_seconds(timeout: float | timedelta) -> float:
    """Returns a deadline's number of seconds.

    Raises:
        ValueError: it is none: every call has a deadline, or a server that hangs would hang its callers.
    """
    seconds: object = timeout.total_seconds() if isinstance(timeout, timedelta) else timeout
    if not isinstance(seconds, int | float) or not 0 < seconds < _LONGEST_SECONDS:
        raise ValueError(f"timeout is {timeout!r}; it must be a timedelta or a number of seconds, above 0 and at most a year.")
    return float(seconds)
