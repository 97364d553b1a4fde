"""The HTTP server: paths, token, deadlines, the access line, and the way down."""

from __future__ import annotations

import asyncio
import logging
import re
import socket
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, TypeVar

import grpc
from aiohttp import web
from aiohttp.typedefs import Handler
from aiohttp.web_protocol import RequestHandler

from eyasd.access.tls import Certificates
from eyasd.api.arrivals import Arrivals
from eyasd.api.asking import CALLER_KEY, MAX_CALLER, ask
from eyasd.api.errors import code_of
from eyasd.api.feedback import reported
from eyasd.api.gate import caller, check_model, only
from eyasd.api.interceptors import CallInterceptor
from eyasd.api.messages.classification import classify_response
from eyasd.api.permissions import CLASSIFY, FEEDBACK, Rule
from eyasd.api.web.bodies import is_whole, question_of, read_feedback, read_pictures
from eyasd.api.web.handshakes import Handshakes
from eyasd.api.web.statuses import HTTP_CODES, answer, of_error, of_refused, refusal
from eyasd.core.addresses import is_address
from eyasd.core.errors import EyasError, InvalidArgument, MessageLate, Overloaded, PermissionDenied, StartupFailed
from eyasd.core.names import parse_model_ref
from eyasd.serving.classifier import Classifier
from eyasd.serving.feedback.feedback import Feedback
from eyasd.serving.question import Question
from eyasd.telemetry.context import REQUEST_ID, TRACE_PARENT, TRACE_STATE
from eyasd.telemetry.metrics import Metrics
from eyasd.telemetry.names import OTHER
from eyasd.telemetry.tracing import Call, current

T = TypeVar("T")
_CLASSIFY, _FEEDBACK = "/v1/models/{model}:classify", "/v1/feedback"
# What a route is called in metrics and the access line.
METHODS: Final = {_CLASSIFY: "http/classify", _FEEDBACK: "http/feedback"}
# Of a route, as of the method that does the same; `/v1/health` is open.
RULES: Final = {_CLASSIFY: CLASSIFY, _FEEDBACK: FEEDBACK}
# A connection whose first request does not begin within so long is closed.
_FIRST_REQUEST_SECONDS: Final = 10.0
_LOOK_SECONDS: Final = 1.0
# aiohttp would write ten lines for each request that is no HTTP. Its caller is told so; whatever a handler meets, `_around` logs.
_UNSAID: Final = logging.getLogger("eyasd.api.web")
_UNSAID.setLevel(logging.CRITICAL + 1)


class WebDoor:
    """Answers HTTP with the classifier. Belongs to one event loop."""

    def __init__(
        self,
        classifier: Classifier,
        feedback: Feedback,
        interceptor: CallInterceptor,
        arrivals: Arrivals,
        metrics: Metrics,
        *,
        address: str,
        certificates: Certificates | None,
        connections: int,
        default_deadline_seconds: float,
        is_ready: Callable[[], bool],
        shares_port: bool = False,
        is_private: bool = False,
    ) -> None:
        """Binds the port, without serving yet.

        Args:
            classifier: answers.
            feedback: takes reports of what would have been right.
            interceptor: knows the token, and takes down how requests ended.
            arrivals: say when a body is read.
            metrics: counts questions.
            address: HOST:PORT.
            certificates: what clients are shown, and have to show; None is plain text.
            connections: how many there may be; the next one is closed as it comes.
            default_deadline_seconds: of a request that came without `timeout`.
            is_ready: whether the health check of the server says SERVING.
            shares_port: whether other processes of this daemon listen on the port, too.
            is_private: whether it answers whoever is on this machine, and so nobody who was led here by a name, as a page in a
                browser can be.

        Raises:
            StartupFailed: the address cannot be listened on.
        """
        self._classifier = classifier
        self._feedback = feedback
        self._interceptor = interceptor
        self._arrivals = arrivals
        self._metrics = metrics
        self._most_connections = connections
        self._default_deadline_seconds = default_deadline_seconds
        self._is_ready = is_ready
        self._is_private = is_private
        self._silent: dict[RequestHandler, asyncio.TimerHandle] = {}  # connections without a request yet
        app = web.Application()
        # A path names a model version as eyas.v1 does.
        app.router.add_post("/v1/{name:models/[^:]+}:classify", self._classify)
        app.router.add_post(_FEEDBACK, self._report)
        app.router.add_get("/v1/health", self._health)
        app.middlewares.append(self._around)
        # A caller who leaves takes the work with it.
        self._runner = web.AppRunner(app, handler_cancellation=True, access_log=None, logger=_UNSAID, keepalive_timeout=75.0)
        self._certificates = certificates
        host, _, port = address.rpartition(":")
        try:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            self._socket = socket.create_server((host.strip("[]"), int(port)), family=family, reuse_port=shares_port)
        except OSError as error:
            raise StartupFailed(
                f"The address {address} cannot be listened on ({error.strerror}): stop what uses it, or choose another "
                "api.http_listen."
            ) from error
        self.port = int(self._socket.getsockname()[1])
        self._server: asyncio.Server | None = None
        self._background: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Answers requests from now on."""
        await self._runner.setup()
        if self._certificates is None:
            self._server = await asyncio.get_running_loop().create_server(self._accept, sock=self._socket.dup())
        else:
            handshakes = Handshakes(self._socket, self._certificates.current.context, self._accept, self._free)
            self._background = [
                asyncio.create_task(handshakes.run()),
                asyncio.create_task(self._follow(self._certificates, handshakes)),
            ]

    async def stop(self, grace_seconds: float) -> None:
        """Refuses new connections, and lets requests in flight finish within the grace."""
        for task in self._background:
            task.cancel()
        await asyncio.gather(*self._background, return_exceptions=True)
        if self._server is not None:
            self._server.close()
        self._socket.close()
        server = self._runner.server
        if server is not None:
            server.pre_shutdown()  # idle connections
            await server.shutdown(grace_seconds)
        await self._runner.cleanup()

    async def _follow(self, certificates: Certificates, handshakes: Handshakes) -> None:
        """Has those that come shown certificates that are others; connections that there are stay."""
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            handshakes.context = (await asyncio.to_thread(lambda: certificates.current)).context

    def _free(self) -> int:
        return self._most_connections - len(self._runner.server.connections if self._runner.server else ())

    def _accept(self) -> asyncio.BaseProtocol:
        """Makes the protocol of a connection, which goes if it says nothing."""
        server = self._runner.server
        if server is None:
            raise RuntimeError("start comes first")
        if self._free() <= 0:
            return _Closed()
        protocol = server()

        def close() -> None:
            del self._silent[protocol]
            protocol.force_close()

        self._silent[protocol] = asyncio.get_running_loop().call_later(_FIRST_REQUEST_SECONDS, close)
        return protocol

    async def _health(self, _: web.Request) -> web.Response:
        ready = self._is_ready()
        return web.json_response({"status": "SERVING" if ready else "NOT_SERVING"}, status=200 if ready else 503)

    async def _classify(self, request: web.Request) -> web.Response:
        ref = parse_model_ref(request.match_info["name"], "name")
        check_model(CLASSIFY.roles, ref.model)
        pictures = await self._whole(request, read_pictures)

        if (call := current()) is not None:
            call.size_bytes = sum(map(len, pictures))

        def question() -> Question:
            who = caller().identity
            name = who.name if who.is_known else request.headers.get(CALLER_KEY, "")[:MAX_CALLER] or request.remote or ""
            return question_of(ref, pictures, request.query, default_seconds=self._default_deadline_seconds, caller=name)

        return answer(classify_response(await ask(self._classifier, self._metrics, question)))

    async def _report(self, request: web.Request) -> web.Response:
        return answer(await reported(self._feedback, await self._whole(request, read_feedback)))

    async def _whole(self, request: web.Request, read: Callable[[web.Request], Awaitable[T]]) -> T:
        """Returns what is read of a body, once there is a place for it, and which does not take for ever.

        What is promised has no place, nor what is as small as that which waits for one: neither keeps others waiting.
        """
        who = caller()
        try:
            if await self._arrivals.within(is_whole(request.content)):
                return await read(request)
            async with self._arrivals.place(who.key if who.identity.is_known else request.get_extra_info("peername")):
                return await read(request)
        except (MessageLate, Overloaded) as error:
            self._metrics.refusals.labels(OTHER, error.metadata["cause"]).inc()
            if isinstance(error, MessageLate):
                raise web.HTTPRequestTimeout(text=error.message) from None
            raise
        except web.RequestPayloadError:
            raise InvalidArgument("body", "The body is damaged, or not encoded as its Content-Encoding says.") from None

    async def _admit(self, request: web.Request, rule: Rule) -> str:
        """Returns who makes a request, once he is let in. Raises Unauthenticated, PermissionDenied."""
        host = request.headers.get("host", "localhost")  # which browsers never leave out
        if self._is_private and not _is_of_this_machine(host):
            raise PermissionDenied(
                f"{host[:80]!r} is no name of this machine, and without a credential only localhost and addresses are "
                "answered to: ask for http://localhost, set a credential, or say --insecure."
            )
        gate = self._interceptor.gate
        names = _names(request.get_extra_info("peercert")) if gate.asks_certificates else None
        made = await gate.admit(rule, only(request.headers.getall("authorization", [])), names, request.remote or "")
        return made.identity.name

    def _begin(self, request: web.Request, route: str) -> Call:
        headers = ((key, request.headers.get(key, "")) for key in (REQUEST_ID, TRACE_PARENT, TRACE_STATE))
        call = self._interceptor.tracing.begin(f"{request.method} {route}", headers)
        if call.trace is not None:
            call.trace.attributes |= {"http.request.method": request.method, "http.route": route}
        return call

    @web.middleware
    async def _around(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if timer := self._silent.pop(request.protocol, None):
            timer.cancel()
        if request.path == "/v1/health":
            return await handler(request)
        route = _FEEDBACK if request.path == _FEEDBACK else _CLASSIFY
        start = time.monotonic()
        call = self._begin(request, route)
        code, message = grpc.StatusCode.OK, None
        try:
            call.caller = await self._admit(request, RULES[route])
            response: web.StreamResponse = await handler(request)
        except asyncio.CancelledError:
            code = grpc.StatusCode.CANCELLED
            raise
        except EyasError as error:
            code, message = code_of(type(error)), error.message
            response = of_error(error, call.request_id, has_token="authorization" in request.headers)
        except web.HTTPException as error:
            code, response = of_refused(error)
            message = error.text
        except Exception as error:  # noqa: BLE001 - whatever a request meets ends it and no other
            code, message = grpc.StatusCode.INTERNAL, self._interceptor.surprise(METHODS[route], error)
            response = refusal(code, message)
        finally:
            if call.trace is not None:
                call.trace.attributes["http.response.status_code"] = HTTP_CODES[code]
            self._interceptor.report(METHODS[route], code, time.monotonic() - start, request.remote or "", message, call)
        response.headers[REQUEST_ID] = call.request_id
        if not self._is_ready():
            response.force_close()  # so that the next request finds a server that stays
        return response


class _Closed(asyncio.Protocol):
    """A connection too many."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()


def _is_of_this_machine(host: str) -> bool:
    """Returns whether a header `Host` is an address or `localhost`; any other name can be one that leads here for a moment."""
    name = re.sub(r":\d*$", "", host)
    return name == "localhost" or is_address(name)


def _names(certificate: Mapping[str, Any] | None) -> tuple[str, ...] | None:
    """Returns the names in a caller's certificate, as Python has it; None where there is none."""
    if not certificate:
        return None
    others = (value for _, value in certificate.get("subjectAltName", ()) if isinstance(value, str))
    common = (value for part in certificate.get("subject", ()) for key, value in part if key == "commonName")
    return (*others, *common)
