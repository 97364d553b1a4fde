"""What a model demands of the versions that its aliases are pointed to: the client's value, and the message it comes from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from eyas._variants import Precision, precision, precision_name
from eyas.v1 import model_pb2


@dataclass(frozen=True, slots=True)
class Policy:
    """What a version must have before some of its model's aliases may point to it.

    Attributes:
        aliases: those that it guards.
        at_least: the least value of figures, by the names that `eyas.v1.Figure` lists.
        at_most: the largest value of figures.
        max_label_drop: how much lower the F1 of a label may be than that of the version the alias points to; None is anything.
        required_variants: precisions in which the version must be there, too.
        no_significant_loss: whether it must not be significantly less accurate than the version the alias points to.
        record: number of this record in the policy's history; 0 where the model never had a policy.
        update_time: when it was set; None likewise.
        actor: who set it.
    """

    aliases: tuple[str, ...]
    at_least: Mapping[str, float]
    at_most: Mapping[str, float]
    max_label_drop: float | None
    record: int
    update_time: datetime | None
    actor: str
    required_variants: tuple[Precision, ...] = ()
    no_significant_loss: bool = False


def policy(message: model_pb2.Policy) -> Policy:
    """Returns the value."""
    return Policy(
        aliases=tuple(message.aliases),
        at_least={bound.figure: bound.at_least for bound in message.bounds if bound.HasField("at_least")},
        at_most={bound.figure: bound.at_most for bound in message.bounds if bound.HasField("at_most")},
        max_label_drop=message.max_label_drop if message.HasField("max_label_drop") else None,
        record=message.record,
        update_time=message.update_time.ToDatetime(UTC) if message.HasField("update_time") else None,
        actor=message.actor,
        required_variants=tuple(map(precision, message.required_variants)),
        no_significant_loss=message.no_significant_loss,
    )


def policy_message(
    name: str,
    aliases: Iterable[str],
    at_least: Mapping[str, float],
    at_most: Mapping[str, float],
    max_label_drop: float | None,
    required_variants: Iterable[str],
    *,
    no_significant_loss: bool,
) -> model_pb2.Policy:
    """Returns the message that asks for a policy; `name` is `models/NAME/policy`. Raises ValueError."""
    bounds = [
        model_pb2.FigureBound(figure=figure, at_least=at_least.get(figure), at_most=at_most.get(figure))
        for figure in dict.fromkeys((*at_least, *at_most))
    ]
    required = map(precision_name, required_variants)
    return model_pb2.Policy(
        name=name,
        aliases=aliases,
        bounds=bounds,
        max_label_drop=max_label_drop,
        required_variants=required,
        no_significant_loss=no_significant_loss,
    )
