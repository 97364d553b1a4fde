"""What a training adds is frozen when it is asked for: repeated, it has the same pictures, but those that somebody has removed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from eyasd.core import document
from eyasd.core.capture import CaptureReason
from eyasd.core.captured import CapturedPrediction, GivenLabels, LabelSource, Sighting
from eyasd.core.errors import InvalidArgument
from eyasd.core.frozen import LABELLED, FrozenList
from eyasd.core.jobdir import CAPTURED_LIST
from eyasd.registry.captured import Captured
from eyasd.registry.frozen import Frozen
from eyasd.storage.bucket import Bucket

NOW = datetime.now(UTC)


@pytest.fixture
def captured() -> Captured:
    return Captured(Bucket("memory://"))


def capture(
    captured: Captured,
    content: bytes,
    *labels: str,
    age: timedelta = timedelta(0),
    model: str = "clothing",
    reason: CaptureReason = CaptureReason.LOW_MARGIN,
) -> str:
    """Keeps a picture, and labels it; returns its id."""
    time = NOW - age
    seen = Sighting(
        version=1,
        time=time,
        reasons=(reason,),
        worth=500,
        predictions=(CapturedPrediction("hat", 0.5),),
        confidence=0.5,
        margin=0.1,
    )
    name = captured.keep(model, content, seen).id
    if labels:
        captured.label(model, name, GivenLabels(labels, time, LabelSource.PERSON, "ann"))
    return name


def test_a_list_names_what_is_labelled_now_and_its_pictures_are_laid_out(captured: Captured, tmp_path: Path) -> None:
    frozen = Frozen(captured)
    capture(captured, b"nobody knows")
    names = {capture(captured, b"a hat", "hat"): b"a hat", capture(captured, b"a shoe", "shoe"): b"a shoe"}
    digest = frozen.freeze("clothing", LABELLED, None)
    assert frozen.freeze("clothing", LABELLED, None) == digest
    capture(captured, b"another hat", "hat")
    assert frozen.freeze("clothing", LABELLED, None) != digest
    assert frozen.freeze("clothing", digest, None) == digest

    frozen.lay_out("clothing", digest, tmp_path / "captured")
    listed = document.load(FrozenList, (tmp_path / "captured" / CAPTURED_LIST).read_bytes())
    assert {one.id: (tmp_path / "captured" / one.id).read_bytes() for one in listed.pictures} == names
    assert [one.by_chance for one in listed.pictures] == [False, False]
    assert ({one.labels for one in listed.pictures}, listed.model, listed.removed) == ({("hat",), ("shoe",)}, "clothing", 0)

    # A later attempt has what is there still, with the labels of then.
    gone, stays = sorted(names)
    captured.drop("clothing", [gone])
    captured.label("clothing", stays, GivenLabels(("glove",), NOW, LabelSource.PERSON, "ann"))
    frozen.lay_out("clothing", digest, tmp_path / "captured")
    after = document.load(FrozenList, (tmp_path / "captured" / CAPTURED_LIST).read_bytes())
    assert after.pictures == tuple(one for one in listed.pictures if one.id == stays)
    assert after.removed == 1
    assert not (tmp_path / "captured" / gone).exists()


def test_old_ones_may_be_left_out(captured: Captured) -> None:
    frozen = Frozen(captured)
    capture(captured, b"old", "hat", age=timedelta(days=9))
    with pytest.raises(InvalidArgument, match=r"No labelled picture of clothing was captured within 7 days: turn capturing on"):
        frozen.freeze("clothing", LABELLED, 7)
    everything = frozen.freeze("clothing", LABELLED, None)
    capture(captured, b"new", "hat")
    assert frozen.freeze("clothing", LABELLED, 7) not in ("", everything)


def test_what_was_captured_by_chance_is_noted(captured: Captured, tmp_path: Path) -> None:
    frozen = Frozen(captured)
    drawn = capture(captured, b"drawn", "hat", reason=CaptureReason.SAMPLE)
    capture(captured, b"doubtful", "hat")
    frozen.lay_out("clothing", frozen.freeze("clothing", LABELLED, None), tmp_path)
    listed = document.load(FrozenList, (tmp_path / CAPTURED_LIST).read_bytes())
    assert {one.id: one.by_chance for one in listed.pictures}[drawn]
    assert sum(one.by_chance for one in listed.pictures) == 1


def test_what_is_not_there_is_said(captured: Captured, tmp_path: Path) -> None:
    frozen = Frozen(captured)
    capture(captured, b"nobody knows")
    with pytest.raises(InvalidArgument, match="No labelled picture of clothing was captured: "):
        frozen.freeze("clothing", LABELLED, None)
    with pytest.raises(InvalidArgument, match=r"There is no list aaaaaaaaaaaa\.\.\. of captured pictures of clothing"):
        frozen.freeze("clothing", "a" * 64, None)
    with pytest.raises(InvalidArgument, match="is gone"):
        frozen.lay_out("clothing", "a" * 64, tmp_path)
