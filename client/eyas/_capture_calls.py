"""The calls of `CaptureService` as values, see `_calls`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TypeVar

from eyas import _convert
from eyas._calls import Call, Page
from eyas._capture import (
    CapturedPicture,
    CapturePolicy,
    CaptureReason,
    picture,
    picture_resource,
    policy,
    reason_names,
)
from eyas.v1 import capture_pb2
from eyas.v1 import capture_service_pb2 as pb

T = TypeVar("T")

AT_ONCE = 1000


def get_capture_policy(model: str) -> Call[CapturePolicy]:
    """GetCapturePolicy."""
    request = pb.GetCapturePolicyRequest(name=f"{_convert.model_resource(model)}/capture")
    return Call("/eyas.v1.CaptureService/GetCapturePolicy", request, pb.GetCapturePolicyResponse, lambda r: policy(r.policy))


def set_capture_policy(
    model: str,
    *,
    enabled: bool,
    reasons: Iterable[CaptureReason | str],
    percent: float | None,
    max_margin: float | None,
    max_images: int | None,
    keep_days: float | None,
) -> Call[CapturePolicy]:
    """SetCapturePolicy."""
    asked = capture_pb2.CapturePolicy(
        name=f"{_convert.model_resource(model)}/capture",
        enabled=enabled,
        reasons=reason_names(reasons),
        percent=percent,
        max_margin=max_margin,
        max_images=max_images,
        keep_days=keep_days,
    )
    request = pb.SetCapturePolicyRequest(policy=asked)
    return Call("/eyas.v1.CaptureService/SetCapturePolicy", request, pb.SetCapturePolicyResponse, lambda r: policy(r.policy))


def list_captured(
    model: str, reasons: Iterable[CaptureReason | str], labelled: bool | None, predicted: str, token: str
) -> Call[Page[CapturedPicture]]:
    """ListCapturedPictures, one page."""
    filters = {None: pb.LABEL_FILTER_UNSPECIFIED, True: pb.LABEL_FILTER_LABELLED, False: pb.LABEL_FILTER_UNLABELLED}
    request = pb.ListCapturedPicturesRequest(
        parent=_convert.model_resource(model),
        page_token=token,
        reasons=reason_names(reasons),
        labels=filters[labelled],
        predicted_label=predicted,
    )
    return Call(
        "/eyas.v1.CaptureService/ListCapturedPictures",
        request,
        pb.ListCapturedPicturesResponse,
        lambda r: (list(map(picture, r.pictures)), r.next_page_token),
    )


def get_captured(model: str, identity: str) -> Call[tuple[CapturedPicture, bytes]]:
    """GetCapturedPicture."""
    request = pb.GetCapturedPictureRequest(name=picture_resource(model, identity))
    method = "/eyas.v1.CaptureService/GetCapturedPicture"
    return Call(method, request, pb.GetCapturedPictureResponse, lambda r: (picture(r.picture), r.content))


def label_captured(model: str, labels: Mapping[str, str | Iterable[str]]) -> Iterator[Call[pb.LabelCapturedPicturesResponse]]:
    """LabelCapturedPictures, in as many calls as it takes."""
    named = [
        pb.PictureLabels(name=picture_resource(model, identity), labels=[given] if isinstance(given, str) else given)
        for identity, given in labels.items()
    ]
    for some in _batches(named):
        request = pb.LabelCapturedPicturesRequest(parent=_convert.model_resource(model), pictures=some)
        method = "/eyas.v1.CaptureService/LabelCapturedPictures"
        yield Call(method, request, pb.LabelCapturedPicturesResponse, lambda r: r)


def delete_captured(model: str, identities: Iterable[str]) -> Iterator[Call[int]]:
    """DeleteCapturedPictures, in as many calls as it takes; the answer of each is how many there were."""
    given = [identities] if isinstance(identities, str) else identities
    for some in _batches([picture_resource(model, identity) for identity in given]):
        request = pb.DeleteCapturedPicturesRequest(parent=_convert.model_resource(model), names=some)
        method = "/eyas.v1.CaptureService/DeleteCapturedPictures"
        yield Call(method, request, pb.DeleteCapturedPicturesResponse, lambda r: int(r.deleted_count))


def _batches(items: Sequence[T]) -> Iterator[list[T]]:
    left = iter(items)
    while some := list(islice(left, AT_ONCE)):
        yield some
