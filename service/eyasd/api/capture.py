"""CaptureService."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, Final

from eyas.v1 import capture_service_pb2 as pb
from eyas.v1 import capture_service_pb2_grpc as pb_grpc
from eyasd.api import paging
from eyasd.api.asking import actor_of
from eyasd.api.messages.capture import (
    capture_message,
    capture_of,
    parse_picture,
    picture_message,
    picture_name,
    reasons_of,
)
from eyasd.core.bundle import Manifest
from eyasd.core.captured import CapturedPicture, GivenLabels, LabelSource
from eyasd.core.errors import AliasNotFound, InvalidArgument
from eyasd.core.names import PRODUCTION, ModelRef, check_label, parse_model
from eyasd.registry.captured import Captured
from eyasd.registry.models import Models

_AT_ONCE: Final = 1000
_MOST_LABELS: Final = 10_000  # of all pictures together


class CaptureService(pb_grpc.CaptureServiceServicer):
    """See protos/eyas/v1/capture_service.proto."""

    def __init__(self, models: Models, captured: Captured) -> None:
        self._models, self._captured = models, captured

    async def GetCapturePolicy(self, request: pb.GetCapturePolicyRequest, context: Any) -> pb.GetCapturePolicyResponse:  # noqa: N802, ARG002
        """Returns what is kept of a model."""
        model = await self._model_of(request.name, "name")
        record = await asyncio.to_thread(self._models.capturing.get, model)
        return pb.GetCapturePolicyResponse(policy=capture_message(model, record))

    async def SetCapturePolicy(self, request: pb.SetCapturePolicyRequest, context: Any) -> pb.SetCapturePolicyResponse:  # noqa: N802
        """Sets what is kept of a model."""
        policy = capture_of(request.policy)
        model = await self._model_of(request.policy.name, "policy.name")
        record = await asyncio.to_thread(lambda: self._models.capturing.set(model, policy, actor=actor_of(context)))
        return pb.SetCapturePolicyResponse(policy=capture_message(model, record))

    async def ListCapturedPictures(  # noqa: N802
        self,
        request: pb.ListCapturedPicturesRequest,
        context: Any,  # noqa: ARG002
    ) -> pb.ListCapturedPicturesResponse:
        """Lists pictures, newest first."""
        model = parse_model(request.parent, "parent")
        size, before = paging.page_size(request.page_size), _place(request.page_token)
        reasons = set(reasons_of(request.reasons, "reasons"))

        def of(_: str, labelled: bool) -> bool:
            return request.labels != (pb.LABEL_FILTER_UNLABELLED if labelled else pb.LABEL_FILTER_LABELLED)

        order = [one for one in await asyncio.to_thread(self._captured.order, model, of=of) if before is None or one < before]
        if not reasons and not request.predicted_label:
            chosen = order[-size:]
            page = await self._read(model, chosen)
        else:  # names do not tell these, so all are read
            found = [
                picture
                for picture in await self._read(model, order)
                if (not reasons or reasons.intersection(picture.reasons))
                and request.predicted_label in {"", picture.first.predictions[0].label}
            ]
            page = found[:size]
            order, chosen = list(map(_order, reversed(found))), list(map(_order, reversed(page)))
        token = paging.encode_token("{} {}".format(*chosen[0]) if len(order) > len(chosen) else None)
        return pb.ListCapturedPicturesResponse(pictures=map(picture_message, page), next_page_token=token)

    async def _read(self, model: str, order: list[tuple[int, str]]) -> list[CapturedPicture]:
        """Returns pictures, newest first, as far as they have not gone meanwhile."""
        wanted = {picture for _, picture in order}
        found = await asyncio.to_thread(self._captured.pictures, model, of=lambda picture, _: picture in wanted)
        return sorted(found, key=_order, reverse=True)

    async def GetCapturedPicture(self, request: pb.GetCapturedPictureRequest, context: Any) -> pb.GetCapturedPictureResponse:  # noqa: N802, ARG002
        """Returns a picture with its file."""
        model, picture = parse_picture(request.name, "name")
        found = await asyncio.to_thread(self._captured.get, model, picture)
        content = await asyncio.to_thread(self._captured.read, model, picture)
        return pb.GetCapturedPictureResponse(picture=picture_message(found), content=content)

    async def LabelCapturedPictures(  # noqa: N802
        self, request: pb.LabelCapturedPicturesRequest, context: Any
    ) -> pb.LabelCapturedPicturesResponse:
        """Takes down the labels of pictures."""
        model = parse_model(request.parent, "parent")
        _check_count(request.pictures, "pictures")
        if (named := sum(len(one.labels) for one in request.pictures)) > _MOST_LABELS:
            raise InvalidArgument("pictures", f"The request names {named:,} labels; at most {_MOST_LABELS:,} are taken at once.")
        manifest = await asyncio.to_thread(self._newest, model)
        asked: dict[str, tuple[str, ...]] = {}
        for number, one in enumerate(request.pictures):
            picture = _picture_of(model, one.name, f"pictures[{number}].name")
            field = f"pictures[{number}].labels"
            labels = tuple(sorted({check_label(label, field) for label in one.labels}))
            if manifest.thresholds is None and len(labels) != 1:
                raise InvalidArgument(
                    field, f"The picture {picture} is given {len(labels)} labels; {model} is not multi-label, so name exactly one."
                )
            asked[picture] = labels
        there = {entry.id for entry in await asyncio.to_thread(self._captured.entries, model)}
        given = {picture: labels for picture, labels in asked.items() if picture in there}
        await asyncio.to_thread(self._label, model, given, actor_of(context))
        return pb.LabelCapturedPicturesResponse(
            labelled_count=len(given),
            missing=[picture_name(model, picture) for picture in asked if picture not in there],
            new_labels=sorted({label for labels in given.values() for label in labels}.difference(manifest.labels)),
        )

    async def DeleteCapturedPictures(  # noqa: N802
        self,
        request: pb.DeleteCapturedPicturesRequest,
        context: Any,  # noqa: ARG002
    ) -> pb.DeleteCapturedPicturesResponse:
        """Deletes pictures for good."""
        model = parse_model(request.parent, "parent")
        _check_count(request.names, "names")
        pictures = [_picture_of(model, name, f"names[{number}]") for number, name in enumerate(request.names)]
        return pb.DeleteCapturedPicturesResponse(deleted_count=await asyncio.to_thread(self._captured.drop, model, pictures))

    async def _model_of(self, name: str, field: str) -> str:
        """Returns the model of `models/M/capture`, which exists. Raises InvalidArgument, ModelNotFound."""
        if not name.endswith("/capture"):
            raise InvalidArgument(field, f"{name[:200]!r} does not name what is captured of a model: write models/MODEL/capture.")
        model = parse_model(name.removesuffix("/capture"), field)
        await asyncio.to_thread(self._models.versions, model)
        return model

    def _newest(self, model: str) -> Manifest:
        """Returns the manifest of the version in production, or of the newest."""
        try:
            version = self._models.resolve(ModelRef(model, alias=PRODUCTION))
        except AliasNotFound:
            version = self._models.versions(model)[-1]
        return self._models.manifest(model, version)

    def _label(self, model: str, asked: dict[str, tuple[str, ...]], actor: str) -> None:
        for picture, labels in asked.items():
            self._captured.label(model, picture, GivenLabels(labels, datetime.now(UTC), LabelSource.PERSON, actor))


def _order(picture: CapturedPicture) -> tuple[int, str]:
    return int(picture.time.timestamp() * 1000), picture.id


def _place(page_token: str) -> tuple[int, str] | None:
    """Returns behind which picture a page begins; None is the first page. Raises InvalidArgument."""
    key = paging.decode_token(page_token)
    if key is None:
        return None
    time_ms, _, picture = key.partition(" ")
    return paging.number_of(time_ms), picture


def _picture_of(model: str, name: str, field: str) -> str:
    """Returns the id of a picture of a model. Raises InvalidArgument."""
    of, picture = parse_picture(name, field)
    if of != model:
        raise InvalidArgument(field, f"{name[:200]!r} is no picture of {model!r}: write models/{model}/captured/ID.")
    return picture


def _check_count(asked: Sequence[object], field: str) -> None:
    """Refuses more than is done at once. Raises InvalidArgument."""
    if len(asked) > _AT_ONCE:
        raise InvalidArgument(field, f"{field} has {len(asked):,} entries; at most {_AT_ONCE:,} are taken at once.")
