"""serving.feedback: what becomes of each report, and that the counters give what scikit-learn computes of the same answers."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import structlog
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import accuracy_score, confusion_matrix, precision_score, recall_score

from builders import write_bundle
from eyasd.core.device import Transport
from eyasd.core.errors import StorageFailed
from eyasd.registry.models import Models
from eyasd.serving.answer import Prediction
from eyasd.serving.catalog import FleetOptions
from eyasd.serving.engine.loading import EngineOptions
from eyasd.serving.feedback import counting
from eyasd.serving.feedback.feedback import Feedback
from eyasd.serving.feedback.ids import PredictionIds
from eyasd.serving.feedback.judged import Judged
from eyasd.serving.feedback.memory import Known, Note, OwnMemory
from eyasd.serving.feedback.reports import Outcome, Report
from eyasd.serving.fleet import Fleet
from eyasd.serving.network.providers import CPU
from eyasd.storage.local import LocalStore
from eyasd.telemetry.metrics import Metrics

LABELS = ("bag", "coat", "dress", "hat", "shirt")
ENGINE = EngineOptions(
    provider=CPU, precision="fp32", threads=1, max_batch_size=4, max_delay_seconds=0, slots=16, transport=Transport.THREAD
)
OPTIONS = FleetOptions(engine=ENGINE, poll_interval_seconds=1, retry_interval_seconds=60, memory_bytes=10**9)
DAY = 86_400


class Clock:
    """Shows the time that a test has set, seconds since 1970."""

    def __init__(self) -> None:
        self.time = 1_800_000_000.0

    def __call__(self) -> float:
        return self.time


class Ear:
    """Hears of judged answers."""

    def __init__(self) -> None:
        self.heard: list[Judged] = []

    def judged(self, judged: Judged) -> None:
        self.heard.append(judged)


class Server:
    """One server: its counters, and what takes reports; it shares its key and its repository with all others."""

    def __init__(self, models: Models, log: structlog.typing.FilteringBoundLogger, clock: Clock) -> None:
        self.metrics, self.ear, self.clock = Metrics(), Ear(), clock
        self.ids = PredictionIds(["the key of the tests"], clock)
        fleet = Fleet(models, OPTIONS, self.metrics, log)
        self.feedback = Feedback(self.ids, fleet, models, OwnMemory(), self.metrics, keep_days=30, listeners=[self.ear], now=clock)

    def answer(self, probabilities: NDArray[np.float32], thresholds: tuple[float, ...] | None = None, version: int = 1) -> str:
        best = int(probabilities.argmax())
        first = Prediction(LABELS[best], best, float(probabilities[best]), True)
        return self.ids.mint("clothes", version, first, probabilities, thresholds, routed=True, canary=False)

    async def outcome(self, prediction_id: str, *labels: str | int) -> tuple[Outcome, str]:
        (receipt,) = await self.feedback.report([Report(prediction_id, labels)])
        return receipt.outcome, receipt.message

    def counted(self, name: str, **labels: str) -> float:
        """Returns what PromQL's sum(eyas_feedback_NAME{...}) would."""
        return sum(
            sample.value
            for family in self.metrics.registry.collect()
            for sample in family.samples
            if sample.name == f"eyas_feedback_{name}" and labels.items() <= sample.labels.items()
        )


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def registry(models: Models, tmp_path: Path) -> Models:
    models.publish("clothes", write_bundle(tmp_path / "b1", labels=LABELS), "job1")
    models.publish("clothes", write_bundle(tmp_path / "b2", job="job2", labels=LABELS, thresholds=(0.5,) * 5), "job2")
    return models


@pytest.fixture
def server(registry: Models, log: structlog.typing.FilteringBoundLogger, clock: Clock) -> Server:
    return Server(registry, log, clock)


COAT = np.array([0.1, 0.6, 0.1, 0.1, 0.1], np.float32)


async def test_each_report_has_its_own_outcome(server: Server, clock: Clock) -> None:
    old = server.answer(COAT)
    clock.time += 30 * DAY + 301
    right, wrong = server.answer(COAT), server.answer(COAT)
    told = [
        ("", "coat"), (right, "coat"), (wrong, 3), (wrong, "hat"),
        (wrong, "bag"), (wrong, "bag"), (old, "coat"), (right[:-1], "coat"),
    ]  # fmt: skip
    receipts = await server.feedback.report([Report(prediction_id, (label,)) for prediction_id, label in told])
    assert [receipt.outcome for receipt in receipts] == [
        "forged", "right", "wrong", "repeated", "corrected", "repeated", "expired", "forged"
    ]  # fmt: skip
    assert (receipts[2].model, receipts[2].version, receipts[2].said, receipts[2].message) == ("clothes", 1, ("coat",), "")
    assert receipts[6].message == (
        "The answer was given at 2027-01-15 08:00 UTC, and reports are taken for 30 days (serving.feedback_days)."
    )
    heard = [(judged.labels, judged.right, judged.correction) for judged in server.ear.heard]
    assert heard == [(("coat",), True, False), (("hat",), False, False), (("bag",), False, True)]
    assert server.ear.heard[0].prediction_id == right
    of = {"model": "clothes", "version": "1"}
    outcomes = {one: server.counted("total", outcome=one, **of) for one in ("right", "wrong", "repeated", "corrected")}
    assert outcomes == {"right": 1, "wrong": 1, "repeated": 2, "corrected": 1}
    assert server.counted("total", model="other", version="other", outcome="forged") == 2
    assert server.counted("labels_total") == 2  # a correction moves nothing


async def test_clocks_may_differ_by_some_minutes(server: Server, clock: Clock) -> None:
    clock.time += 301
    ahead = server.answer(COAT)
    clock.time -= 299
    assert (await server.outcome(server.answer(COAT), "coat"))[0] == "right"
    assert (await server.outcome(ahead, "coat"))[0] == "right"
    clock.time -= 2
    assert "still to come" in (await server.outcome(ahead, "coat"))[1]


@pytest.mark.parametrize(
    ("labels", "says"),
    [
        (("coats",), "'coats' is no label of clothes/1; they are bag, coat, dress, hat, shirt."),
        ((5,), "5 is no class index of clothes/1, which has 5 labels, from 0: bag, coat, dress, hat, shirt."),
        ((-1,), "-1 is no class index"),
        ((), "0 labels were reported, and a picture has exactly one for clothes/1: report that."),
        (("coat", "hat"), "2 labels were reported"),
        (("coat",) * 6, "6 labels were reported, and clothes/1 knows 5: report each once."),
    ],
)
async def test_a_label_that_is_none_can_be_reported_again(server: Server, labels: tuple[str | int, ...], says: str) -> None:
    prediction_id = server.answer(COAT)
    outcome, message = await server.outcome(prediction_id, *labels)
    assert (outcome, message[: len(says)]) == ("unknown_label", says)
    assert server.counted("labels_total") == 0
    assert (await server.outcome(prediction_id, "coat", 1))[0] == "right"  # the same label twice is one


async def test_what_a_deleted_version_said_has_expired(server: Server) -> None:
    outcome, message = await server.outcome(server.answer(COAT, version=3), "coat")
    assert (outcome, message) == ("expired", "clothes/3 gave the answer, and it has been deleted since.")


async def test_where_the_labels_cannot_be_read_nothing_is_counted(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    good, unread = server.answer(COAT), server.answer(COAT, version=2)
    assert (await server.outcome(good, "coat"))[0] == "right"

    def gone(*_: object) -> bytes:
        raise StorageFailed("No route to the bucket")

    monkeypatch.setattr(LocalStore, "read", gone)
    monkeypatch.setattr(LocalStore, "exists", gone)
    another = server.answer(COAT)
    with pytest.raises(StorageFailed):
        await server.feedback.report([Report(another, ("coat",)), Report(unread, ("coat",))])
    monkeypatch.undo()
    assert (await server.outcome(another, "coat"))[0] == "right"


async def test_what_was_noted_is_counted_although_the_caller_left(server: Server) -> None:
    answered, ask = asyncio.Event(), OwnMemory()

    class Slow:
        async def note(self, notes: Sequence[Note]) -> list[Known]:
            await answered.wait()
            return ask.take(notes)

    server.feedback.remember_in(Slow())
    prediction_id = server.answer(COAT)
    asking = asyncio.create_task(server.outcome(prediction_id, "coat"))
    while not server.feedback._under_way:
        await asyncio.sleep(0)
    asking.cancel()
    answered.set()
    assert (await server.outcome(prediction_id, "coat"))[0] == "repeated"
    assert asking.cancelled()
    assert server.counted("total", outcome="right") == 1


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    prediction_id=st.text() | st.binary().map(lambda content: content.decode("latin-1")), labels=st.lists(st.text() | st.integers())
)
async def test_whatever_is_reported_has_an_outcome(server: Server, prediction_id: str, labels: list[str | int]) -> None:
    assert await server.outcome(prediction_id, *labels) is not None
    outcome, _ = await server.outcome(server.answer(COAT), *labels)
    known = [label for label in labels if label in LABELS or label in range(5)]
    assert (outcome == "unknown_label") is not (len(labels) == len(known) and len({label_index(label) for label in known}) == 1)


def label_index(label: str | int) -> int:
    return LABELS.index(label) if isinstance(label, str) else label


async def test_the_counters_of_several_servers_give_what_scikit_learn_computes(
    registry: Models, log: structlog.typing.FilteringBoundLogger, clock: Clock
) -> None:
    draw = np.random.default_rng(0)
    rows = draw.dirichlet([0.5] * 5, 600).astype(np.float32)
    # As a model that is too sure of itself: more answers are wrong than it expects.
    truths = np.where(draw.random(600) < rows.max(1) ** 2, rows.argmax(1), draw.integers(0, 5, 600))
    servers = [Server(registry, log, clock) for _ in range(3)]  # two, and the second once more after a restart
    for number, (row, truth) in enumerate(zip(rows, truths, strict=True)):
        answered, asked = servers[number % 3], servers[(number + 1) % 3]
        prediction_id = answered.answer(row)
        await asked.outcome(prediction_id, LABELS[truth])
        if number % 10 == 0:
            await asked.outcome(prediction_id, LABELS[truth])

    def total(name: str, **labels: str) -> float:
        return sum(server.counted(name, **labels) for server in servers)

    def share(name: str, **labels: str) -> float:
        right, wrong = (total(name, result=result, **labels) for result in ("right", "wrong"))
        return right / (right + wrong)

    right, wrong = (total("total", outcome=outcome) for outcome in ("right", "wrong"))
    said = rows.argmax(1)
    assert right + wrong == 600
    assert right / (right + wrong) == pytest.approx(accuracy_score(truths, said))
    assert [share("labels_total", label=label) for label in LABELS] == pytest.approx(recall_score(truths, said, average=None))
    precisions = [share("predictions_total", label=label) for label in LABELS]
    assert precisions == pytest.approx(precision_score(truths, said, average=None))
    confusions = [[total("confusions_total", label=true, predicted=predicted) for predicted in LABELS] for true in LABELS]
    expected = confusion_matrix(truths, said)
    np.fill_diagonal(expected, 0)
    assert np.array_equal(confusions, expected)
    confidence, hits = rows.max(1), truths == said
    bins = np.minimum((confidence * 10).astype(int), 9)
    error = sum(abs(hits[bins == one].sum() - confidence[bins == one].sum()) for one in range(10)) / 600
    gaps = [
        total("calibration_right_total", bin=f"0.{one}") - total("calibration_confidence_total", bin=f"0.{one}")
        for one in range(10)
    ]
    assert sum(map(abs, gaps)) / total("calibration_images_total") == pytest.approx(error, rel=1e-5)
    assert error > 0.05


async def test_those_of_a_multi_label_version_do_too(server: Server) -> None:
    draw = np.random.default_rng(1)
    rows = draw.random((300, 5)).astype(np.float32)
    said = rows >= 0.5
    truths = said ^ (draw.random((300, 5)) < 0.1)
    for row, truth in zip(rows, truths, strict=True):
        prediction_id = server.answer(row, (0.5,) * 5, version=2)
        outcome, _ = await server.outcome(prediction_id, *(LABELS[index] for index in np.flatnonzero(truth)))
        assert outcome == ("right" if np.array_equal(row >= 0.5, truth) else "wrong")
    accuracy = server.counted("total", outcome="right") / 300
    assert accuracy == pytest.approx(accuracy_score(truths, said))  # of the whole set, as in an evaluation
    for name, score in (("labels_total", recall_score), ("predictions_total", precision_score)):
        rights, wrongs = (
            np.array([server.counted(name, label=label, result=result) for label in LABELS]) for result in ("right", "wrong")
        )
        assert rights / (rights + wrongs) == pytest.approx(score(truths, said, average=None))
    assert server.counted("confusions_total") == 0
    best = rows.argmax(1)
    assert server.counted("calibration_right_total") == truths[np.arange(300), best].sum()


async def test_series_are_bounded(server: Server, registry: Models, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counting, "_MOST_VERSIONS", 2)
    monkeypatch.setattr(counting, "MOST_PAIRS", 2)
    monkeypatch.setattr(counting, "MOST_CLASSES", 3)
    registry.publish("clothes", write_bundle(tmp_path / "b3", job="job3", labels=LABELS), "job3")
    for truth in ("bag", "dress", "hat", "shirt"):
        await server.outcome(server.answer(COAT), truth)
    assert server.counted("labels_total", label="other") == 2
    pairs = {("coat", "bag"): 1, ("coat", "dress"): 1, ("other", "other"): 2}
    assert {pair: server.counted("confusions_total", predicted=pair[0], label=pair[1]) for pair in pairs} == pairs
    for version in (2, 3):
        await server.outcome(server.answer(COAT, (0.5,) * 5 if version == 2 else None, version), "coat")
    assert server.counted("total", version="1") == server.counted("confusions_total") == 0
    assert server.counted("total") == server.counted("calibration_images_total") == 2
