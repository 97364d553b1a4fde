"""A caller's own traces: where OpenTelemetry is in use, a call is a span of it, and what the server does is part of the same trace.

Needs nothing where it is not: only who has imported OpenTelemetry, or asks for it, has it imported here.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Final

from eyas._errors import EyasError

_API: Final = "opentelemetry.trace"
_PROPAGATOR: Final = "opentelemetry.trace.propagation.tracecontext"


def check(wanted: bool | None) -> None:
    """Raises ValueError where traces are asked for, and OpenTelemetry is not installed."""
    if wanted and importlib.util.find_spec("opentelemetry") is None:
        raise ValueError("tracing is on, but OpenTelemetry is not installed: install opentelemetry-api, or leave tracing out.")


def headers(wanted: bool | None) -> tuple[tuple[str, str], ...]:
    """Returns what tells the server of the span that is current, if there is one.

    Args:
        wanted: whether calls are traced; None is where a span is current.
    """
    api = _api(wanted)
    if api is None:
        return ()
    found: dict[str, str] = {}
    importlib.import_module(_PROPAGATOR).TraceContextTextMapPropagator().inject(found)
    return tuple(found.items())


def span(wanted: bool | None, method: str) -> AbstractContextManager[None]:
    """Returns what makes a span of its block, which is a call; of nothing where calls are not traced.

    Args:
        wanted: as in `headers`.
        method: the method's path.
    """
    api = _api(wanted)
    return nullcontext() if api is None else _span(api, method)


@contextmanager
def _span(api: Any, method: str) -> Iterator[None]:
    service, _, name = method.removeprefix("/").partition("/")
    about = {"rpc.system": "grpc", "rpc.service": service, "rpc.method": name}
    tracer = api.get_tracer("eyas")
    with tracer.start_as_current_span(
        f"{service}/{name}",
        kind=api.SpanKind.CLIENT,
        attributes=about,
        record_exception=False,  # its words may hold what the caller calls his files
        set_status_on_exception=False,
    ) as made:
        try:
            yield
        except EyasError as error:
            if error.code is not None:
                made.set_attribute("rpc.grpc.status_code", error.code.value[0])
            made.set_attribute("error.type", error.reason or type(error).__name__)
            made.set_status(api.StatusCode.ERROR)
            raise
        made.set_attribute("rpc.grpc.status_code", 0)


def _api(wanted: bool | None) -> Any:
    """Returns OpenTelemetry's module if calls are traced."""
    if wanted is None:
        api = sys.modules.get(_API)
        return api if api is not None and api.get_current_span().get_span_context().is_valid else None
    return importlib.import_module(_API) if wanted else None
