"""Answers to pictures -> messages of the contract."""

from __future__ import annotations

from datetime import timedelta

from eyas.v1 import classification_service_pb2 as pb
from eyasd.api.errors import status_of
from eyasd.api.messages.times import duration
from eyasd.core.errors import UndecodableImage
from eyasd.core.names import version_name
from eyasd.core.unknown import Unknown
from eyasd.serving.answer import Classified, Labelled


def classify_response(classified: Classified) -> pb.ClassifyResponse:
    """Returns the message."""
    timing = classified.timing
    return pb.ClassifyResponse(
        model_version=version_name(classified.model, classified.version),
        results=[_result(result) for result in classified.results],
        timing=pb.ClassifyTiming(
            preprocessing=duration(timedelta(seconds=timing.preprocessing)),
            queue=duration(timedelta(seconds=timing.queue)),
            inference=duration(timedelta(seconds=timing.inference)),
        ),
        multi_label=classified.multi_label,
    )


def _result(result: Labelled | UndecodableImage) -> pb.ClassifyResult:
    if isinstance(result, UndecodableImage):
        return pb.ClassifyResult(error=status_of(result))
    predictions = [
        pb.Prediction(label=p.label, class_index=p.class_index, probability=p.probability, applies=p.applies)
        for p in result.predictions
    ]
    classification = pb.Classification(
        predictions=predictions,
        unknown=_unknown(result.unknown) if result.unknown else None,
        ood_score=result.ood_score,
        explanation=pb.Explanation(png=result.explanation, label=predictions[0].label) if result.explanation else None,
    )
    return pb.ClassifyResult(classification=classification)


def _unknown(unknown: Unknown) -> pb.Unknown:
    return pb.Unknown(
        reason=f"UNKNOWN_REASON_{unknown.reason.upper()}", score=unknown.score, threshold=unknown.threshold, share=unknown.share
    )
