"""Comparisons of versions -> messages of the contract."""

from __future__ import annotations

from eyas.v1 import comparison_pb2
from eyasd.api.messages.evaluation import evaluation_message, interval
from eyasd.api.messages.times import duration
from eyasd.core.comparison import Comparison, Cost
from eyasd.core.names import version_name


def comparison_message(found: Comparison) -> comparison_pb2.Comparison:
    """Returns the message."""
    return comparison_pb2.Comparison(
        model_version=version_name(found.version.model, found.version.version or 0),
        evaluation=evaluation_message(found.evaluation),
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
                interval=interval(row.low, row.high),
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
        size_bytes=cost.size_bytes, latency=duration(cost.latency), batch_latency=duration(cost.batch_latency)
    )
