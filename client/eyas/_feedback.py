"""What is reported of answers, and what becomes of it: the client's values, and the calls and messages they travel in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from typing import Final

from eyas import _convert
from eyas._calls import Call
from eyas._settings import enum_name
from eyas._types import Classification
from eyas.v1 import feedback_service_pb2 as pb

AT_A_TIME: Final = 256

# A label by its name or its class index, or several of a multi-label model.
TrueLabels = str | int | Iterable[str | int]


class FeedbackOutcome(StrEnum):
    """What became of a report; `unspecified` is an outcome that only a newer client knows.

    `right` and `wrong` are counted. `repeated` was before, and `corrected` with another label, which stays counted. `expired` came
    too late, or its version has been deleted; `forged` has an id that no server with this one's key has made; `unknown_label` can
    be reported again.
    """

    UNSPECIFIED = "unspecified"
    RIGHT = "right"
    WRONG = "wrong"
    REPEATED = "repeated"
    CORRECTED = "corrected"
    EXPIRED = "expired"
    FORGED = "forged"
    UNKNOWN_LABEL = "unknown_label"


@dataclass(frozen=True, slots=True)
class FeedbackResult:
    """What became of a report.

    Attributes:
        prediction_id: of the answer it was about.
        outcome: see there.
        message: why it was not counted; "" where it was.
        version: that answered, such as `clothing/3`; "" where the id has expired, or is none.
        answered: the labels that the answer had; empty likewise.
    """

    prediction_id: str
    outcome: FeedbackOutcome
    message: str
    version: str
    answered: tuple[str, ...]

    @property
    def is_known(self) -> bool:
        """Whether the answer has been judged, by this report or before."""
        return self.outcome in {
            FeedbackOutcome.RIGHT,
            FeedbackOutcome.WRONG,
            FeedbackOutcome.REPEATED,
            FeedbackOutcome.CORRECTED,
        }


def calls(reports: Iterable[tuple[str | Classification, TrueLabels]]) -> Iterator[Call[list[FeedbackResult]]]:
    """Yields ReportFeedback of the reports, so many at a time as a call takes."""
    remaining = iter(reports)
    while some := list(islice(remaining, AT_A_TIME)):
        yield _call(some)


def _call(reports: Sequence[tuple[str | Classification, TrueLabels]]) -> Call[list[FeedbackResult]]:
    request = pb.ReportFeedbackRequest()
    for answer, labels in reports:
        message = request.feedback.add(prediction_id=answer.prediction_id if isinstance(answer, Classification) else answer)
        for label in [labels] if isinstance(labels, str | int) else labels:
            if isinstance(label, str):
                message.true_labels.append(label)
            else:
                message.true_class_indices.append(label)

    def convert(response: pb.ReportFeedbackResponse) -> list[FeedbackResult]:
        return [_result(sent.prediction_id, result) for sent, result in zip(request.feedback, response.results, strict=True)]

    return Call("/eyas.v1.FeedbackService/ReportFeedback", request, pb.ReportFeedbackResponse, convert)


def _result(prediction_id: str, message: pb.FeedbackResult) -> FeedbackResult:
    return FeedbackResult(
        prediction_id,
        FeedbackOutcome(enum_name(pb.FeedbackOutcome.DESCRIPTOR, message.outcome)),
        message.message,
        _convert.short(message.model_version),
        tuple(message.answered_labels),
    )
