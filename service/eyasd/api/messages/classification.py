"""Answers to pictures -> messages of the contract."""

from __future__ import annotations

from eyas.v1 import classification_service_pb2 as pb
from eyasd.api.errors import status_of
from eyasd.core.errors import EyasError, UndecodableImage
from eyasd.core.names import version_name
from eyasd.core.unknown import Unknown
from eyasd.serving.answer import Classified, Labelled, Timing


def classify_response(classified: Classified) -> pb.ClassifyResponse:
    """Returns the message, built in place: this is on the way of every picture."""
    response = pb.ClassifyResponse(
        model_version=version_name(classified.model, classified.version), multi_label=classified.multi_label
    )
    for result in classified.results:
        _fill(response.results.add(), result)
    _time(response.timing, classified.timing)
    return response


def streamed(picture_id: str, outcome: Classified | EyasError) -> pb.ClassifyStreamResponse:
    """Returns the message for one picture of a stream: its labels, or why there are none."""
    if isinstance(outcome, EyasError):
        return pb.ClassifyStreamResponse(id=picture_id, result=pb.ClassifyResult(error=status_of(outcome)))
    version = version_name(outcome.model, outcome.version)
    response = pb.ClassifyStreamResponse(id=picture_id, model_version=version, multi_label=outcome.multi_label)
    _fill(response.result, outcome.results[0])
    _time(response.timing, outcome.timing)
    return response


def _time(message: pb.ClassifyTiming, timing: Timing) -> None:
    for stage, seconds in (
        (message.preprocessing, timing.preprocessing),
        (message.queue, timing.queue),
        (message.inference, timing.inference),
    ):
        stage.seconds, stage.nanos = divmod(round(seconds * 1e9), 1_000_000_000)


def _fill(message: pb.ClassifyResult, result: Labelled | UndecodableImage) -> None:
    if isinstance(result, UndecodableImage):
        message.error.CopyFrom(status_of(result))
        return
    classification = message.classification
    for p in result.predictions:
        classification.predictions.add(label=p.label, class_index=p.class_index, probability=p.probability, applies=p.applies)
    classification.prediction_id = result.prediction_id
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
