"""Canaries and shadows have histories like aliases; a promoted canary ends, and a version that is one is not deleted."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from builders import write_bundle
from eyasd.core.errors import AliasNotFound, InvalidArgument, TrafficConflict, VersionInUse, VersionNotFound
from eyasd.core.names import ModelRef
from eyasd.core.traffic import Bounds, Canary, Shadow
from eyasd.registry.models import Models
from eyasd.registry.traffic import Traffic
from eyasd.storage.local import LocalStore

ANN: dict[str, Any] = {"actor": "ann", "reason": "try it"}


def version(number: int) -> ModelRef:
    return ModelRef("colours", version=number)


NEXT = ModelRef("colours", alias="next")


@pytest.fixture
def three(models: Models, tmp_path: Path) -> Models:
    """A model of three versions, the first in production and the third under `next`."""
    for number in (1, 2, 3):
        models.publish("colours", write_bundle(tmp_path / str(number), job=f"job{number}"), f"job{number}")
    models.aliases.set("colours", "production", 1, **ANN)
    models.aliases.set("colours", "next", 3, **ANN)
    return models


def test_every_change_is_a_record(three: Models) -> None:
    assert three.traffic.get("colours") is None
    canary, shadow = Canary(version(2), 5.0, Bounds(min_requests=10)), Shadow(NEXT, 10.0)
    first = three.set_traffic("colours", canary, None, **ANN)
    second = three.set_traffic("colours", canary, shadow, after=1, **ANN)
    assert (first.record, first.canary, first.shadow, first.actor, first.reason) == (1, canary, None, "ann", "try it")
    assert three.set_traffic("colours", canary, shadow, **ANN) == second  # said twice, done once
    third = three.set_traffic("colours", None, None, **ANN)
    assert three.traffic.history("colours") == [first, second, third]
    assert (third.canary, third.shadow, third.targets) == (None, None, ())
    assert second.targets == (version(2), NEXT)


def test_who_has_not_seen_the_newest_record_is_told(three: Models) -> None:
    three.set_traffic("colours", Canary(version(2), 5.0), None, **ANN)
    with pytest.raises(TrafficConflict, match="changed by somebody else meanwhile"):
        three.set_traffic("colours", None, Shadow(NEXT, 1.0), after=0, **ANN)


def test_of_two_at_the_same_moment_one_wins(tmp_path: Path) -> None:
    class RacedStore(LocalStore):
        def create(self, key: str, content: bytes) -> bool:
            super().create(key, content)  # by somebody who is quicker
            return super().create(key, content)

    with pytest.raises(TrafficConflict):
        Traffic(RacedStore(tmp_path)).set("colours", Canary(version(2), 5.0), None, **ANN)


@pytest.mark.parametrize(
    ("canary", "ended"),
    [(Canary(version(2), 5.0), True), (Canary(version(2), 10.0), False), (None, False)],
    ids=["its shadow changed", "it changed", "it has ended"],
)
def test_a_canary_that_failed_ends_though_its_shadow_was_changed_just_then(
    three: Models, canary: Canary | None, ended: bool
) -> None:
    shadow = Shadow(NEXT, 10.0)
    seen = three.set_traffic("colours", Canary(version(2), 5.0), None, **ANN)
    meanwhile = three.set_traffic("colours", canary, shadow, **ANN)
    assert three.end_canary("colours", seen, "it failed") is ended
    newest = three.traffic.get("colours")
    assert newest is not None
    assert (newest.canary, newest.shadow) == (None if ended else canary, shadow)
    assert (newest == meanwhile) is not ended


@pytest.mark.parametrize("target", [version(2), NEXT], ids=["by number", "by alias"])
def test_a_canary_that_becomes_production_ends_in_the_same_breath(three: Models, target: ModelRef) -> None:
    shadow = Shadow(version(3), 1.0)
    three.set_traffic("colours", Canary(target, 5.0), shadow, **ANN)
    three.promote("colours", "next", 2, **ANN)
    assert len(three.traffic.history("colours")) == 1
    three.promote("colours", "production", 2, **ANN)
    newest = three.traffic.get("colours")
    assert newest is not None
    assert (newest.canary, newest.shadow, newest.actor) == (None, shadow, "eyasd")
    assert newest.reason == "colours/2 is in production"


def test_another_promotion_leaves_the_canary(three: Models) -> None:
    record = three.set_traffic("colours", Canary(version(2), 5.0), None, **ANN)
    three.promote("colours", "production", 3, **ANN)
    assert three.traffic.get("colours") == record


@pytest.mark.parametrize(
    ("canary", "shadow", "error", "says"),
    [
        (Canary(version(1), 5.0), None, InvalidArgument, "colours/1 is in production, so it cannot be its canary"),
        (None, Shadow(version(1), 5.0), InvalidArgument, "colours/1 is in production, so it cannot be its shadow"),
        (Canary(version(9), 5.0), None, VersionNotFound, "has no version 9"),
        (None, Shadow(ModelRef("colours", alias="gone"), 5.0), AliasNotFound, "has no alias 'gone'"),
    ],
)
def test_a_target_that_cannot_be(three: Models, canary: Any, shadow: Any, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says):
        three.set_traffic("colours", canary, shadow, **ANN)
    assert three.traffic.get("colours") is None


def test_a_shadow_that_has_become_production_does_not_keep_the_canary_from_ending(three: Models) -> None:
    shadow = Shadow(NEXT, 1.0)
    three.set_traffic("colours", Canary(version(2), 5.0), shadow, **ANN)
    three.aliases.set("colours", "next", 1, **ANN)
    record = three.set_traffic("colours", None, shadow, **ANN)
    assert (record.canary, record.shadow) == (None, shadow)


def test_a_shadow_that_is_promoted_ends_too(three: Models) -> None:
    canary = Canary(version(2), 5.0)
    three.set_traffic("colours", canary, Shadow(NEXT, 1.0), **ANN)
    three.promote("colours", "production", 3, **ANN)
    newest = three.traffic.get("colours")
    assert newest is not None
    assert (newest.canary, newest.shadow, newest.reason) == (canary, None, "colours/3 is in production")


def test_without_production_there_is_nothing_to_be_beside(models: Models, tmp_path: Path) -> None:
    models.publish("colours", write_bundle(tmp_path / "b"), "job1")
    with pytest.raises(AliasNotFound, match="has no alias 'production'"):
        models.set_traffic("colours", Canary(version(1), 5.0), None, **ANN)


def test_a_canary_and_a_shadow_are_not_deleted(three: Models) -> None:
    three.set_traffic("colours", Canary(version(2), 5.0), None, **ANN)
    with pytest.raises(VersionInUse, match="colours/2 is the canary of colours: end that first, with `eyas canary colours --end`"):
        three.delete("colours", 2, timedelta(0))
    three.set_traffic("colours", None, Shadow(version(2), 5.0), **ANN)
    with pytest.raises(VersionInUse, match="colours/2 is the shadow of colours"):
        three.delete("colours", 2, timedelta(0))
    three.set_traffic("colours", None, None, **ANN)
    three.delete("colours", 2, timedelta(0))
    assert three.versions("colours") == [1, 3]


def test_of_a_deletion_at_the_same_moment_the_caller_is_told(three: Models, tmp_path: Path) -> None:
    set_now = three.traffic.set

    def deleted_meanwhile(*args: Any, **kwargs: Any) -> Any:
        (tmp_path / "models/colours/2/deleted").touch()
        return set_now(*args, **kwargs)

    three.traffic.set = deleted_meanwhile  # type: ignore[method-assign]
    with pytest.raises(VersionNotFound, match="colours/2 was deleted at the same moment"):
        three.set_traffic("colours", Canary(version(2), 5.0), None, **ANN)
    newest = three.traffic.get("colours")
    assert newest is not None
    assert newest.canary is None
