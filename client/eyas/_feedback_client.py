"""What the synchronous client reports of answers."""

from __future__ import annotations

from collections.abc import Iterable

from eyas import _feedback
from eyas._carrier import Carrier
from eyas._feedback import FeedbackResult, TrueLabels
from eyas._types import Classification


class FeedbackClient(Carrier):
    """The calls of `FeedbackService`."""

    def report_feedback(self, answer: str | Classification, true_labels: TrueLabels) -> FeedbackResult:
        """Reports what is true of a picture that was answered, so that the server knows how often it is right.

        Args:
            answer: the answer, or its `prediction_id`.
            true_labels: the picture's label by its name, or its class index; of a multi-label model all of them, or none.

        Returns:
            What became of the report; a report that cannot be used is no error.
        """
        (result,) = self.report_feedback_many([(answer, true_labels)])
        return result

    def report_feedback_many(self, reports: Iterable[tuple[str | Classification, TrueLabels]]) -> list[FeedbackResult]:
        """Reports of any number of answers, 256 a call, and returns what became of each, in order.

        Where a call fails, what was sent before it is counted; all may be sent again, as each answer is counted once.
        """
        results: list[FeedbackResult] = []
        for call in _feedback.calls(reports):
            found: list[FeedbackResult] = self._run(call)
            results += found
        return results
