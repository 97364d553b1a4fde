"""The border where gRPC's errors become the client's."""

from __future__ import annotations

import pickle
from datetime import timedelta

import grpc
import pytest
from google.protobuf.any_pb2 import Any
from google.rpc import error_details_pb2, status_pb2

import eyas
from eyas._errors import from_rpc, from_status
from fake_server import Refusal

CODES = {
    grpc.StatusCode.INVALID_ARGUMENT: eyas.InvalidArgument,
    grpc.StatusCode.OUT_OF_RANGE: eyas.InvalidArgument,
    grpc.StatusCode.NOT_FOUND: eyas.NotFound,
    grpc.StatusCode.ALREADY_EXISTS: eyas.AlreadyExists,
    grpc.StatusCode.FAILED_PRECONDITION: eyas.FailedPrecondition,
    grpc.StatusCode.ABORTED: eyas.Conflict,
    grpc.StatusCode.RESOURCE_EXHAUSTED: eyas.Overloaded,
    grpc.StatusCode.DEADLINE_EXCEEDED: eyas.DeadlineExceeded,
    grpc.StatusCode.UNAVAILABLE: eyas.Unavailable,
    grpc.StatusCode.CANCELLED: eyas.Unavailable,
    grpc.StatusCode.UNAUTHENTICATED: eyas.Unauthenticated,
    grpc.StatusCode.PERMISSION_DENIED: eyas.PermissionDenied,
    grpc.StatusCode.UNIMPLEMENTED: eyas.Unsupported,
    grpc.StatusCode.INTERNAL: eyas.ServerError,
    grpc.StatusCode.UNKNOWN: eyas.ServerError,
    grpc.StatusCode.DATA_LOSS: eyas.ServerError,
}


class FailedCall(grpc.RpcError):
    """A failed call as grpc raises it."""

    def __init__(self, code: grpc.StatusCode, details: str | None, trailers: tuple[tuple[str, bytes], ...] | None = None) -> None:
        self._code, self._details, self._trailers = code, details, trailers

    def code(self) -> grpc.StatusCode:
        return self._code

    def details(self) -> str | None:
        return self._details

    def trailing_metadata(self) -> tuple[tuple[str, bytes], ...] | None:
        return self._trailers


def told(refusal: Refusal) -> eyas.EyasError:
    trailers = (("other-bin", b"?"), ("grpc-status-details-bin", refusal.status().SerializeToString()))
    return from_rpc(FailedCall(refusal.code, refusal.message, trailers), "host:1")


@pytest.mark.parametrize("code", [code for code in grpc.StatusCode if code is not grpc.StatusCode.OK])
def test_every_status_has_its_exception_and_keeps_the_servers_sentence(code: grpc.StatusCode) -> None:
    info = error_details_pb2.ErrorInfo(reason="SOME_REASON", metadata={"model": "m"})
    error = told(Refusal(code, "The server's sentence.", (info,)))
    assert type(error) is CODES[code]
    assert (str(error), error.message, error.code) == ("The server's sentence.", "The server's sentence.", code)
    assert (error.reason, error.metadata) == ("SOME_REASON", {"model": "m"})


@pytest.mark.parametrize("code", [code for code in grpc.StatusCode if code is not grpc.StatusCode.OK])
def test_a_status_without_details_has_a_sentence_too(code: grpc.StatusCode) -> None:
    error = from_rpc(FailedCall(code, None), "host:1")
    assert type(error) is CODES[code]
    assert "host:1" in error.message
    assert error.code is code


@pytest.mark.parametrize("reason", ["UNDECODABLE_IMAGE", "IMAGE_TOO_LARGE"])
def test_a_picture_that_is_none_has_an_exception_of_its_own(reason: str) -> None:
    error = told(Refusal(grpc.StatusCode.INVALID_ARGUMENT, "x", (error_details_pb2.ErrorInfo(reason=reason),)))
    assert type(error) is eyas.UndecodableImage


def test_the_fields_that_were_refused() -> None:
    violation = error_details_pb2.BadRequest.FieldViolation(field="spec.dropout", description="too large")
    error = told(Refusal(grpc.StatusCode.INVALID_ARGUMENT, "x", (error_details_pb2.BadRequest(field_violations=[violation]),)))
    assert isinstance(error, eyas.InvalidArgument)
    assert error.violations == (eyas.FieldViolation("spec.dropout", "too large"),)


def test_when_to_come_back() -> None:
    retry = error_details_pb2.RetryInfo()
    retry.retry_delay.FromTimedelta(timedelta(milliseconds=250))
    error = told(Refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, "x", (retry,)))
    assert isinstance(error, eyas.Overloaded)
    assert error.retry_after == timedelta(milliseconds=250)
    without = told(Refusal(grpc.StatusCode.RESOURCE_EXHAUSTED, "x", (error_details_pb2.ErrorInfo(),)))
    assert isinstance(without, eyas.Overloaded)
    assert without.retry_after is None


def test_details_that_cannot_be_read_are_left_out() -> None:
    broken = from_rpc(FailedCall(grpc.StatusCode.NOT_FOUND, "gone", (("grpc-status-details-bin", b"\xff\xff"),)), "host:1")
    assert (type(broken), broken.message) == (eyas.NotFound, "gone")
    packed = Any(type_url="type.googleapis.com/google.rpc.ErrorInfo", value=b"\xff\xff")
    error = from_status(status_pb2.Status(code=5, message="gone", details=[packed]))
    assert (type(error), error.message, error.reason) == (eyas.NotFound, "gone", "")


def test_a_status_that_nobody_knows_is_the_servers_error() -> None:
    error = from_status(status_pb2.Status(code=99))
    assert (type(error), error.message) == (eyas.ServerError, "The server answered UNKNOWN.")


@pytest.mark.parametrize(
    ("details", "cause"),
    [
        (
            "failed to connect to all addresses; last error: UNKNOWN: ipv4:1: Failed to connect: Connection refused (111)",
            "connection refused",
        ),
        ("DNS resolution failed for nowhere:1", "the name is not known"),
        ("Ssl handshake failed: SSL_ERROR_SSL", "the TLS handshake failed"),
        ("Socket closed", "the connection was closed"),
        ("something new", "no connection could be made"),
    ],
)
def test_a_server_that_does_not_answer(details: str, cause: str) -> None:
    error = from_rpc(FailedCall(grpc.StatusCode.UNAVAILABLE, details), "host:1")
    assert str(error) == (
        f"No Eyas server answers at host:1 ({cause}); start one with `eyasd all`, or name another with --address or EYAS_ADDRESS."
    )


def test_a_message_that_is_too_large_says_what_to_do() -> None:
    details = "SERVER: Received message larger than max (33554433 vs. 33554432)"
    error = from_rpc(FailedCall(grpc.StatusCode.RESOURCE_EXHAUSTED, details), "host:1")
    assert isinstance(error, eyas.InvalidArgument)
    assert error.reason == "MESSAGE_TOO_LARGE"
    assert "32 MiB" in error.message


def test_errors_travel_between_processes() -> None:
    error = told(Refusal(grpc.StatusCode.NOT_FOUND, "gone", (error_details_pb2.ErrorInfo(reason="R", metadata={"a": "b"}),)))
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own
    assert (type(copy), copy.message, copy.code, copy.reason, copy.metadata) == (eyas.NotFound, "gone", error.code, "R", {"a": "b"})
