"""`python -m eyasd.health HOST:PORT`: asks a daemon whether it is SERVING, for whoever can but run a command in its container.

The exit status is 0 if it is, and 1 after one sentence if it is not. Of Eyas it imports nothing, so that it has begun in a fraction
of a second. Kubernetes' own gRPC probes do the same, but speak no TLS.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # read with the import; one sentence, without gRPC's own lines, is enough

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

_SECONDS: Final = 3.0
_OPTIONS: Final = (("grpc.enable_http_proxy", 0),)  # no proxy of the environment is asked for what is in the same pod
_ENDED: Final = (
    "it ended the connection: if it speaks TLS, it wants --ca, and where it asks for certificates --cert and --key, too."
)
# What gRPC says, and what that means here.
_MEANINGS: Final = (
    ("Connection refused", "nobody listens there."),
    ("WRONG_VERSION_NUMBER", "it speaks no TLS: leave --ca out."),
    ("Hostname Verification Check failed", "its certificate is of another name: give one that it has with --server-name."),
    ("certificate has expired", "its certificate has expired: renew it."),
    ("CERTIFICATE_VERIFY_FAILED", "its certificate is not signed by the authority of --ca: name the one that has signed it."),
    ("create security handshaker", "--ca holds no certificate, or --cert and --key do not belong together: let each be PEM."),
    *((words, _ENDED) for words in ("Socket closed", "Connection reset", "CERTIFICATE_REQUIRED")),
)


class _Unanswered(Exception):
    """Nobody says how the daemon is; the message says why."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Asks once, and returns the exit status: 0 for SERVING, else 1; 2 where the command line is wrong."""
    asked = _arguments(arguments)
    service = f"{asked.service} of " if asked.service else ""
    try:
        status = _ask(asked)
    except _Unanswered as error:
        sys.stderr.write(f"{service}{asked.address} is not known to be SERVING: {error}\n")
        return 1
    out = sys.stdout if status == "SERVING" else sys.stderr
    out.write(f"{service}{asked.address} is {status}.\n")
    return int(status != "SERVING")


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    reader = argparse.ArgumentParser(prog="python -m eyasd.health", description="Asks a daemon whether it is SERVING.")
    reader.add_argument("address", metavar="HOST:PORT", help="of its gRPC")
    reader.add_argument("--service", default="", metavar="NAME", help="such as models/birds, rather than the daemon as a whole")
    reader.add_argument("--ca", type=Path, metavar="FILE", help="speak TLS; PEM of the authority to trust")
    reader.add_argument("--server-name", metavar="NAME", help="a name in the daemon's certificate, where HOST is none")
    reader.add_argument("--cert", type=Path, metavar="FILE", help="PEM of a client's certificate, where the daemon wants one")
    reader.add_argument("--key", type=Path, metavar="FILE", help="PEM of its private key")
    asked = reader.parse_args(arguments)
    if asked.ca is None and (asked.cert or asked.key or asked.server_name):
        reader.error("--server-name, --cert and --key are of TLS: name the authority to trust with --ca FILE, too.")
    if (asked.cert is None) != (asked.key is None):
        reader.error("--cert and --key go together: name both or neither.")
    return asked


def _ask(asked: argparse.Namespace) -> str:
    """Returns what the daemon says, such as `NOT_SERVING`.

    Raises:
        _Unanswered: it says nothing.
    """
    with _channel(asked) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        try:
            answer = stub.Check(health_pb2.HealthCheckRequest(service=asked.service), timeout=_SECONDS)
        except grpc.RpcError as error:
            raise _Unanswered(_why(error)) from error
    return str(health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status))


def _channel(asked: argparse.Namespace) -> grpc.Channel:
    if asked.ca is None:
        return grpc.insecure_channel(asked.address, _OPTIONS)
    try:
        authority, *pair = (file and file.read_bytes() for file in (asked.ca, asked.key, asked.cert))
    except OSError as error:
        raise _Unanswered(f"{error.filename} cannot be read ({error.strerror}).") from error
    named = (("grpc.ssl_target_name_override", asked.server_name),) if asked.server_name else ()
    return grpc.secure_channel(asked.address, grpc.ssl_channel_credentials(authority, *pair), (*_OPTIONS, *named))


def _why(error: grpc.RpcError) -> str:
    code, details = error.code(), error.details() or ""
    if code is grpc.StatusCode.NOT_FOUND:
        return "it has no such service."
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return f"it did not answer within {_SECONDS:.0f} s."
    meaning = next((meaning for words, meaning in _MEANINGS if words in details), "")
    return meaning or f"{code.name}, {details.rstrip('.')}."


if __name__ == "__main__":
    sys.exit(main())
