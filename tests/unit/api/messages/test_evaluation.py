"""Nothing of an evaluation is lost on its way to the contract, and what is unknown stays so."""

from __future__ import annotations

from dataclasses import replace

from builders import evaluation
from eyas.v1 import evaluation_pb2
from eyasd.api.messages.evaluation import evaluation_message
from eyasd.core.evaluation import Figure, LabelMetrics, ReliabilityBin


def test_every_figure_of_an_evaluation_arrives() -> None:
    message = evaluation_message(evaluation())
    for field in evaluation_pb2.Evaluation.DESCRIPTOR.fields:
        if field.name in {"accuracy_without_leaked", "micro_f1", "mean_average_precision", "coverage", "accepted_accuracy"}:
            assert not message.HasField(field.name)
        elif field.name not in {"accuracy_interval", "labels", "unreadable_files", "figures", "reliability"}:
            assert getattr(message, field.name) == getattr(evaluation(), field.name)
    assert not any(row.HasField("threshold") for row in message.labels)
    figure, filled = Figure("roc_auc", 0.9, 0.8, 0.95), ReliabilityBin(0.5, 1.0, 30, 0.92, 0.9)
    judged = evaluation_message(replace(evaluation(), figures=(figure,), reliability=(filled,)))
    (row,), (held,) = judged.figures, judged.reliability
    assert (row.name, row.value, row.interval.low, row.interval.high) == ("roc_auc", 0.9, 0.8, 0.95)
    assert (held.confidences.low, held.confidences.high, held.answers, held.confidence, held.right) == (0.5, 1.0, 30, 0.92, 0.9)
    leaky = evaluation_message(replace(evaluation(), leaked_examples=3, accuracy_without_leaked=0.0))
    assert (leaky.leaked_examples, leaky.HasField("accuracy_without_leaked")) == (3, True)
    assert (message.accuracy_interval.low, message.accuracy_interval.high) == evaluation().accuracy_interval
    rows = (LabelMetrics("red", 9, 0.5, 0.6, 0.7, threshold=0.25),)
    accepting = evaluation_message(replace(evaluation(), coverage=0.0))
    assert (accepting.HasField("coverage"), accepting.HasField("accepted_accuracy")) == (True, False)
    several = evaluation_message(replace(evaluation(), labels=rows, micro_f1=0.0, mean_average_precision=0.5))
    assert (several.HasField("micro_f1"), several.mean_average_precision) == (True, 0.5)
    assert (several.labels[0].threshold, list(several.labels[0].predicted_counts)) == (0.25, [])
