"""What every door does with a question to the classifier: asks it, and counts how that ended."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import unquote

from eyasd.api.errors import code_of
from eyasd.api.gate import caller
from eyasd.core.errors import EyasError, InvalidArgument, Overloaded
from eyasd.core.names import check_text
from eyasd.serving.answer import Classified, Labelled
from eyasd.serving.classifier import Classifier
from eyasd.serving.question import Question
from eyasd.telemetry.metrics import Metrics
from eyasd.telemetry.names import OTHER
from eyasd.telemetry.tracing import current

# A caller may say who it is, such as a service behind a proxy; from another host it is another caller anyway.
CALLER_KEY: Final = "eyas-caller"
MAX_CALLER: Final = 128
_MAX_ROUTING_KEY: Final = 256


def caller_of(context: Any) -> str:
    """Returns who makes a call: who it has shown to be, or what it says of itself, or the host that it comes from.

    Raises:
        InvalidArgument: what it says of itself cannot be kept.
    """
    identity = caller().identity
    if identity.is_known:
        return identity.name
    for key, value in context.invocation_metadata() or ():
        if key == CALLER_KEY:
            return check_text(str(value)[:MAX_CALLER], CALLER_KEY)
    return host_of(context)


def host_of(context: Any) -> str:
    """Returns the host that a call comes from, as gRPC writes it."""
    return host_of_peer(context.peer())


def host_of_peer(peer: str) -> str:
    """Returns the host of what gRPC calls a caller, `ipv4:10.0.0.7:50000`."""
    return unquote(peer.rpartition(":")[0] or peer)


def actor_of(context: Any) -> str:
    """Returns whose doing a change is, as it is kept with it: who has called, or where from."""
    identity = caller().identity
    if identity.is_known:
        return identity.name
    peer: str = context.peer()
    return peer


def check_routing_key(key: str) -> str:
    """Returns the key if it may be one. Raises InvalidArgument."""
    if len(key) > _MAX_ROUTING_KEY:
        raise InvalidArgument("routing_key", f"routing_key has {len(key):,} characters; at most {_MAX_ROUTING_KEY} are allowed.")
    return key


async def ask(classifier: Classifier, metrics: Metrics, make: Callable[[], Question]) -> Classified:
    """Returns the classifier's answer.

    Args:
        classifier: is asked.
        metrics: counts the request by its outcome.
        make: makes the question of the request; raises InvalidArgument where it cannot.

    Raises:
        EyasError: as `make` and `Classifier.classify` do.
    """
    question: Question | None = None
    call = current()
    try:
        question = make()
        if call is not None:
            call.model = question.ref.model
            call.images += len(question.images)
        caller().spend(len(question.images))
        classified = await classifier.classify(question)
    except EyasError as error:
        if call is not None and question is not None:
            call.failed += len(question.images)
        # Names that callers make up must not become series: only a model that exists is a label.
        model = question.ref.model if question is not None and classifier.knows(question.ref.model) else OTHER
        version = OTHER if error.version is None else str(error.version)
        metrics.requests.labels(model, version, code_of(type(error)).name).inc()
        if isinstance(error, Overloaded):
            metrics.refusals.labels(model, error.metadata["cause"]).inc()
        raise
    metrics.requests.labels(classified.model, str(classified.version), "OK").inc()
    if call is not None:
        call.version, call.answered = classified.version, time.monotonic()
        for result in classified.results:
            if isinstance(result, Labelled):
                call.predicted(result.prediction_id)
            else:
                call.failed += 1
    return classified
