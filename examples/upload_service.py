"""A web service that labels uploads: a form of files goes in, JSON comes out. Needs the client library and aiohttp.

    EYAS_ADDRESS=dns:///eyas-server-headless.eyas:50051 EYAS_MODEL=clothing python upload_service.py
    curl -F photo=@shirt.jpg -F photo=@hat.jpg http://127.0.0.1:8000/labels

The client spreads calls over all servers of the name, leaves those that go down, repeats what no server has answered, and sends
again what a full one refused when it says, all within the deadline. What is left to a service is here: which status its own callers
see.
"""

from __future__ import annotations

import logging
import math
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from http import HTTPStatus
from pathlib import Path
from typing import Final

from aiohttp import web

import eyas

MODEL: Final = os.environ.get("EYAS_MODEL", "clothing")
DEADLINE_SECONDS: Final = 10.0
MAX_UPLOAD_BYTES: Final = 30 * 1024 * 1024
CLIENT: Final = web.AppKey("client", eyas.aio.Client)
log = logging.getLogger("upload_service")


async def connect(app: web.Application) -> AsyncIterator[None]:
    """Opens the one connection that all requests share, and closes it when the last of them is answered."""
    authority = os.environ.get("EYAS_CA")
    async with eyas.aio.Client(
        os.environ.get("EYAS_ADDRESS", "127.0.0.1:50051"),
        timeout=DEADLINE_SECONDS,
        tls=authority is not None,
        root_certificates=Path(authority).read_bytes() if authority else None,  # noqa: ASYNC240 - before the first request
        token=os.environ.get("EYAS_TOKEN"),
    ) as client:
        app[CLIENT] = client
        yield


async def labels(request: web.Request) -> web.Response:
    """Labels the files of a form; a file that is no picture has an error in its place."""
    form = await request.post()
    files = [field for field in form.values() if isinstance(field, web.FileField)]
    if not files:
        raise web.HTTPBadRequest(text="There is no file in the request: send a form of files, as `curl -F photo=@a.jpg` does.\n")
    results = await request.app[CLIENT].classify_many(MODEL, [field.file.read() for field in files])
    return web.json_response([{"file": field.filename} | told(result) for field, result in zip(files, results, strict=True)])


def told(result: eyas.Classification | eyas.EyasError) -> dict[str, object]:
    """Returns what a caller is told of one file."""
    if isinstance(result, eyas.EyasError):
        return {"error": result.message}
    best = result.predictions[0]
    # Whoever learns what would have been right reports it by the id: `client.report_feedback(id, "shirt")`.
    return {"label": best.label, "probability": round(best.probability, 4), "version": result.version, "id": result.prediction_id}


@web.middleware
async def statuses(request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> web.StreamResponse:
    """Tells callers whether to come back; of what is wrong between this service and Eyas only the log tells."""
    try:
        return await handler(request)
    except eyas.Overloaded as error:
        pause = math.ceil(error.retry_after.total_seconds()) if error.retry_after else 1
        return web.Response(status=HTTPStatus.SERVICE_UNAVAILABLE, headers={"Retry-After": str(pause)}, text="Try again later.\n")
    except eyas.Unavailable as error:
        log.warning("%s", error.message)
        return web.Response(status=HTTPStatus.SERVICE_UNAVAILABLE, headers={"Retry-After": "1"}, text="Try again later.\n")
    except eyas.DeadlineExceeded:
        return web.Response(status=HTTPStatus.GATEWAY_TIMEOUT, text="Labelling took too long.\n")
    except eyas.EyasError as error:  # no such model, a wrong token
        log.error("%s (request %s)", error.message, error.request_id or "unknown")  # noqa: TRY400 - the message says it all
        return web.Response(status=HTTPStatus.BAD_GATEWAY, text="The classifier cannot be used.\n")


def make() -> web.Application:
    """Returns the service."""
    app = web.Application(middlewares=[statuses], client_max_size=MAX_UPLOAD_BYTES)
    app.cleanup_ctx.append(connect)
    app.router.add_post("/labels", labels)
    return app


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    # SIGTERM closes the door, and what is under way is answered.
    web.run_app(make(), port=int(os.environ.get("PORT", "8000")), shutdown_timeout=DEADLINE_SECONDS)
