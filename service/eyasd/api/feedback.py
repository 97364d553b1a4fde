"""FeedbackService."""

from __future__ import annotations

from typing import Any, Final

from eyas.v1 import feedback_service_pb2 as pb
from eyas.v1 import feedback_service_pb2_grpc as pb_grpc
from eyasd.access.roles import EVERY_MODEL
from eyasd.api.gate import caller, check_model
from eyasd.api.permissions import FEEDBACK
from eyasd.core.errors import InvalidArgument
from eyasd.core.names import version_name
from eyasd.serving.feedback.feedback import Feedback
from eyasd.serving.feedback.reports import Receipt, Report

MAX_FEEDBACK: Final = 256


class FeedbackService(pb_grpc.FeedbackServiceServicer):
    """See protos/eyas/v1/feedback_service.proto."""

    def __init__(self, feedback: Feedback) -> None:
        self._feedback = feedback

    async def ReportFeedback(self, request: pb.ReportFeedbackRequest, context: Any) -> pb.ReportFeedbackResponse:  # noqa: N802, ARG002 - gRPC's names
        """Takes reports."""
        return await reported(self._feedback, request)


async def reported(feedback: Feedback, request: pb.ReportFeedbackRequest) -> pb.ReportFeedbackResponse:
    """Returns what became of each report.

    Raises:
        InvalidArgument: there are too few or too many.
        PermissionDenied: an answer is of a model of which the caller may not report any.
        StorageFailed: see `Feedback.report`.
    """
    if not 1 <= len(request.feedback) <= MAX_FEEDBACK:
        raise InvalidArgument(
            "feedback", f"The request holds {len(request.feedback)} reports: send 1 to {MAX_FEEDBACK} of them at a time."
        )
    if not caller().may(FEEDBACK.roles, EVERY_MODEL):
        for model in {feedback.model_of(one.prediction_id) for one in request.feedback} - {None}:
            check_model(FEEDBACK.roles, str(model))
    receipts = await feedback.report(
        [Report(one.prediction_id, (*one.true_labels, *one.true_class_indices)) for one in request.feedback]
    )
    return pb.ReportFeedbackResponse(results=map(_result, receipts))


def _result(receipt: Receipt) -> pb.FeedbackResult:
    return pb.FeedbackResult(
        outcome=f"FEEDBACK_OUTCOME_{receipt.outcome.upper()}",
        message=receipt.message,
        model_version=version_name(receipt.model, receipt.version) if receipt.model else "",
        answered_labels=receipt.said,
    )
