"""The instructive pictures of production are picked and kept, what is private of them is not, and no failure reaches a caller."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from threading import Event
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import structlog
from PIL import Image

from builders import scene
from eyasd.core.capture import CapturePolicy, CaptureReason
from eyasd.core.captured import CapturedPicture, GivenLabels, LabelSource
from eyasd.core.errors import StartupFailed, StorageFailed
from eyasd.core.unknown import DistributionRule, UnknownRules
from eyasd.registry.captured import Captured
from eyasd.registry.keeper import Keeper
from eyasd.serving.answer import Labelled, Prediction
from eyasd.serving.cache import Said
from eyasd.serving.capture.capture import Capture
from eyasd.serving.capture.preparing import load_hook
from eyasd.serving.capture.writing import Writer
from eyasd.serving.feedback.ids import PredictionIds, nonce_of
from eyasd.serving.feedback.judged import Judged
from eyasd.serving.seen import Seen
from eyasd.storage.local import LocalStore
from eyasd.telemetry.metrics import Metrics

LABELS = ("blue", "green", "red")
WRONG, SHADOW, DRIFT, LOW, SAMPLE = CaptureReason


class Policies(dict[str, CapturePolicy]):
    """What is in force; asked as a server asks."""

    def __call__(self) -> Mapping[str, CapturePolicy]:
        return self


def version(thresholds: tuple[float, ...] | None = None) -> Any:
    rules = UnknownRules(DistributionRule("by hand", 10.0, 0.99))
    return SimpleNamespace(
        model="colours", version=3, manifest=SimpleNamespace(labels=LABELS, thresholds=thresholds, unknown=rules)
    )


def photograph(seed: int, **options: Any) -> bytes:
    buffer = BytesIO()
    scene(seed, (160, 120)).save(buffer, "JPEG", **options)
    return buffer.getvalue()


@pytest.fixture
def ids() -> PredictionIds:
    return PredictionIds(["a key of the tests"])


@pytest.fixture
def policies() -> Policies:
    return Policies(colours=CapturePolicy(on=True, percent=0))


@pytest.fixture
def captured(tmp_path: Path) -> Captured:
    return Captured(LocalStore(tmp_path / "captured"))


class Drawn:
    """What is drawn by chance, 0..1."""

    value = 0.5

    def __call__(self) -> float:
        return self.value


class Rig:
    """A capture with all that is beside it."""

    def __init__(
        self, policies: Policies, captured: Captured, metrics: Metrics, log: Any, ids: PredictionIds, redact: Any = None
    ) -> None:
        self.policies, self.captured, self.metrics, self.ids = policies, captured, metrics, ids
        self.draw = Drawn()
        self.writer = Writer(Keeper(captured, 10**9), redact, metrics, log)
        self.capture = Capture(
            policies, self.writer, metrics, hourly_images=600, memory_bytes=10**7, unusual=lambda _: 0.0, draw=self.draw
        )

    def seen(self, picture: Any, *probabilities: float, ood: float | None = None, thresholds: Any = None) -> Seen:
        row = np.array(probabilities, np.float32)
        loaded = version(thresholds)
        best = int(row.argmax())
        labelled = Labelled((Prediction(LABELS[best], best, float(row[best]), True),), row, ood_score=ood)
        best = labelled.predictions[0]
        prediction = self.ids.mint("colours", 3, best, row, thresholds, routed=True, canary=False)
        said = replace(labelled, prediction_id=prediction)
        return Seen(loaded, picture, None, Said(row, ood), said, routed=True)

    def judge(self, seen: Seen, label: str) -> None:
        stamp = self.ids.read(seen.labelled.prediction_id)
        assert stamp is not None
        right = label == LABELS[stamp.class_index]
        self.capture.judged(Judged(seen.labelled.prediction_id, stamp, (label,), right, correction=False))

    def keep(self) -> list[CapturedPicture]:
        """Returns what there is once the window has closed and all is written."""
        self.capture.close_window()
        self.writer._thread.submit(lambda: None).result()
        return self.captured.pictures("colours")

    def dropped(self, reason: str) -> float:
        found = self.metrics.registry.get_sample_value("eyas_capture_dropped_total", {"model": "colours", "reason": reason})
        return found or 0


@pytest.fixture
async def rig(
    policies: Policies, captured: Captured, metrics: Metrics, log: structlog.typing.FilteringBoundLogger, ids: PredictionIds
) -> AsyncIterator[Rig]:
    made = Rig(policies, captured, metrics, log, ids)
    yield made
    await made.capture.close()


def reasons(found: list[CapturedPicture]) -> list[tuple[CaptureReason, ...]]:
    return [picture.reasons for picture in sorted(found, key=lambda picture: -picture.worth)]


async def test_doubtful_and_unlike_pictures_and_some_by_chance_are_kept_and_what_is_sure_is_not(rig: Rig) -> None:
    rig.capture.see(rig.seen(photograph(1), 0.1, 0.42, 0.48, ood=1.0))
    rig.capture.see(rig.seen(photograph(2), 0.0, 0.01, 0.99, ood=1.0))
    rig.capture.see(rig.seen(photograph(3), 0.0, 0.01, 0.99, ood=15.0))
    rig.capture.see(rig.seen(photograph(4), 0.3, 0.1, 0.6, ood=None))  # leads by 0.3
    rig.policies["colours"] = CapturePolicy(on=True, percent=1)
    rig.draw.value = 0.009
    rig.capture.see(rig.seen(photograph(5), 0.0, 0.01, 0.99))
    found = rig.keep()
    assert reasons(found) == [(DRIFT,), (LOW,), (SAMPLE,)]
    doubtful = next(picture for picture in found if picture.reasons == (LOW,)).first
    assert [(one.label, round(one.probability, 2)) for one in doubtful.predictions] == [
        ("red", 0.48),
        ("green", 0.42),
        ("blue", 0.1),
    ]
    assert (round(doubtful.margin, 2), doubtful.version, doubtful.ood_score) == (0.06, 3, 1.0)
    shown = rig.metrics.registry.get_sample_value
    assert shown("eyas_captured_images_total", {"model": "colours", "reason": "low_margin"}) == 1
    assert shown("eyas_captured_bytes", {"model": "colours"}) == sum(picture.size_bytes for picture in found)


async def test_nothing_is_kept_where_it_is_off_or_for_another_reason(rig: Rig) -> None:
    doubtful = rig.seen(photograph(1), 0.1, 0.42, 0.48, ood=99.0)
    for policy in (None, CapturePolicy(on=False), CapturePolicy(on=True, reasons=(WRONG, SAMPLE), percent=0)):
        rig.policies.clear()
        if policy is not None:
            rig.policies["colours"] = policy
        rig.capture.see(doubtful)
        rig.capture.unusual(doubtful, 0.9)
        rig.capture.disagreed(doubtful, "green", 0.9)
        assert rig.keep() == []
    rig.policies.clear()
    rig.judge(doubtful, "blue")
    assert rig.keep() == []
    assert not rig.capture.wants(doubtful.loaded)


async def test_of_several_labels_one_that_is_close_to_its_threshold_is_doubtful(rig: Rig) -> None:
    rig.capture.see(rig.seen(photograph(1), 0.9, 0.9, 0.45, thresholds=(0.5, 0.5, 0.5)))
    rig.capture.see(rig.seen(photograph(2), 0.9, 0.9, 0.1, thresholds=(0.5, 0.5, 0.5)))
    (picture,) = rig.keep()
    assert (picture.reasons, round(picture.first.margin, 2)) == ((LOW,), 0.05)


async def test_what_a_shadow_or_a_closer_look_finds_is_kept_with_what_was_known(rig: Rig) -> None:
    sure = rig.seen(photograph(1), 0.0, 0.01, 0.99)
    rig.capture.disagreed(sure, "green", 0.8)
    rig.capture.unusual(rig.seen(photograph(2), 0.0, 0.01, 0.99), 0.5)
    found = rig.keep()
    assert reasons(found) == [(SHADOW,), (DRIFT,)]
    shadowed = next(picture for picture in found if picture.reasons == (SHADOW,))
    assert (shadowed.first.shadow_label, shadowed.first.prediction) == ("green", nonce_of(sure.labelled.prediction_id).hex())


async def test_what_was_wrong_is_kept_with_its_label_while_it_is_remembered(rig: Rig) -> None:
    wrong, right, doubtful = (
        rig.seen(photograph(1), 0.0, 0.01, 0.99),
        rig.seen(photograph(2), 0.0, 0.01, 0.99),
        rig.seen(photograph(3), 0.1, 0.42, 0.48),
    )
    for seen in (wrong, right, doubtful):
        rig.capture.see(seen)
    assert reasons(rig.keep()) == [(LOW,)]
    rig.judge(wrong, "green")
    rig.judge(right, "red")
    rig.judge(doubtful, "green")
    rig.judge(rig.seen(photograph(4), 0.0, 0.01, 0.99), "green")  # answered by another server
    found = {picture.reasons: picture for picture in rig.keep()}
    assert found.keys() == {(WRONG,), (WRONG, LOW)}
    for picture in found.values():
        assert picture.labels == ("green",)
        assert [(given.source, given.actor) for given in picture.given] == [(LabelSource.FEEDBACK, "")]
    assert rig.dropped("gone") == 1


async def test_pixels_are_kept_as_a_file(rig: Rig) -> None:
    pixels = np.asarray(scene(7, (32, 32)))
    rig.capture.see(rig.seen(pixels, 0.1, 0.42, 0.48))
    (picture,) = rig.keep()
    assert np.array_equal(np.asarray(Image.open(BytesIO(rig.captured.read("colours", picture.id)))), pixels)


async def test_metadata_is_never_kept_and_what_is_no_picture_neither(rig: Rig, tmp_path: Path) -> None:
    secret = b"52.5200N 13.4050E"
    rig.capture.see(rig.seen(photograph(1, comment=secret), 0.1, 0.42, 0.48))
    rig.capture.see(rig.seen(b"what nobody can decode", 0.1, 0.42, 0.48))
    assert len(rig.keep()) == 1
    assert rig.dropped("unreadable") == 1
    stored = LocalStore(tmp_path)
    assert all(secret not in stored.read(key) for key in stored.keys(""))


@pytest.fixture
def hooks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A package of the operator's, with hooks in it."""
    (tmp_path / "operators_hooks.py").write_text(
        "from PIL import Image, ImageFilter\nfrom io import BytesIO\n"
        "def blur(encoded):\n"
        "    out = BytesIO()\n"
        "    Image.open(BytesIO(encoded)).filter(ImageFilter.BoxBlur(20)).save(out, 'JPEG', comment=b'who blurred it')\n"
        "    return out.getvalue()\n"
        "def nothing(encoded):\n    return None\n"
        "def broken(encoded):\n    raise RuntimeError('no model')\n"
        "def text(encoded):\n    return 'text'\n"
        "level = 3\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("operators_hooks", None)


@pytest.mark.parametrize(
    ("hook", "dropped"), [("nothing", "redacted"), ("broken", "redaction_failed"), ("text", "redaction_failed")]
)
async def test_what_the_hook_does_not_give_is_not_kept(
    hook: str,
    dropped: str,
    hooks: None,
    policies: Policies,
    captured: Captured,
    metrics: Metrics,
    log: Any,
    ids: PredictionIds,
) -> None:
    rig = Rig(policies, captured, metrics, log, ids, load_hook(f"operators_hooks:{hook}"))
    rig.capture.see(rig.seen(photograph(1), 0.1, 0.42, 0.48))
    assert rig.keep() == []
    assert rig.dropped(dropped) == 1
    assert captured.models() == []
    await rig.capture.close()


async def test_what_the_hook_gives_is_all_that_is_kept(
    hooks: None, policies: Policies, captured: Captured, metrics: Metrics, log: Any, ids: PredictionIds
) -> None:
    rig = Rig(policies, captured, metrics, log, ids, load_hook("operators_hooks:blur"))
    rig.capture.see(rig.seen(photograph(1), 0.1, 0.42, 0.48))
    (picture,) = rig.keep()
    content = captured.read("colours", picture.id)
    assert b"who blurred it" not in content
    before, after = (np.asarray(Image.open(BytesIO(file)), float) for file in (photograph(1), content))
    assert after.std() < before.std() * 0.7
    await rig.capture.close()


@pytest.mark.parametrize(
    ("place", "says"),
    [
        ("no_such_package:f", "cannot be imported"),
        ("operators_hooks:none", "cannot be imported"),
        ("operators_hooks:level", "is no function"),
    ],
)
def test_a_hook_that_is_not_there_keeps_the_server_from_starting(place: str, says: str, hooks: None) -> None:
    with pytest.raises(StartupFailed, match=says):
        load_hook(place)
    assert load_hook("") is None


async def test_a_store_that_is_away_is_left_alone_for_a_while_and_counted(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def away(*_: object) -> Any:
        asked.append(1)
        raise StorageFailed("The disk is full.")

    monkeypatch.setattr(LocalStore, "children", away)
    for seed in range(3):
        rig.capture.see(rig.seen(photograph(seed), 0.1, 0.42, 0.48))
    rig.capture.close_window()
    rig.writer._thread.submit(lambda: None).result()
    assert rig.dropped("store") == 3
    assert len(asked) == 1
    monkeypatch.undo()
    assert rig.captured.pictures("colours") == []


@pytest.fixture
async def busy(rig: Rig) -> AsyncIterator[Event]:
    """The thread is busy until this is set."""
    go = Event()
    rig.writer._thread.submit(go.wait)
    yield go
    go.set()


async def test_what_the_thread_does_not_get_to_is_dropped(rig: Rig, busy: Event, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eyasd.serving.capture.writing._MOST_PICTURES", 2)
    for seed in range(5):
        rig.capture.see(rig.seen(photograph(seed), 0.1, 0.42, 0.48))
    rig.capture.close_window()
    assert rig.dropped("busy") == 3
    busy.set()
    assert len(rig.keep()) == 2


async def test_what_is_held_is_written_before_the_end(rig: Rig) -> None:
    rig.capture.see(rig.seen(photograph(1), 0.1, 0.42, 0.48))
    await rig.capture.close()
    assert len(rig.captured.pictures("colours")) == 1


async def test_labels_that_wait_for_the_store_are_bounded(rig: Rig, busy: Event) -> None:
    given = GivenLabels(("red",), datetime.now(UTC), LabelSource.FEEDBACK)
    for number in range(20_000):
        rig.writer.name("colours", f"{number:016x}", given)
    assert len(rig.writer._labels) == 10_000
    rig.writer._labels.clear()
