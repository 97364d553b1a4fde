"""Captured pictures are listed page by page, and what is read of the store is what is on the page."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from eyas.v1 import capture_pb2
from eyas.v1 import capture_service_pb2 as pb
from eyasd.api.capture import CaptureService
from eyasd.api.messages.variants import precisions_of
from eyasd.core.capture import CaptureReason
from eyasd.core.captured import CapturedPrediction, GivenLabels, LabelSource, Sighting
from eyasd.core.errors import InvalidArgument
from eyasd.registry.captured import Captured
from eyasd.registry.models import Models
from eyasd.storage.local import LocalStore

NOW = datetime(2026, 11, 26, 12, tzinfo=UTC)


class CountingStore(LocalStore):
    """A store that counts what is read of it."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.asked: Counter[str] = Counter()

    def read(self, key: str) -> bytes:
        self.asked["read"] += 1
        return super().read(key)


@pytest.fixture
def store(tmp_path: Path) -> CountingStore:
    return CountingStore(tmp_path / "captured")


@pytest.fixture
def ids(store: CountingStore) -> list[str]:
    """Seven pictures, oldest first, two of the same moment; every second was wrong, and called red, and the last has a label."""
    captured, made = Captured(store), []
    for number in range(7):
        red = number % 2 == 1
        seen = Sighting(
            version=1,
            time=NOW + timedelta(seconds=number // 2),
            reasons=(CaptureReason.WRONG if red else CaptureReason.SAMPLE,),
            worth=100,
            predictions=(CapturedPrediction("red" if red else "blue", 0.9),),
            confidence=0.9,
            margin=0.8,
        )
        made.append(captured.keep("colours", f"picture {number}".encode(), seen).id)
    captured.label("colours", made[6], GivenLabels(("red",), NOW, LabelSource.PERSON, "ann"))
    order = sorted(range(7), key=lambda number: (number // 2, made[number]))
    return [made[number] for number in order]


@pytest.fixture
def service(models: Models, store: CountingStore) -> CaptureService:
    return CaptureService(models, Captured(store))


async def pages(service: CaptureService, **asked: object) -> list[list[str]]:
    found, token = [], ""
    while True:
        request = pb.ListCapturedPicturesRequest(parent="models/colours", page_token=token, **asked)  # type: ignore[arg-type]
        response = await service.ListCapturedPictures(request, None)
        found.append([picture.name.rpartition("/")[2] for picture in response.pictures])
        token = response.next_page_token
        if not token:
            return found


async def test_pages_join_to_the_whole_newest_first(service: CaptureService, ids: list[str], store: CountingStore) -> None:
    newest = ids[::-1]
    assert await pages(service) == [newest]
    for size in (1, 2, 3, 7):
        found = await pages(service, page_size=size)
        assert [one for page in found for one in page] == newest
        assert {len(page) for page in found[:-1]} <= {size}


async def test_of_a_page_alone_is_read(service: CaptureService, ids: list[str], store: CountingStore) -> None:
    store.asked.clear()
    request = pb.ListCapturedPicturesRequest(parent="models/colours", page_size=2, labels=pb.LABEL_FILTER_UNLABELLED)
    response = await service.ListCapturedPictures(request, None)
    assert [picture.name[-24:] for picture in response.pictures] == ids[-2:-4:-1]
    assert store.asked["read"] == 2


async def test_filters(service: CaptureService, ids: list[str]) -> None:
    wrong = {"reasons": [capture_pb2.CAPTURE_REASON_WRONG, capture_pb2.CAPTURE_REASON_DRIFT]}
    found = await pages(service, page_size=2, **wrong)
    assert [len(page) for page in found] == [2, 1]
    assert await pages(service, predicted_label="red", **wrong) == [[one for page in found for one in page]]
    assert await pages(service, predicted_label="blue", **wrong) == [[]]
    assert await pages(service, labels=pb.LABEL_FILTER_LABELLED) == [[ids[-1]]]
    assert await pages(service, labels=pb.LABEL_FILTER_UNLABELLED) == [ids[-2::-1]]


@pytest.mark.parametrize("token", ["?", "Zm9v"])
async def test_a_token_of_elsewhere_is_refused(service: CaptureService, token: str) -> None:
    request = pb.ListCapturedPicturesRequest(parent="models/colours", page_token=token)
    with pytest.raises(InvalidArgument, match="page_token"):
        await service.ListCapturedPictures(request, None)


async def test_a_request_names_no_more_than_is_looked_at_while_others_wait(tmp_path: Path) -> None:
    service = CaptureService(Models(LocalStore(tmp_path)), Captured(LocalStore(tmp_path)))
    labels = pb.PictureLabels(name="models/m/captured/" + "0" * 24, labels=["red"] * 10_001)
    with pytest.raises(InvalidArgument, match="names 10,001 labels; at most 10,000"):
        await service.LabelCapturedPictures(pb.LabelCapturedPicturesRequest(parent="models/m", pictures=[labels]), None)
    with pytest.raises(InvalidArgument, match="17 reasons are named"):
        await service.ListCapturedPictures(pb.ListCapturedPicturesRequest(parent="models/m", reasons=[1] * 17), None)
    with pytest.raises(InvalidArgument, match="17 precisions are named"):
        precisions_of([3] * 17, "spec.variants")
