"""The only table from errors to status codes, and the only maker of google.rpc.Status."""

from __future__ import annotations

import random
from typing import Final

import grpc
from google.protobuf.any_pb2 import Any
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2

from eyasd.core import errors
from eyasd.core.errors import EyasError
from eyasd.telemetry.redaction import without_credentials

DOMAIN: Final = "eyas"
DETAILS_KEY: Final = "grpc-status-details-bin"
PUSHBACK_KEY: Final = "grpc-retry-pushback-ms"
# A server that is full says so to many at the same moment; they are not to come back together, and gRPC spreads them no further.
_SPREAD: Final = 0.5

# An error has the code of its nearest ancestor here; a test sees to it that every class has one of its own or inherits it.
CODES: Final[dict[type[EyasError], grpc.StatusCode]] = {
    errors.InvalidArgument: grpc.StatusCode.INVALID_ARGUMENT,
    errors.Unauthenticated: grpc.StatusCode.UNAUTHENTICATED,
    errors.PermissionDenied: grpc.StatusCode.PERMISSION_DENIED,
    errors.UndecodableImage: grpc.StatusCode.INVALID_ARGUMENT,
    errors.BadDataset: grpc.StatusCode.FAILED_PRECONDITION,
    errors.NotFound: grpc.StatusCode.NOT_FOUND,
    errors.RequestIdReused: grpc.StatusCode.ALREADY_EXISTS,
    errors.AliasConflict: grpc.StatusCode.ABORTED,
    errors.PromotionRefused: grpc.StatusCode.FAILED_PRECONDITION,
    errors.PolicyConflict: grpc.StatusCode.ABORTED,
    errors.TrafficConflict: grpc.StatusCode.ABORTED,
    errors.NothingToRollBack: grpc.StatusCode.FAILED_PRECONDITION,
    errors.VersionInUse: grpc.StatusCode.FAILED_PRECONDITION,
    errors.DatasetInUse: grpc.StatusCode.FAILED_PRECONDITION,
    errors.UploadTooLarge: grpc.StatusCode.FAILED_PRECONDITION,
    errors.DigestMismatch: grpc.StatusCode.INVALID_ARGUMENT,
    errors.ContentMissing: grpc.StatusCode.FAILED_PRECONDITION,
    errors.UploadConflict: grpc.StatusCode.ABORTED,
    errors.DatasetConflict: grpc.StatusCode.ABORTED,
    errors.JobEnded: grpc.StatusCode.FAILED_PRECONDITION,
    errors.LeaseLost: grpc.StatusCode.FAILED_PRECONDITION,
    errors.NoUnknownRule: grpc.StatusCode.FAILED_PRECONDITION,
    errors.NotExplainable: grpc.StatusCode.FAILED_PRECONDITION,
    errors.WeightsNotFound: grpc.StatusCode.FAILED_PRECONDITION,
    errors.ParityFailed: grpc.StatusCode.INTERNAL,
    errors.Overloaded: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.QuotaExceeded: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.DeadlineExceeded: grpc.StatusCode.DEADLINE_EXCEEDED,
    errors.Unavailable: grpc.StatusCode.UNAVAILABLE,
    errors.BrokenBundle: grpc.StatusCode.DATA_LOSS,
    errors.StorageFailed: grpc.StatusCode.UNAVAILABLE,
    errors.TrainerFailed: grpc.StatusCode.INTERNAL,
    errors.StartupFailed: grpc.StatusCode.INTERNAL,
}
# Of a sentence that ends a call: what is longer is a caller's own text, that nobody reads and no client takes (8 KB of metadata).
# Its end stays, where it says what to do.
_FIRST_CHARACTERS, _LAST_CHARACTERS = 600, 395
_BETWEEN: Final = " ... "
_MOST_CHARACTERS: Final = _FIRST_CHARACTERS + len(_BETWEEN) + _LAST_CHARACTERS
_BY_REASON: Final = {errors.reason_of(error): error for error in errors.all_errors()}


def code_of(error: type[EyasError]) -> grpc.StatusCode:
    """Returns the status code of an error's class."""
    return next(CODES[ancestor] for ancestor in error.__mro__ if ancestor in CODES)


def status_of(error: EyasError, request_id: str = "") -> status_pb2.Status:
    """Returns an error and its details: ErrorInfo always, BadRequest, QuotaFailure, RetryInfo and RequestInfo where they apply."""
    message = _shortened(error.message)
    metadata = {key: _shortened(value) for key, value in error.metadata.items()}
    details: list[Message] = [error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=metadata)]
    if isinstance(error, errors.InvalidArgument):
        violation = error_details_pb2.BadRequest.FieldViolation(field=error.field, description=message)
        details.append(error_details_pb2.BadRequest(field_violations=[violation]))
    if isinstance(error, errors.QuotaExceeded):
        quota = error_details_pb2.QuotaFailure.Violation(subject=metadata.get("owner", ""), description=message)
        details.append(error_details_pb2.QuotaFailure(violations=[quota]))
    if isinstance(error, errors.Overloaded | errors.Unavailable) and error.retry_after is not None:
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromTimedelta(error.retry_after)
        details.append(retry)
    if request_id:
        details.append(error_details_pb2.RequestInfo(request_id=request_id))
    return _status(code_of(type(error)), message, details)


def _shortened(text: str) -> str:
    """Returns what a caller is told of a text: no credential in it, and not its middle where it is long."""
    # First roughly, as credentials are looked for; none is cut in two where it would be seen.
    rough = 4 * _MOST_CHARACTERS
    said = told(text) if len(text) <= 2 * rough else told(text[:rough]) + told(text[-rough:])
    return said if len(said) <= _MOST_CHARACTERS else f"{said[:_FIRST_CHARACTERS]}{_BETWEEN}{said[-_LAST_CHARACTERS:]}"


def trailers_of(status: status_pb2.Status) -> tuple[tuple[str, str | bytes], ...]:
    """Returns what a call that ends with the status has after it: all of the status, and RetryInfo once more as gRPC knows it.

    gRPC's own retries, in any language, know nothing of google.rpc; by this they wait as long as the server says.
    """
    trailers: tuple[tuple[str, str | bytes], ...] = ((DETAILS_KEY, status.SerializeToString()),)
    retry = error_details_pb2.RetryInfo()
    if any(detail.Unpack(retry) for detail in status.details):
        milliseconds = retry.retry_delay.ToMilliseconds() * random.uniform(1, 1 + _SPREAD)  # noqa: S311 - spreads load, hides nothing
        trailers += ((PUSHBACK_KEY, str(max(1, round(milliseconds)))),)
    return trailers


def told(message: str) -> str:
    """Returns what a caller is told: his own words, but for credentials in the addresses that he has sent."""
    return without_credentials(message) if "://" in message else message


def status_of_surprise(message: str, request_id: str) -> status_pb2.Status:
    """Returns the status of an error that nobody foresaw, whose traceback the log has under the id."""
    return _status(grpc.StatusCode.INTERNAL, message, [error_details_pb2.RequestInfo(request_id=request_id)])


def status_of_reason(reason: str, message: str) -> status_pb2.Status:
    """Returns the status of an error that was kept as its reason and message, such as a failed job's."""
    code = code_of(_BY_REASON[reason]) if reason in _BY_REASON else grpc.StatusCode.INTERNAL
    return _status(code, told(message), [error_details_pb2.ErrorInfo(reason=reason, domain=DOMAIN)])


def _status(code: grpc.StatusCode, message: str, details: list[Message]) -> status_pb2.Status:
    status = status_pb2.Status(code=code.value[0], message=message)
    for detail in details:
        packed = Any()
        packed.Pack(detail)
        status.details.append(packed)
    return status
