"""ModelService."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from eyas.v1 import model_pb2, traffic_pb2
from eyas.v1 import model_service_pb2 as pb
from eyas.v1 import model_service_pb2_grpc as pb_grpc
from eyasd.api import paging
from eyasd.api.asking import actor_of
from eyasd.api.gate import caller
from eyasd.api.messages.promotion import alias_message, policy_message, policy_of
from eyasd.api.messages.times import datetime_of, timestamp
from eyasd.api.messages.traffic import canary_of, shadow_of, traffic_message
from eyasd.api.messages.versions import damaged_version_message, version_message
from eyasd.core.bundle import REPORT, CheckedFile
from eyasd.core.errors import BrokenBundle, InvalidArgument, ModelNotFound, VersionNotFound
from eyasd.core.names import ModelRef, model_name, parse_model, parse_model_ref, version_name
from eyasd.core.traffic import TrafficRecord
from eyasd.registry.models import Models
from eyasd.serving.fleet import Fleet

_MAX_REASON = 1000


class ModelService(pb_grpc.ModelServiceServicer):
    """See protos/eyas/v1/model_service.proto."""

    def __init__(self, models: Models, fleet: Fleet | None, keep: timedelta) -> None:
        """Remembers what to ask.

        Args:
            models: the registry.
            fleet: says what is being served; None on a daemon that does not serve.
            keep: how long a version is not deleted after the last alias has left it.
        """
        self._keep = keep
        self._models = models
        self._fleet = fleet
        self._checking: dict[tuple[str, int], asyncio.Future[tuple[CheckedFile, ...]]] = {}
        self._one_at_a_time = asyncio.Lock()

    async def ListModels(self, request: pb.ListModelsRequest, context: Any) -> pb.ListModelsResponse:  # noqa: N802, ARG002
        """Lists models by name."""
        after = paging.decode_token(request.page_token) or ""
        size = paging.page_size(request.page_size)
        names = [name for name in await asyncio.to_thread(self._models.names) if name > after and caller().may_see(name)]
        page = names[:size]
        models = await asyncio.to_thread(lambda: list(self._models_of(page)))
        return pb.ListModelsResponse(models=models, next_page_token=paging.encode_token(page[-1] if len(names) > size else None))

    async def GetModel(self, request: pb.GetModelRequest, context: Any) -> pb.GetModelResponse:  # noqa: N802, ARG002
        """Returns a model."""
        model = parse_model(request.name, "name")
        return pb.GetModelResponse(model=await asyncio.to_thread(self._model, model))

    async def ListModelVersions(self, request: pb.ListModelVersionsRequest, context: Any) -> pb.ListModelVersionsResponse:  # noqa: N802, ARG002
        """Lists a model's versions, newest first."""
        model = parse_model(request.parent, "parent")
        before = paging.decode_number(request.page_token)
        size = paging.page_size(request.page_size)
        versions = [v for v in reversed(await asyncio.to_thread(self._models.versions, model)) if before is None or v < before]
        page = versions[:size]
        messages = await asyncio.to_thread(lambda: list(self._versions_of(model, page)))
        token = paging.encode_token(str(page[-1]) if len(versions) > size else None)
        return pb.ListModelVersionsResponse(versions=messages, next_page_token=token)

    async def GetModelVersion(self, request: pb.GetModelVersionRequest, context: Any) -> pb.GetModelVersionResponse:  # noqa: N802, ARG002
        """Returns a version, and reads its files again if that is asked for."""
        ref = parse_model_ref(request.name, "name")
        version = await asyncio.to_thread(self._models.resolve, ref)
        checked = await self._checked(ref.model, version) if request.verify else ()
        return pb.GetModelVersionResponse(version=await asyncio.to_thread(self._version, ref.model, version, checked))

    async def GetReport(self, request: pb.GetReportRequest, context: Any) -> pb.GetReportResponse:  # noqa: N802, ARG002
        """Returns the page that tells people about a version."""
        ref = parse_model_ref(request.name, "name")
        version = await asyncio.to_thread(self._models.resolve, ref)
        html = await asyncio.to_thread(self._models.fetch, ref.model, version, REPORT)
        return pb.GetReportResponse(version=version_name(ref.model, version), html=html)

    async def DeleteModelVersion(self, request: pb.DeleteModelVersionRequest, context: Any) -> pb.DeleteModelVersionResponse:  # noqa: N802, ARG002
        """Deletes a version that no alias needs."""
        ref = parse_model_ref(request.name, "name")
        if ref.version is None:
            raise InvalidArgument("name", f"{request.name[:200]!r} does not name a version: write models/MODEL/versions/NUMBER.")
        await asyncio.to_thread(self._models.delete, ref.model, ref.version, self._keep)
        return pb.DeleteModelVersionResponse()

    async def SetAlias(self, request: pb.SetAliasRequest, context: Any) -> pb.SetAliasResponse:  # noqa: N802
        """Points an alias to a version."""
        model, alias = _alias(request.name, "name")
        target = _version_of(model, request.version, "version")
        reason = _reason(request.reason)
        version = await asyncio.to_thread(self._models.resolve, target)
        record = await asyncio.to_thread(
            lambda: self._models.promote(model, alias, version, actor=actor_of(context), reason=reason, force=request.force)
        )
        return pb.SetAliasResponse(alias=alias_message(model, alias, record))

    async def GetPolicy(self, request: pb.GetPolicyRequest, context: Any) -> pb.GetPolicyResponse:  # noqa: N802, ARG002
        """Returns what a model demands of its versions."""
        model = await self._model_of(request.name, "policy", "name")
        return pb.GetPolicyResponse(policy=policy_message(model, await asyncio.to_thread(self._models.policies.get, model)))

    async def SetPolicy(self, request: pb.SetPolicyRequest, context: Any) -> pb.SetPolicyResponse:  # noqa: N802
        """Sets what a model demands of its versions."""
        policy = policy_of(request.policy)
        model = await self._model_of(request.policy.name, "policy", "policy.name")
        record = await asyncio.to_thread(lambda: self._models.policies.set(model, policy, actor=actor_of(context)))
        return pb.SetPolicyResponse(policy=policy_message(model, record))

    async def _model_of(self, name: str, part: str, field: str) -> str:
        """Returns the model of `models/M/PART`, which exists. Raises InvalidArgument, ModelNotFound."""
        if not name.endswith(f"/{part}"):
            raise InvalidArgument(field, f"{name[:200]!r} does not name the {part} of a model: write models/MODEL/{part}.")
        model = parse_model(name.removesuffix(f"/{part}"), field)
        await asyncio.to_thread(self._models.versions, model)
        return model

    async def RollbackAlias(self, request: pb.RollbackAliasRequest, context: Any) -> pb.RollbackAliasResponse:  # noqa: N802
        """Points an alias to where it pointed before."""
        model, alias = _alias(request.name, "name")
        wanted = request.expected_version
        expected = _version_of(model, wanted, "expected_version").version if wanted else None
        reason = _reason(request.reason)
        record = await asyncio.to_thread(
            lambda: self._models.rollback(model, alias, actor=actor_of(context), reason=reason, expected=expected)
        )
        return pb.RollbackAliasResponse(alias=alias_message(model, alias, record))

    async def ListAliasRecords(self, request: pb.ListAliasRecordsRequest, context: Any) -> pb.ListAliasRecordsResponse:  # noqa: N802, ARG002
        """Lists the records of an alias, newest first."""
        model, alias = _alias(request.parent, "parent")
        await asyncio.to_thread(self._models.resolve, ModelRef(model, alias=alias))  # so that one that does not exist is told of
        if request.HasField("time"):
            when = datetime_of(request.time, "time")
            record = await asyncio.to_thread(self._models.aliases.at, model, alias, when)
            return pb.ListAliasRecordsResponse(records=[alias_message(model, alias, record)] if record else [])
        history = await asyncio.to_thread(self._models.aliases.history, model, alias)
        page, token = paging.newest_first(history, request.page_token, request.page_size)
        return pb.ListAliasRecordsResponse(records=[alias_message(model, alias, record) for record in page], next_page_token=token)

    async def GetTraffic(self, request: pb.GetTrafficRequest, context: Any) -> pb.GetTrafficResponse:  # noqa: N802, ARG002
        """Returns a model's canary and shadow."""
        model = await self._model_of(request.name, "traffic", "name")
        record = await asyncio.to_thread(self._models.traffic.get, model)
        return pb.GetTrafficResponse(traffic=await asyncio.to_thread(self._traffic, model, record))

    async def SetTraffic(self, request: pb.SetTrafficRequest, context: Any) -> pb.SetTrafficResponse:  # noqa: N802
        """Sets a model's canary and shadow."""
        model = await self._model_of(request.traffic.name, "traffic", "traffic.name")
        canary, shadow = canary_of(model, request.traffic), shadow_of(model, request.traffic)
        reason = _reason(request.reason)
        after = request.expected_record if request.HasField("expected_record") else None
        record = await asyncio.to_thread(
            lambda: self._models.set_traffic(model, canary, shadow, actor=actor_of(context), reason=reason, after=after)
        )
        return pb.SetTrafficResponse(traffic=await asyncio.to_thread(self._traffic, model, record))

    async def ListTrafficRecords(self, request: pb.ListTrafficRecordsRequest, context: Any) -> pb.ListTrafficRecordsResponse:  # noqa: N802, ARG002
        """Lists the records of a model's traffic, newest first."""
        model = await self._model_of(request.parent, "traffic", "parent")
        history = await asyncio.to_thread(self._models.traffic.history, model)
        page, token = paging.newest_first(history, request.page_token, request.page_size)
        return pb.ListTrafficRecordsResponse(records=[traffic_message(model, record) for record in page], next_page_token=token)

    async def _checked(self, model: str, version: int) -> tuple[CheckedFile, ...]:
        """Has the files of a version read again, once for all who ask for it meanwhile, and of one version at a time."""
        checking = self._checking.get((model, version))
        if checking is None:
            checking = self._checking[model, version] = asyncio.ensure_future(self._check(model, version))
            checking.add_done_callback(lambda _: self._checking.pop((model, version)))
        return await asyncio.shield(checking)  # others may wait for it, too

    async def _check(self, model: str, version: int) -> tuple[CheckedFile, ...]:
        async with self._one_at_a_time:
            return await asyncio.to_thread(self._models.check, model, version)

    def _traffic(self, model: str, record: TrafficRecord | None) -> traffic_pb2.Traffic:
        stopped = self._fleet.router.stopped(model) if self._fleet else ""
        return traffic_message(model, record, self._models.aliases.leads_to, stopped)

    def _model(self, model: str) -> model_pb2.Model:
        versions = self._models.versions(model)
        return model_pb2.Model(
            name=model_name(model),
            create_time=timestamp(self._created(model, versions)),
            aliases=[alias_message(model, alias, record) for alias, record in self._models.current_aliases(model).items()],
            latest_version=version_name(model, versions[-1]),
            version_count=len(versions),
        )

    def _created(self, model: str, versions: list[int]) -> datetime | None:
        """Returns when the first version was made whose manifest can be read."""
        for version in versions:
            with contextlib.suppress(BrokenBundle, VersionNotFound):
                return self._models.manifest(model, version).create_time
        return None

    def _version(self, model: str, version: int, checked: tuple[CheckedFile, ...] = ()) -> model_pb2.ModelVersion:
        state, error = self._fleet.state(model, version) if self._fleet else (None, None)
        precision = self._fleet.precision(model, version) if self._fleet else None
        manifest = self._models.manifest(model, version)
        looks = self._models.looks.count(model, manifest.evaluation.test_split)
        manifest = replace(manifest, evaluation=replace(manifest.evaluation, test_split_looks=looks))
        return version_message(model, version, manifest, state, error, precision, checked)

    def _models_of(self, names: list[str]) -> Iterator[model_pb2.Model]:
        """Yields models; one whose versions were all deleted since it was listed is not there."""
        for name in names:
            with contextlib.suppress(ModelNotFound):
                yield self._model(name)

    def _versions_of(self, model: str, versions: list[int]) -> Iterator[model_pb2.ModelVersion]:
        """Yields versions; one whose manifest is damaged does not hide the others, and one that was deleted since is not there."""
        for version in versions:
            try:
                yield self._version(model, version)
            except VersionNotFound:
                continue
            except BrokenBundle as error:
                yield damaged_version_message(model, version, error)


def _alias(name: str, field: str) -> tuple[str, str]:
    """Returns the model and the alias of `models/M/aliases/A`. Raises InvalidArgument."""
    ref = parse_model_ref(name, field)
    if ref.alias is None or "/aliases/" not in name:
        raise InvalidArgument(field, f"{name[:200]!r} does not name an alias: write models/MODEL/aliases/ALIAS.")
    return ref.model, ref.alias


def _version_of(model: str, name: str, field: str) -> ModelRef:
    """Returns the version of the model that `models/M/versions/V` names. Raises InvalidArgument."""
    ref = parse_model_ref(name, field)
    if ref.version is None or ref.model != model:
        raise InvalidArgument(field, f"{name[:200]!r} is no version of {model!r}: write models/{model}/versions/NUMBER.")
    return ref


def _reason(reason: str) -> str:
    if len(reason) > _MAX_REASON:
        raise InvalidArgument("reason", f"reason has {len(reason)} characters; at most {_MAX_REASON} are kept.")
    return reason
