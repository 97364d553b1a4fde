"""Says back what it is sent, on grpcio's sync server, on grpc.aio or on the server of Eyas: `python echo.py TASK sync|aio|door`.

What a call itself costs.
"""

from __future__ import annotations

import asyncio
import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc

OPTIONS = [("grpc.so_reuseport", 0)]


def say_back(request: bytes, _: Any) -> bytes:
    return request


async def say_back_later(request: bytes, _: Any) -> bytes:
    return request


def run_sync(address: str) -> None:
    server = grpc.server(ThreadPoolExecutor(4), options=OPTIONS)
    server.add_generic_rpc_handlers([handlers(say_back)])
    server.add_insecure_port(address)
    server.start()
    server.wait_for_termination()


async def run_aio(address: str) -> None:
    server = grpc.aio.server(options=OPTIONS)
    server.add_generic_rpc_handlers([handlers(say_back_later)])
    server.add_insecure_port(address)
    await server.start()
    await server.wait_for_termination()


async def run_door(address: str) -> None:
    from eyasd.api.door import Aborted, Door, Refusal  # noqa: PLC0415 - the others' environment has no Eyas

    refusal = Refusal(lambda _: True, Aborted(grpc.StatusCode.RESOURCE_EXHAUSTED, "", ()), lambda _: None)
    server = Door(OPTIONS, lambda _, handler: handler, print, refusal)
    server.add_generic_rpc_handlers([handlers(say_back_later)])
    server.listen(address)
    await server.start()
    await asyncio.Event().wait()


def handlers(method: Any) -> grpc.GenericRpcHandler:
    return grpc.method_handlers_generic_handler("bench.Classifier", {"Classify": grpc.unary_unary_rpc_method_handler(method)})


if __name__ == "__main__":
    listen = f"127.0.0.1:{json.loads(Path(sys.argv[1]).read_text())['port']}"
    if sys.argv[2] == "sync":
        run_sync(listen)
    elif sys.argv[2] == "aio":
        asyncio.run(run_aio(listen))
    else:
        import uvloop

        uvloop.run(run_door(listen))
