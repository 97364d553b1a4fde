"""A server keeps pictures within what the policy allows, beside others, and names their labels once feedback has come."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from eyasd.core.capture import CapturePolicy, CaptureReason
from eyasd.core.captured import CapturedPrediction, GivenLabels, LabelSource, Outcome, Sighting
from eyasd.core.errors import StorageFailed
from eyasd.registry.captured import Captured, identity
from eyasd.registry.keeper import Keeper
from eyasd.storage.local import LocalStore

NOW = datetime.now(UTC)
ON = CapturePolicy(on=True)


def seen(worth: int = 450, digest: str = "", prediction: str = "", reason: CaptureReason = CaptureReason.LOW_MARGIN) -> Sighting:
    best = (CapturedPrediction("red", 0.5),)
    return Sighting(
        version=1,
        time=NOW,
        reasons=(reason,),
        worth=worth,
        predictions=best,
        confidence=0.5,
        margin=0.1,
        digest=digest,
        prediction=prediction,
    )


@pytest.fixture
def captured(tmp_path: Path) -> Captured:
    return Captured(LocalStore(tmp_path / "captured"))


@pytest.fixture
def keeper(captured: Captured) -> Keeper:
    return Keeper(captured, 10**6)


def test_a_copy_is_kept_again_only_for_a_better_reason(keeper: Keeper, captured: Captured) -> None:
    assert keeper.keep("colours", b"one", seen(120), ON) is Outcome.KEPT
    assert keeper.keep("colours", b"one", seen(190), ON) is Outcome.DUPLICATE
    assert keeper.keep("colours", b"one", seen(950, reason=CaptureReason.WRONG), ON) is Outcome.KEPT
    assert [picture.worth for picture in captured.pictures("colours")] == [950]


def test_near_copies_are_kept_only_if_they_were_wrong(keeper: Keeper) -> None:
    assert keeper.keep("colours", b"one", seen(digest=f"{0:064x}"), ON) is Outcome.KEPT
    assert keeper.keep("colours", b"two", seen(digest=f"{2**21 - 1:064x}"), ON) is Outcome.KEPT
    assert keeper.keep("colours", b"three", seen(digest=f"{2**20 - 1:064x}"), ON) is Outcome.NEAR_COPY
    wrong = seen(950, digest=f"{2**20 - 1:064x}", reason=CaptureReason.WRONG)
    assert keeper.keep("colours", b"three", wrong, ON) is Outcome.KEPT


def test_where_there_is_no_room_the_least_instructive_makes_it(captured: Captured) -> None:
    keeper, policy = Keeper(captured, 14), replace(ON, max_images=3)
    for content, worth in ((b"aaaa", 100), (b"bbbb", 500), (b"cccc", 700)):
        assert keeper.keep("colours", content, seen(worth), policy) is Outcome.KEPT
    assert keeper.keep("colours", b"dddd", seen(100), policy) is Outcome.FULL
    assert keeper.keep("colours", b"dddd", seen(600), policy) is Outcome.KEPT
    captured.label("colours", identity(b"bbbb"), GivenLabels(("red",), NOW, LabelSource.PERSON, "ann"))
    keeper.tidy({"colours": policy})
    assert keeper.keep("colours", b"ee", seen(800), policy) is Outcome.KEPT  # not in the place of what has a label
    assert {picture.id for picture in captured.pictures("colours")} == set(map(identity, (b"bbbb", b"cccc", b"ee")))
    assert keeper.keep("colours", b"f" * 9, seen(850), policy) is Outcome.KEPT  # which takes the bytes of both others
    assert {picture.id for picture in captured.pictures("colours")} == set(map(identity, (b"bbbb", b"f" * 9)))
    assert keeper.size_bytes("colours") == 13
    assert keeper.keep("colours", b"g" * 15, seen(999), policy) is Outcome.FULL


def test_what_somebody_deleted_at_another_server_is_not_kept_again_after_the_next_look(keeper: Keeper, captured: Captured) -> None:
    keeper.keep("colours", b"one", seen(), ON)
    captured.drop("colours", [identity(b"one")])
    keeper.tidy({"colours": ON})
    assert keeper.keep("colours", b"one", seen(950), ON) is Outcome.DELETED
    assert captured.pictures("colours") == []


def test_feedback_finds_the_picture_whichever_server_kept_it_and_whichever_comes_first(keeper: Keeper, captured: Captured) -> None:
    given = GivenLabels(("blue",), NOW, LabelSource.FEEDBACK)
    keeper.name("colours", "1" * 16, given)  # before it is kept
    keeper.keep("colours", b"one", seen(prediction="1" * 16), ON)
    Keeper(captured, 10**6).keep("colours", b"two", seen(prediction="2" * 16), ON)  # by another server
    keeper.name("colours", "2" * 16, given)
    keeper.name("colours", "3" * 16, given)  # of one that is not kept
    assert [picture.id for picture in captured.labelled("colours")] == [identity(b"one")]
    keeper.tidy({})
    keeper.tidy({})
    assert {picture.id: picture.given for picture in captured.labelled("colours")} == {
        identity(b"one"): (given,),
        identity(b"two"): (given,),
    }


def test_what_is_old_goes_also_where_nothing_is_captured_any_more(keeper: Keeper, captured: Captured) -> None:
    captured.keep("colours", b"old", replace(seen(), time=NOW - timedelta(days=31)))
    captured.keep("colours", b"new", seen())
    captured.keep("sizes", b"old", replace(seen(), time=NOW - timedelta(days=2)))
    policies = {"colours": CapturePolicy(on=False), "sizes": CapturePolicy(on=True, keep_days=1)}
    assert keeper.tidy(policies) == 2
    assert [picture.id for picture in captured.pictures("colours")] == [identity(b"new")]
    assert captured.pictures("sizes") == []
    assert keeper.tidy({}) == 0


def test_a_label_that_could_not_be_written_is_written_later(
    keeper: Keeper, captured: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeper.keep("colours", b"one", seen(prediction="1" * 16), ON)

    def away(*_: object) -> bool:
        raise StorageFailed("The store is away.")

    with monkeypatch.context() as patch:
        patch.setattr(LocalStore, "create", away)
        with pytest.raises(StorageFailed):
            keeper.name("colours", "1" * 16, GivenLabels(("blue",), NOW, LabelSource.FEEDBACK))
        keeper.remember("colours", "1" * 16, GivenLabels(("red",), NOW, LabelSource.FEEDBACK))  # which asks nobody
    keeper.tidy({"colours": ON})
    assert captured.get("colours", identity(b"one")).labels == ("red",)
