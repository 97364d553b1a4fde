"""A collector that takes traces by OTLP over gRPC, and forgets them: `python collector.py PORT`."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor

import grpc

_EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"


class _Taken(grpc.GenericRpcHandler):
    """Answers every request, without reading it, that all of it has been taken."""

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[bytes, bytes] | None:
        return grpc.unary_unary_rpc_method_handler(lambda *_: b"") if handler_call_details.method == _EXPORT else None


def main() -> None:
    server = grpc.server(ThreadPoolExecutor(1), handlers=[_Taken()])
    server.add_insecure_port(f"127.0.0.1:{sys.argv[1]}")
    server.start()
    server.wait_for_termination()


if __name__ == "__main__":
    main()
