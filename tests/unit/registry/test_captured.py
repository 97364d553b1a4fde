"""Captured pictures: kept once, by whoever comes first; what is deleted is gone for good, and what is cut short goes by itself."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Thread

import pytest

from eyasd.core.capture import CapturePolicy, CaptureReason
from eyasd.core.captured import CapturedPrediction, GivenLabels, LabelSource, Sighting
from eyasd.core.errors import CapturedNotFound, PolicyConflict, StorageFailed
from eyasd.registry.captured import Captured, identity
from eyasd.registry.models import Models
from eyasd.registry.thinning import Bounds, surplus, sweep
from eyasd.storage.bucket import Bucket
from eyasd.storage.local import LocalStore

NOW = datetime.now(UTC).replace(microsecond=0)
SEEN = Sighting(
    version=3,
    time=NOW,
    reasons=(CaptureReason.LOW_MARGIN,),
    worth=500,
    predictions=(CapturedPrediction("red", 0.5), CapturedPrediction("blue", 0.4)),
    confidence=0.5,
    margin=0.1,
    ood_score=1.5,
    prediction="0123456789abcdef",
    digest="f0" * 32,
)
MANY = Bounds(max_images=100, max_bytes=10**9, keep=timedelta(days=30))


@pytest.fixture(params=["folder", "bucket"])
def captured(request: pytest.FixtureRequest, tmp_path: Path) -> Captured:
    return Captured(LocalStore(tmp_path / "captured") if request.param == "folder" else Bucket("memory://"))


@pytest.fixture
def kept(tmp_path: Path) -> Captured:
    """Pictures on a disk, whose times of writing can be changed."""
    return Captured(LocalStore(tmp_path / "captured"))


def person(*labels: str, at: datetime = NOW) -> GivenLabels:
    return GivenLabels(labels, at, LabelSource.PERSON, "ann")


def feedback(*labels: str, at: datetime = NOW) -> GivenLabels:
    return GivenLabels(labels, at, LabelSource.FEEDBACK)


def test_a_picture_is_there_with_all_that_is_known_of_it(captured: Captured) -> None:
    entry = captured.keep("colours", b"a picture", SEEN)
    assert entry.id == identity(b"a picture")
    assert captured.entries("colours") == [entry]
    (picture,) = captured.pictures("colours")
    assert (picture.sightings, picture.size_bytes, picture.labels) == ((SEEN,), 9, None)
    assert captured.get("colours", entry.id) == picture
    assert captured.read("colours", entry.id) == b"a picture"
    assert captured.models() == ["colours"]
    assert captured.pictures("others") == captured.labelled("others") == []


def test_the_same_picture_is_kept_once_and_why_adds_up(captured: Captured) -> None:
    captured.keep("colours", b"a picture", SEEN)
    captured.keep("colours", b"a picture", SEEN)
    later = replace(SEEN, time=NOW + timedelta(seconds=5), reasons=(CaptureReason.WRONG,), worth=950, version=4)
    captured.keep("colours", b"a picture", later)
    (picture,) = captured.pictures("colours")
    assert picture.reasons == (CaptureReason.WRONG, CaptureReason.LOW_MARGIN)
    assert (picture.worth, picture.version, picture.time) == (950, 3, NOW)
    assert len(captured.store.children("colours/pictures")) == 1


def test_several_servers_keep_pictures_at_once(kept: Captured) -> None:
    def server(number: int) -> None:
        mine = Captured(kept.store)
        for place in range(20):
            mine.keep("colours", f"picture {place}".encode(), replace(SEEN, prediction=f"{number:016x}"))

    servers = [Thread(target=server, args=(number,)) for number in range(4)]
    for one in servers:
        one.start()
    for one in servers:
        one.join()
    found = kept.pictures("colours")
    assert len(found) == 20
    assert {len(picture.sightings) for picture in found} == {4}


def test_a_person_has_the_last_word(captured: Captured) -> None:
    picture = captured.keep("colours", b"a picture", SEEN).id
    captured.keep("colours", b"another", SEEN)
    for given in (feedback("green"), person("blue"), feedback("red", at=NOW + timedelta(seconds=9))):
        captured.label("colours", picture, given)
    (found,) = captured.labelled("colours")
    assert (found.id, found.labels, len(found.given)) == (picture, ("blue",), 3)
    captured.label("colours", picture, person("red", at=NOW + timedelta(seconds=1)))
    assert captured.get("colours", picture).labels == ("red",)


def test_a_deleted_picture_is_gone_and_is_not_kept_again(captured: Captured) -> None:
    picture = captured.keep("colours", b"a picture", SEEN).id
    captured.label("colours", picture, person("red"))
    assert captured.drop("colours", [picture, picture, "0" * 24]) == 1
    assert captured.store.keys("colours") == [f"colours/dropped/{picture}"]
    captured.keep("colours", b"a picture", SEEN)  # by a server that has not heard of it
    assert captured.entries("colours") == []
    assert captured.pictures("colours") == []
    for asked in (captured.get, captured.read):
        with pytest.raises(CapturedNotFound, match=f"There is no captured picture '{picture}' of colours"):
            asked("colours", picture)


def test_what_others_put_there_is_none_of_it_and_damage_hides_no_other_picture(kept: Captured, tmp_path: Path) -> None:
    entry = kept.keep("colours", b"a picture", SEEN)
    other = kept.keep("colours", b"another", SEEN)
    folder = tmp_path / "captured" / "colours"
    (folder / "sightings" / "README.txt").write_text("?")
    (folder / "sightings" / other.name).write_text("{")
    (folder / "pictures" / entry.id).write_bytes(b"changed")
    assert [picture.id for picture in Captured(kept.store).pictures("colours")] == [entry.id]
    with pytest.raises(StorageFailed, match="is damaged: delete it"):
        kept.read("colours", entry.id)


def test_a_writer_who_is_killed_between_file_and_sighting_leaves_no_picture(kept: Captured, tmp_path: Path) -> None:
    there = kept.keep("colours", b"a picture", SEEN).id
    left = tmp_path / "captured" / "colours" / "pictures" / identity(b"half")
    left.write_bytes(b"half")
    assert [picture.id for picture in kept.pictures("colours")] == [there]
    sweep(kept, "colours", MANY)
    assert left.exists()  # its writer may be at work
    os.utime(left, (time.time() - 7200,) * 2)
    sweep(kept, "colours", MANY)
    assert not left.exists()
    assert kept.read("colours", there) == b"a picture"
    left.write_bytes(b"half")  # and where the picture comes again, it is one
    assert kept.keep("colours", b"half", SEEN).id in {picture.id for picture in kept.pictures("colours")}


def test_what_a_removal_that_was_cut_short_has_left_goes(kept: Captured, tmp_path: Path) -> None:
    entry = kept.keep("colours", b"a picture", SEEN)
    kept.label("colours", entry.id, person("red"))
    kept.store.delete(f"colours/pictures/{entry.id}")
    kept.store.create("colours/dropped/" + "1" * 24, b"")
    for path in (tmp_path / "captured").rglob("*.*"):
        os.utime(path, (time.time() - 7200,) * 2)
    sweep(kept, "colours", MANY)
    assert kept.store.keys("colours") == ["colours/dropped/" + "1" * 24]
    os.utime(tmp_path / "captured/colours/dropped" / ("1" * 24), (time.time() - 31 * 86_400,) * 2)
    sweep(kept, "colours", MANY)
    assert kept.store.keys("colours") == []


def test_the_old_go_and_then_the_least_instructive_but_last_what_has_labels(captured: Captured) -> None:
    def keep(name: str, worth: int, days: float = 0) -> str:
        return captured.keep("colours", name.encode(), replace(SEEN, worth=worth, time=NOW - timedelta(days=days))).id

    old, dull, older, newer, labelled, best = (
        keep(*one) for one in (("old", 990, 31), ("dull", 1), ("older", 500, 2), ("newer", 500, 1), ("labelled", 0), ("best", 900))
    )
    captured.label("colours", labelled, person("red"))
    entries, bounds = captured.entries("colours"), replace(MANY, max_images=2)
    assert surplus(entries, {labelled}, bounds, NOW.timestamp()) == [old, dull, older, newer]
    assert surplus(entries, {labelled}, replace(MANY, max_bytes=17), NOW.timestamp()) == [old, dull, older]
    assert surplus(entries, {labelled}, replace(MANY, max_images=0), NOW.timestamp())[-2:] == [best, labelled]
    captured.remove("colours", [old, dull, older, newer])
    assert {picture.id for picture in captured.pictures("colours")} == {labelled, best}
    assert len(captured.store.children("colours/pictures")) == 2


def test_what_is_captured_is_a_history_that_servers_follow(models: Models) -> None:
    assert models.capturing.get("colours") is None
    first = models.capturing.set("colours", CapturePolicy(on=True, percent=5), actor="ann")
    assert models.capturing.set("colours", CapturePolicy(on=True, percent=5), actor="bob") == first  # said twice, done once
    models.aliases.set("colours", "production", 1, actor="ann", reason="")
    assert models.pointers()["colours"].capture == first
    second = models.capturing.set("colours", CapturePolicy(on=False), actor="bob")
    assert (second.record, second.policy.on) == (2, False)
    assert models.pointers()["colours"].capture == second


def test_two_policies_at_the_same_moment_are_a_conflict() -> None:
    store = Bucket("memory://")
    mine, theirs = Models(store), Models(store)
    assert mine.capturing.get("colours") is None
    look = mine.capturing.get

    def late(model: str) -> object:
        found = look(model)
        theirs.capturing.set(model, CapturePolicy(on=False), actor="bob")
        return found

    mine.capturing.get = late  # type: ignore[assignment,method-assign]
    with pytest.raises(PolicyConflict, match="changed by somebody else at the same moment"):
        mine.capturing.set("colours", CapturePolicy(on=True), actor="ann")


def test_servers_of_a_bucket_follow_it_too() -> None:
    store = Bucket("memory://")
    models = Models(store)
    models.aliases.set("colours", "production", 1, actor="ann", reason="")
    assert models.pointers()["colours"].capture is None
    record = models.capturing.set("colours", CapturePolicy(on=True), actor="ann")
    assert models.pointers()["colours"].capture == record
