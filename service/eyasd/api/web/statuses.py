"""Status codes of gRPC <-> HTTP's, and answers and errors as JSON."""

from __future__ import annotations

import json
import math
from typing import Final

import grpc
from aiohttp import web
from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from google.rpc import status_pb2

from eyasd.api.errors import code_of, status_of
from eyasd.core.errors import EyasError, Overloaded, Unauthenticated, Unavailable

# As google/rpc/code.proto says.
HTTP_CODES: Final = {
    grpc.StatusCode.OK: 200,
    grpc.StatusCode.INVALID_ARGUMENT: 400,
    grpc.StatusCode.FAILED_PRECONDITION: 400,
    grpc.StatusCode.OUT_OF_RANGE: 400,
    grpc.StatusCode.UNAUTHENTICATED: 401,
    grpc.StatusCode.PERMISSION_DENIED: 403,
    grpc.StatusCode.NOT_FOUND: 404,
    grpc.StatusCode.ABORTED: 409,
    grpc.StatusCode.ALREADY_EXISTS: 409,
    grpc.StatusCode.RESOURCE_EXHAUSTED: 429,
    grpc.StatusCode.CANCELLED: 499,
    grpc.StatusCode.UNKNOWN: 500,
    grpc.StatusCode.INTERNAL: 500,
    grpc.StatusCode.DATA_LOSS: 500,
    grpc.StatusCode.UNIMPLEMENTED: 501,
    grpc.StatusCode.UNAVAILABLE: 503,
    grpc.StatusCode.DEADLINE_EXCEEDED: 504,
}
# Of what aiohttp refuses by itself, or for us, before there is a question; the HTTP code stays what it is.
_OF_HTTP: Final = {404: grpc.StatusCode.NOT_FOUND, 405: grpc.StatusCode.UNIMPLEMENTED, 408: grpc.StatusCode.DEADLINE_EXCEEDED}
_CHALLENGE: Final = 'Bearer realm="eyas"'


def answer(message: Message, code: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """Returns a message in the JSON form that protobuf defines for it, with every field that has no presence."""
    body = json.dumps(MessageToDict(message, always_print_fields_with_no_presence=True), ensure_ascii=False)
    return web.Response(text=body, status=code, content_type="application/json", headers=headers)


def refusal(code: grpc.StatusCode, message: str) -> web.Response:
    """Returns an error without details as google.rpc.Status."""
    return answer(status_pb2.Status(code=code.value[0], message=message), HTTP_CODES[code])


def of_error(error: EyasError, request_id: str = "", *, has_token: bool = False) -> web.Response:
    """Returns an error as google.rpc.Status, with Retry-After where it says when to come back.

    Args:
        error: it.
        request_id: of the request.
        has_token: whether that bore a credential, so that who is not known by it has a wrong one.
    """
    headers = {}
    if isinstance(error, Overloaded | Unavailable) and error.retry_after is not None:
        headers["Retry-After"] = str(max(1, math.ceil(error.retry_after.total_seconds())))
    if isinstance(error, Unauthenticated):  # RFC 6750, section 3
        headers["WWW-Authenticate"] = f'{_CHALLENGE}, error="invalid_token"' if has_token else _CHALLENGE
    return answer(status_of(error, request_id), HTTP_CODES[code_of(type(error))], headers)


def of_refused(error: web.HTTPException) -> tuple[grpc.StatusCode, web.Response]:
    """Returns the code and the response of what aiohttp refuses: no such path, another method, too large."""
    code = _OF_HTTP.get(error.status, grpc.StatusCode.INVALID_ARGUMENT)
    message = error.text or error.reason
    allow = {"Allow": error.headers["Allow"]} if "Allow" in error.headers else None
    return code, answer(status_pb2.Status(code=code.value[0], message=message), error.status, allow)
