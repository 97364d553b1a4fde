"""Comparisons of versions, as messages of the contract."""

from __future__ import annotations

from datetime import timedelta

from google.protobuf.duration_pb2 import Duration

from eyas.v1 import comparison_pb2, evaluation_pb2
from eyasd.core.comparison import Comparison, Cost
from eyasd.core.names import version_name


def comparison_message(found: Comparison, evaluation: evaluation_pb2.Evaluation) -> comparison_pb2.Comparison:
    """Returns the message; `evaluation` is that of `found.evaluation`."""
    return comparison_pb2.Comparison(
        model_version=version_name(found.version.model, found.version.version or 0),
        evaluation=evaluation,
        both_right=found.pairs.both,
        only_first_right=found.pairs.first,
        only_second_right=found.pairs.second,
        both_wrong=found.pairs.neither,
        p_value=found.pairs.p_value,
        differences=[
            comparison_pb2.FigureDifference(
                name=row.name,
                first=row.first,
                second=row.second,
                interval=evaluation_pb2.Interval(low=row.low, high=row.high),
            )
            for row in found.differences
        ],
        labels=[
            comparison_pb2.LabelChange(label=row.label, examples=row.examples, wins=row.wins, losses=row.losses)
            for row in found.labels
        ],
        changed_count=found.changed_count,
        changed=[
            comparison_pb2.ChangedPicture(
                path=one.path,
                label=one.label,
                first=one.first,
                first_confidence=one.first_confidence,
                second=one.second,
                second_confidence=one.second_confidence,
            )
            for one in found.changed
        ],
        first_cost=_cost(found.costs[0]),
        second_cost=_cost(found.costs[1]),
        device=found.device,
        batch_size=found.batch_size,
        left_out_count=found.left_out_count,
    )


def _cost(cost: Cost) -> comparison_pb2.VersionCost:
    return comparison_pb2.VersionCost(
        size_bytes=cost.size_bytes, latency=_duration(cost.latency), batch_latency=_duration(cost.batch_latency)
    )


def _duration(value: timedelta) -> Duration:
    message = Duration()
    message.FromTimedelta(value)
    return message
