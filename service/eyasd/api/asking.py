"""What every door does with a question to the classifier: asks it, and counts how that ended."""

from __future__ import annotations

from collections.abc import Callable

from eyasd.api.errors import code_of
from eyasd.core.errors import EyasError, InvalidArgument, NotFound
from eyasd.serving.answer import Classified
from eyasd.serving.classifier import Classifier
from eyasd.serving.question import Question
from eyasd.telemetry.metrics import OTHER, Metrics


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
    try:
        question = make()
        classified = await classifier.classify(question)
    except EyasError as error:
        # Names that callers make up must not become series: only a model that exists is a label.
        known = question is not None and not isinstance(error, NotFound | InvalidArgument)
        metrics.requests.labels(question.ref.model if question and known else OTHER, OTHER, code_of(type(error)).name).inc()
        raise
    metrics.requests.labels(classified.model, str(classified.version), "OK").inc()
    return classified
