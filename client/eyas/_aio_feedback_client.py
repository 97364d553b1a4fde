"""What the asynchronous client reports of answers."""

from __future__ import annotations

from collections.abc import Iterable

from eyas import _feedback
from eyas._aio_carrier import Carrier
from eyas._feedback import FeedbackResult, TrueLabels
from eyas._types import Classification


class FeedbackClient(Carrier):
    """The calls of `FeedbackService`; see `eyas.Client`."""

    async def report_feedback(self, answer: str | Classification, true_labels: TrueLabels) -> FeedbackResult:
        """Reports what is true of a picture that was answered; see `eyas.Client.report_feedback`."""
        (result,) = await self.report_feedback_many([(answer, true_labels)])
        return result

    async def report_feedback_many(self, reports: Iterable[tuple[str | Classification, TrueLabels]]) -> list[FeedbackResult]:
        """Reports of any number of answers, 256 a call; see `eyas.Client.report_feedback_many`."""
        results: list[FeedbackResult] = []
        for call in _feedback.calls(reports):
            found: list[FeedbackResult] = await self._run(call)
            results += found
        return results
