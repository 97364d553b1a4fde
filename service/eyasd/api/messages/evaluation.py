"""Evaluations -> messages of the contract."""

from __future__ import annotations

from eyas.v1 import evaluation_pb2
from eyasd.api.messages.findings import unreadable_messages
from eyasd.core.evaluation import Evaluation


def evaluation_message(evaluation: Evaluation) -> evaluation_pb2.Evaluation:
    """Returns the message."""
    return evaluation_pb2.Evaluation(
        examples=evaluation.examples,
        accuracy=evaluation.accuracy,
        accuracy_interval=interval(*evaluation.accuracy_interval),
        macro_precision=evaluation.macro_precision,
        macro_recall=evaluation.macro_recall,
        macro_f1=evaluation.macro_f1,
        log_loss=evaluation.log_loss,
        calibration_error=evaluation.calibration_error,
        labels=[
            evaluation_pb2.LabelMetrics(
                label=row.label,
                examples=row.examples,
                precision=row.precision,
                recall=row.recall,
                f1=row.f1,
                predicted_counts=row.predicted_counts,
                threshold=row.threshold,
            )
            for row in evaluation.labels
        ],
        unreadable_files=unreadable_messages(evaluation.unreadable_files),
        leaked_examples=evaluation.leaked_examples,
        accuracy_without_leaked=evaluation.accuracy_without_leaked,
        micro_f1=evaluation.micro_f1,
        mean_average_precision=evaluation.mean_average_precision,
        figures=[
            evaluation_pb2.Figure(name=row.name, value=row.value, interval=interval(row.low, row.high))
            for row in evaluation.figures
        ],
        missing_examples=evaluation.missing_examples,
        test_split_looks=evaluation.test_split_looks,
        reliability=[
            evaluation_pb2.ReliabilityBin(
                confidences=interval(row.low, row.high), answers=row.answers, confidence=row.confidence, right=row.right
            )
            for row in evaluation.reliability
        ],
        coverage=evaluation.coverage,
        accepted_accuracy=evaluation.accepted_accuracy,
    )


def interval(low: float, high: float) -> evaluation_pb2.Interval:
    """Returns the message."""
    return evaluation_pb2.Interval(low=low, high=high)
