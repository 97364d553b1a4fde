"""Aliases and policies of models <-> messages of the contract."""

from __future__ import annotations

import difflib
from math import isfinite
from typing import Final

from eyas.v1 import model_pb2
from eyasd.api.messages.times import timestamp
from eyasd.api.messages.variants import precision_number, precisions_of
from eyasd.core.errors import InvalidArgument
from eyasd.core.evaluation import FIGURES
from eyasd.core.names import PRODUCTION, alias_name, check_identifier, model_name, version_name
from eyasd.core.promotion import MADE, AliasRecord, Policy, PolicyRecord
from eyasd.core.variants import Precision

_MOST: Final = 100
_UNBOUNDED: Final = ("log_loss", *MADE)  # every other figure lies within 0..1


def alias_message(model: str, alias: str, record: AliasRecord) -> model_pb2.Alias:
    """Returns the message."""
    return model_pb2.Alias(
        name=alias_name(model, alias),
        version=version_name(model, record.version),
        record=record.record,
        update_time=timestamp(record.time),
        actor=record.actor,
        reason=record.reason,
        previous_version=version_name(model, record.previous) if record.previous else "",
        undone_record=record.undoes or 0,
        evidence=record.evidence,
        forced=record.forced,
    )


def policy_message(model: str, record: PolicyRecord | None) -> model_pb2.Policy:
    """Returns the message; None is a policy that demands nothing."""
    message = model_pb2.Policy(name=f"{model_name(model)}/policy")
    if record is None:
        message.aliases.append(PRODUCTION)
        return message
    policy = record.policy
    message.aliases.extend(policy.aliases)
    for figure in dict.fromkeys((*policy.at_least, *policy.at_most)):
        message.bounds.add(figure=figure, at_least=policy.at_least.get(figure), at_most=policy.at_most.get(figure))
    if policy.max_label_drop is not None:
        message.max_label_drop = policy.max_label_drop
    message.no_significant_loss = policy.no_significant_loss
    message.required_variants.extend(map(precision_number, policy.required_variants))
    message.record, message.actor = record.record, record.actor
    message.update_time.FromDatetime(record.time)
    return message


def policy_of(message: model_pb2.Policy) -> Policy:
    """Returns the policy that a caller asks for.

    Raises:
        InvalidArgument: an alias cannot have that name, there is no such figure or variant, or a bound is out of range or given
            twice.
    """
    for field, count in (("aliases", len(message.aliases)), ("bounds", len(message.bounds))):
        if count > _MOST:
            raise InvalidArgument(f"policy.{field}", f"The policy has {count} {field}; at most {_MOST} are allowed.")
    aliases = tuple(check_identifier(alias, "policy.aliases", "an alias") for alias in message.aliases) or (PRODUCTION,)
    at_least: dict[str, float] = {}
    at_most: dict[str, float] = {}
    for bound in message.bounds:
        _check_figure(bound.figure)
        if bound.figure in at_least or bound.figure in at_most:
            raise InvalidArgument("policy.bounds", f"{bound.figure} is bounded twice: give at_least and at_most in one bound.")
        for field, bounds in (("at_least", at_least), ("at_most", at_most)):
            if bound.HasField(field):
                bounds[bound.figure] = _checked(bound.figure, field, getattr(bound, field))
        if at_least.get(bound.figure, 0.0) > at_most.get(bound.figure, float("inf")):
            raise InvalidArgument(
                "policy.bounds", f"No {bound.figure} is at least {bound.at_least:g} and at most {bound.at_most:g}."
            )
    drop = message.max_label_drop if message.HasField("max_label_drop") else None
    if drop is not None and not 0 <= drop <= 1:
        raise InvalidArgument("policy.max_label_drop", f"max_label_drop is {drop:g}; it must lie within 0 to 1.")
    required = tuple(dict.fromkeys(precisions_of(message.required_variants, "policy.required_variants")))
    if Precision.FP32 in required:
        raise InvalidArgument("policy.required_variants", "Every version is there in fp32: demand fp16 or int8.")
    return Policy(
        aliases=aliases,
        at_least=at_least,
        at_most=at_most,
        max_label_drop=drop,
        required_variants=required,
        no_significant_loss=message.no_significant_loss,
    )


def _check_figure(name: str) -> None:
    known = (*FIGURES, *MADE)
    if name not in known:
        close = difflib.get_close_matches(name[:80], known, n=1)
        hint = f"did you mean {close[0]}?" if close else f"the figures are {', '.join(known)}."
        raise InvalidArgument("policy.bounds", f"{name[:80]!r} is no figure of a version: {hint}")


def _checked(figure: str, field: str, value: float) -> float:
    if not isfinite(value) or value < 0 or (value > 1 and figure not in _UNBOUNDED):
        limits = "0 or more" if figure in _UNBOUNDED else "within 0 to 1"
        raise InvalidArgument("policy.bounds", f"{field} of {figure} is {value:g}; it must be {limits}.")
    return value
