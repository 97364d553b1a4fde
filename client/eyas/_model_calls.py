"""The calls of `ModelService` as values, see `_calls`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

from eyas import _convert
from eyas._calls import Call, Page
from eyas._policy import Policy, policy, policy_message
from eyas._report import Report
from eyas._traffic import Canary, Shadow, Traffic, traffic, traffic_message
from eyas._types import Alias, Model, ModelVersion
from eyas.v1 import model_service_pb2


def list_models(token: str) -> Call[Page[Model]]:
    """ListModels, one page."""
    request = model_service_pb2.ListModelsRequest(page_token=token)
    return Call(
        "/eyas.v1.ModelService/ListModels",
        request,
        model_service_pb2.ListModelsResponse,
        lambda r: ([_convert.model(one) for one in r.models], r.next_page_token),
    )


def get_model(model: str) -> Call[Model]:
    """GetModel."""
    request = model_service_pb2.GetModelRequest(name=_convert.model_resource(model))
    return Call("/eyas.v1.ModelService/GetModel", request, model_service_pb2.GetModelResponse, lambda r: _convert.model(r.model))


def list_model_versions(model: str, token: str) -> Call[Page[ModelVersion]]:
    """ListModelVersions, one page."""
    request = model_service_pb2.ListModelVersionsRequest(parent=_convert.model_resource(model), page_token=token)
    return Call(
        "/eyas.v1.ModelService/ListModelVersions",
        request,
        model_service_pb2.ListModelVersionsResponse,
        lambda r: ([_convert.model_version(one) for one in r.versions], r.next_page_token),
    )


def get_model_version(model: str, *, verify: bool) -> Call[ModelVersion]:
    """GetModelVersion."""
    request = model_service_pb2.GetModelVersionRequest(name=_convert.reference_resource(model), verify=verify)
    return Call(
        "/eyas.v1.ModelService/GetModelVersion",
        request,
        model_service_pb2.GetModelVersionResponse,
        lambda r: _convert.model_version(r.version),
    )


def get_report(model: str) -> Call[Report]:
    """GetReport."""
    request = model_service_pb2.GetReportRequest(name=_convert.reference_resource(model))
    return Call(
        "/eyas.v1.ModelService/GetReport",
        request,
        model_service_pb2.GetReportResponse,
        lambda r: Report(_convert.short(r.version), r.html.decode()),
    )


def delete_model_version(model: str, version: int) -> Call[None]:
    """DeleteModelVersion."""
    request = model_service_pb2.DeleteModelVersionRequest(name=_convert.reference_resource(f"{model}/{version}"))
    method = "/eyas.v1.ModelService/DeleteModelVersion"
    return Call(method, request, model_service_pb2.DeleteModelVersionResponse, lambda _: None)


def set_alias(model: str, alias: str, version: int, reason: str, *, force: bool) -> Call[Alias]:
    """SetAlias."""
    request = model_service_pb2.SetAliasRequest(
        name=_convert.reference_resource(f"{model}@{alias}"),
        version=_convert.reference_resource(f"{model}/{version}"),
        reason=reason,
        force=force,
    )
    return Call("/eyas.v1.ModelService/SetAlias", request, model_service_pb2.SetAliasResponse, lambda r: _convert.alias(r.alias))


def get_policy(model: str) -> Call[Policy]:
    """GetPolicy."""
    request = model_service_pb2.GetPolicyRequest(name=f"{_convert.model_resource(model)}/policy")
    return Call("/eyas.v1.ModelService/GetPolicy", request, model_service_pb2.GetPolicyResponse, lambda r: policy(r.policy))


def set_policy(
    model: str,
    aliases: Iterable[str],
    at_least: Mapping[str, float],
    at_most: Mapping[str, float],
    max_label_drop: float | None,
    required_variants: Iterable[str] = (),
    *,
    no_significant_loss: bool = False,
) -> Call[Policy]:
    """SetPolicy."""
    name = f"{_convert.model_resource(model)}/policy"
    asked = policy_message(
        name, aliases, at_least, at_most, max_label_drop, required_variants, no_significant_loss=no_significant_loss
    )
    request = model_service_pb2.SetPolicyRequest(policy=asked)
    return Call("/eyas.v1.ModelService/SetPolicy", request, model_service_pb2.SetPolicyResponse, lambda r: policy(r.policy))


def rollback_alias(model: str, alias: str, reason: str, expected: int | None) -> Call[Alias]:
    """RollbackAlias."""
    request = model_service_pb2.RollbackAliasRequest(
        name=_convert.reference_resource(f"{model}@{alias}"),
        reason=reason,
        expected_version=_convert.reference_resource(f"{model}/{expected}") if expected is not None else "",
    )
    method = "/eyas.v1.ModelService/RollbackAlias"
    return Call(method, request, model_service_pb2.RollbackAliasResponse, lambda r: _convert.alias(r.alias))


def list_alias_records(model: str, alias: str, time: datetime | None, token: str) -> Call[Page[Alias]]:
    """ListAliasRecords, one page."""
    request = model_service_pb2.ListAliasRecordsRequest(parent=_convert.reference_resource(f"{model}@{alias}"), page_token=token)
    if time is not None:
        request.time.FromDatetime(time)
    return Call(
        "/eyas.v1.ModelService/ListAliasRecords",
        request,
        model_service_pb2.ListAliasRecordsResponse,
        lambda r: ([_convert.alias(one) for one in r.records], r.next_page_token),
    )


def get_traffic(model: str) -> Call[Traffic]:
    """GetTraffic."""
    request = model_service_pb2.GetTrafficRequest(name=f"{_convert.model_resource(model)}/traffic")
    return Call("/eyas.v1.ModelService/GetTraffic", request, model_service_pb2.GetTrafficResponse, lambda r: traffic(r.traffic))


def set_traffic(model: str, canary: Canary | None, shadow: Shadow | None, reason: str, expected: int | None) -> Call[Traffic]:
    """SetTraffic."""
    request = model_service_pb2.SetTrafficRequest(
        traffic=traffic_message(model, canary, shadow), reason=reason, expected_record=expected
    )
    return Call("/eyas.v1.ModelService/SetTraffic", request, model_service_pb2.SetTrafficResponse, lambda r: traffic(r.traffic))


def list_traffic_records(model: str, token: str) -> Call[Page[Traffic]]:
    """ListTrafficRecords, one page."""
    request = model_service_pb2.ListTrafficRecordsRequest(parent=f"{_convert.model_resource(model)}/traffic", page_token=token)
    return Call(
        "/eyas.v1.ModelService/ListTrafficRecords",
        request,
        model_service_pb2.ListTrafficRecordsResponse,
        lambda r: (list(map(traffic, r.records)), r.next_page_token),
    )
