"""Answers to pictures -> messages of the contract."""

from __future__ import annotations

from eyas.v1 import classification_service_pb2 as pb
from eyasd.api.errors import status_of
from eyasd.core.errors import UndecodableImage
from eyasd.core.names import version_name
from eyasd.core.unknown import Unknown
from eyasd.serving.answer import Classified, Labelled


def classify_response(classified: Classified) -> pb.ClassifyResponse:
    """Returns the message, built in place: this is on the way of every picture."""
    response = pb.ClassifyResponse(
        model_version=version_name(classified.model, classified.version), multi_label=classified.multi_label
    )
    for result in classified.results:
        _fill(response.results.add(), result)
    timing = response.timing
    for message, seconds in (
        (timing.preprocessing, classified.timing.preprocessing),
        (timing.queue, classified.timing.queue),
        (timing.inference, classified.timing.inference),
    ):
        message.seconds, message.nanos = divmod(round(seconds * 1e9), 1_000_000_000)
    return response


def _fill(message: pb.ClassifyResult, result: Labelled | UndecodableImage) -> None:
    if isinstance(result, UndecodableImage):
        message.error.CopyFrom(status_of(result))
        return
    classification = message.classification
    for p in result.predictions:
        classification.predictions.add(label=p.label, class_index=p.class_index, probability=p.probability, applies=p.applies)
    if result.unknown:
        classification.unknown.CopyFrom(_unknown(result.unknown))
    if result.ood_score is not None:
        classification.ood_score = result.ood_score
    if result.explanation:
        classification.explanation.png = result.explanation
        classification.explanation.label = result.predictions[0].label


def _unknown(unknown: Unknown) -> pb.Unknown:
    return pb.Unknown(
        reason=f"UNKNOWN_REASON_{unknown.reason.upper()}", score=unknown.score, threshold=unknown.threshold, share=unknown.share
    )
