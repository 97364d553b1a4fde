"""trackers.story: events become figures by step, each once, whichever pages they come in."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from builders import comparison, evaluation
from eyasd.core.evaluation import Figure
from eyasd.core.jobs import Job, JobEvent, JobState, JobType, Progress
from eyasd.core.names import ModelRef
from eyasd.core.spec import Preset, TrainSpec
from eyasd.core.tracks import Track
from eyasd.core.variants import Precision
from eyasd.trackers.story import Metric, asked, chapter
from sagas import START, Saga, step, validation


def events(*progress: Progress) -> list[JobEvent]:
    return [JobEvent(number, START + timedelta(seconds=number), progress=one) for number, one in enumerate(progress, 1)]


def test_a_step_is_told_with_its_figures_and_its_time() -> None:
    told = chapter(Track(job="1"), events(Progress(stage="audit"), step(4, loss=None)))
    time = START + timedelta(seconds=2)
    assert told.metrics == (
        Metric("train/learning_rate", 0.0025, 4, time),
        Metric("train/images_per_second", 80.0, 4, time),
        Metric("train/epoch", 1, 4, time),
    )
    assert told.after == Track(job="1", sequence=2, step=4)
    assert told.job is None


def test_figures_that_are_repeated_are_no_news() -> None:
    head, better = validation(0, 0.5), validation(1, 0.75)
    said = events(
        Progress(stage="head", validation=head),
        step(1, validation=head),
        step(1, validation=head, images_per_second=70.0),
        step(2, validation=better),
        Progress(stage="export", validation=better),
    )
    told = chapter(Track(job="1"), said)
    assert [(one.step, one.value) for one in told.metrics if one.name == "validation/accuracy"] == [(0, 0.5), (2, 0.75)]
    assert [one.step for one in told.metrics if one.name == "train/loss"] == [1, 2]
    assert {one.name.partition("/")[2] for one in told.metrics if one.name.startswith("validation/")} == {
        *("epoch", "train_loss", "loss", "accuracy", "macro_precision", "macro_recall", "macro_f1"),
    }


@pytest.mark.parametrize("size", [1, 2, 3, 5])
def test_pages_of_any_size_tell_the_same(saga: Saga, size: int) -> None:
    saga.tell("1", steps=5)
    said = saga.store.events("1", 1)
    whole = chapter(Track(job="1"), said)
    track, metrics = Track(job="1"), []
    for first in range(0, len(said), size):
        page = chapter(track, said[first : first + size])
        metrics += page.metrics
        track = page.after
    assert tuple(metrics) == whole.metrics
    assert track == whole.after
    assert track.done


def test_an_attempt_that_goes_on_from_a_checkpoint_goes_back_to_its_step() -> None:
    told = chapter(Track(job="1"), events(step(7), step(8), step(5), step(6)))
    assert [one.step for one in told.metrics if one.name == "train/loss"] == [7, 8, 5, 6]
    assert told.after.step == 6


def ended(job: Job) -> list[Metric]:
    return list(chapter(Track(job="1", step=9), [JobEvent(3, START, job=job)]).metrics)


def test_a_training_ends_with_its_figures_and_their_intervals() -> None:
    job = Job(id="1", type=JobType.TRAINING, state=JobState.SUCCEEDED, create_time=START, model="m", dataset="/d")
    figures = (Figure("accuracy", 0.9, 0.8, 0.95), Figure("macro_f1", 0.7, 0.6, 0.8))
    found = ended(replace(job, evaluation=replace(evaluation(), figures=figures)))
    assert {(one.name, one.value) for one in found} == {
        ("test/accuracy", 0.9),
        ("test_low/accuracy", 0.8),
        ("test_high/accuracy", 0.95),
        ("test/macro_f1", 0.7),
        ("test_low/macro_f1", 0.6),
        ("test_high/macro_f1", 0.8),
        ("test/examples", 30),
    }
    assert {one.step for one in found} == {9}
    assert ended(replace(job, state=JobState.FAILED)) == []


def test_an_evaluation_ends_with_what_each_version_scored() -> None:
    job = Job(id="1", type=JobType.EVALUATION, state=JobState.SUCCEEDED, create_time=START, model="m", dataset="/d")
    found = {
        one.name: one.value
        for one in ended(replace(job, evaluation=evaluation(), comparisons=(comparison(ModelRef("m", version=2)),)))
    }
    assert found["evaluation/accuracy"] == 0.9
    assert found["evaluation_low/accuracy"] == 0.74
    assert found["versus/m/2/accuracy"] == 0.9
    assert found["versus_difference/m/2/accuracy"] == pytest.approx(-0.1)
    assert (found["versus_difference_low/m/2/accuracy"], found["versus_difference_high/m/2/accuracy"]) == (-0.2, 0.05)


def test_what_was_asked_for_is_in_numbers_and_words() -> None:
    spec = TrainSpec(preset=Preset.BEST, learning_rate=0.01, budget=timedelta(minutes=2), variants=(Precision.FP16, Precision.INT8))
    job = Job(id="1", type=JobType.TRAINING, create_time=START, model="m", dataset="/d", spec=spec)
    assert asked(job) == {"preset": "best", "learning_rate": 0.01, "budget": "120 s", "variants": "fp16, int8"}
