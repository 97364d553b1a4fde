"""Every error the client raises, and the one border where gRPC's become ours."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, TypeVar

import grpc
from google.protobuf.message import DecodeError, Message
from google.rpc import error_details_pb2, status_pb2

M = TypeVar("M", bound=Message)

_DETAILS_KEY: Final = "grpc-status-details-bin"
_CODES: Final = {code.value[0]: code for code in grpc.StatusCode}


class EyasError(Exception):
    """Root of the tree.

    Attributes:
        message: one sentence or two for a person.
        code: gRPC's status; None where the error was found before anything was sent.
        reason: stable name for a program, such as `MODEL_NOT_FOUND`; empty where the server gave none.
        metadata: the values of the message.
        request_id: by which the server's log has the call; empty where it gave none.
    """

    def __init__(
        self,
        message: str,
        *,
        code: grpc.StatusCode | None = None,
        reason: str = "",
        metadata: Mapping[str, str] | None = None,
        request_id: str = "",
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.reason = reason
        self.metadata: Mapping[str, str] = dict(metadata or {})
        self.request_id = request_id


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """A field of the request, such as `spec.dropout`, and what is wrong with it."""

    field: str
    description: str


class InvalidArgument(EyasError):
    """A value is malformed or out of range.

    Attributes:
        violations: the fields that the server refused.
    """

    violations: tuple[FieldViolation, ...] = ()


class UndecodableImage(InvalidArgument):
    """A picture cannot be read, or is too large."""


class NotFound(EyasError):
    """Something named does not exist."""


class AlreadyExists(EyasError):
    """The request id was used for another request."""


class FailedPrecondition(EyasError):
    """The state of things does not allow it."""


class Conflict(EyasError):
    """Somebody else changed the same thing at the same moment."""


class Overloaded(EyasError):
    """The server refused work it could not finish in time.

    Attributes:
        retry_after: when there will probably be room; None where the server did not say.
    """

    retry_after: timedelta | None = None


class DeadlineExceeded(EyasError):
    """There was no answer within the timeout."""


class Unavailable(EyasError):
    """No server answers, or it cannot answer now."""


class Unauthenticated(EyasError):
    """The token is missing or wrong."""


class PermissionDenied(EyasError):
    """The caller is known, and may not do this."""


class Unsupported(EyasError):
    """The server does not offer this method, as a daemon of another role."""


class ServerError(EyasError):
    """The server failed; its log says more."""


class JobFailed(EyasError):
    """A job that was waited for has failed; the message is the job's own."""


class JobCancelled(EyasError):
    """A job that was waited for was cancelled."""


_BY_CODE: Final[dict[grpc.StatusCode, type[EyasError]]] = {
    grpc.StatusCode.INVALID_ARGUMENT: InvalidArgument,
    grpc.StatusCode.OUT_OF_RANGE: InvalidArgument,
    grpc.StatusCode.NOT_FOUND: NotFound,
    grpc.StatusCode.ALREADY_EXISTS: AlreadyExists,
    grpc.StatusCode.FAILED_PRECONDITION: FailedPrecondition,
    grpc.StatusCode.ABORTED: Conflict,
    grpc.StatusCode.RESOURCE_EXHAUSTED: Overloaded,
    grpc.StatusCode.DEADLINE_EXCEEDED: DeadlineExceeded,
    grpc.StatusCode.UNAVAILABLE: Unavailable,
    grpc.StatusCode.CANCELLED: Unavailable,
    grpc.StatusCode.UNAUTHENTICATED: Unauthenticated,
    grpc.StatusCode.PERMISSION_DENIED: PermissionDenied,
    grpc.StatusCode.UNIMPLEMENTED: Unsupported,
}
_BY_REASON: Final[dict[str, type[EyasError]]] = dict.fromkeys(
    ("UNDECODABLE_IMAGE", "IMAGE_TOO_LARGE", "DECODER_ENDED"), UndecodableImage
)


# How gRPC says what is in the way of a connection, and how a person would.
_CAUSES: Final = (
    ("connection refused", "connection refused"),
    ("dns resolution failed", "the name is not known"),
    ("handshake", "the TLS handshake failed"),
    ("unreachable", "the network is unreachable"),
    ("timed out", "connecting took too long"),
    ("timeout", "connecting took too long"),
    ("socket closed", "the connection was closed"),
    ("reset by peer", "the connection was closed"),
    ("goaway", "the connection was closed"),
)


def from_status(status: status_pb2.Status) -> EyasError:
    """Returns the error that a google.rpc.Status tells of."""
    code = _CODES.get(status.code, grpc.StatusCode.UNKNOWN)
    info = _detail(status, error_details_pb2.ErrorInfo())
    kind = _BY_REASON.get(info.reason) or _BY_CODE.get(code, ServerError)
    message = status.message or f"The server answered {code.name}."
    request_id = _detail(status, error_details_pb2.RequestInfo()).request_id
    error = kind(message, code=code, reason=info.reason, metadata=info.metadata, request_id=request_id)
    if isinstance(error, InvalidArgument):
        refused = _detail(status, error_details_pb2.BadRequest()).field_violations
        error.violations = tuple(FieldViolation(violation.field, violation.description) for violation in refused)
    if isinstance(error, Overloaded):
        retry = _detail(status, error_details_pb2.RetryInfo())
        error.retry_after = retry.retry_delay.ToTimedelta() if retry.HasField("retry_delay") else None
    return error


def from_rpc(rpc: grpc.RpcError, address: str) -> EyasError:
    """Returns the error for a failed call.

    Args:
        rpc: as grpc or grpc.aio raised it.
        address: of the server, for the message where none answers.
    """
    status = _status(rpc)
    return from_status(status) if status is not None else _from_the_wire(rpc.code(), rpc.details() or "", address)


def _status(rpc: grpc.RpcError) -> status_pb2.Status | None:
    """Returns what the server said in full; None where it said nothing, or nothing that can be read."""
    trailers: Any = rpc.trailing_metadata() or ()
    for key, value in trailers:
        if key == _DETAILS_KEY:
            try:
                status: status_pb2.Status = status_pb2.Status.FromString(value)
            except DecodeError:
                return None
            return status
    return None


def _detail(status: status_pb2.Status, empty: M) -> M:
    """Returns the status's detail of the kind of `empty`, or `empty`."""
    for packed in status.details:
        if packed.Is(empty.DESCRIPTOR):
            found = type(empty)()
            try:
                packed.Unpack(found)
            except DecodeError:
                break
            return found
    return empty


def _from_the_wire(code: grpc.StatusCode, details: str, address: str) -> EyasError:
    """Returns the error for a status without details: gRPC's own, or that of something between client and server."""
    lower = details.lower()
    if code is grpc.StatusCode.UNAVAILABLE:
        cause = next((words for sign, words in _CAUSES if sign in lower), "no connection could be made")
        return Unavailable(
            f"No Eyas server answers at {address} ({cause}); start one with `eyasd all`, or name another with --address or "
            "EYAS_ADDRESS.",
            code=code,
        )
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return DeadlineExceeded(
            f"The server at {address} did not answer in time: allow more with a longer timeout, or look at its load.", code=code
        )
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED and "larger than max" in lower:
        return InvalidArgument(
            "The message, or its answer, is over the limit of 32 MiB: send fewer or smaller pictures at a time.",
            code=code,
            reason="MESSAGE_TOO_LARGE",
        )
    if code is grpc.StatusCode.UNIMPLEMENTED:
        roles = "`eyasd trainer` trains, `eyasd server` classifies, `eyasd all` does both"
        return Unsupported(f"The server at {address} does not offer this: {roles}.", code=code)
    return _BY_CODE.get(code, ServerError)(details or f"The server at {address} failed with {code.name}.", code=code)
