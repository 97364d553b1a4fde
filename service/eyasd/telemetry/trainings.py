"""How far the trainings at work are: a series each, until they have ended."""

from __future__ import annotations

from collections.abc import Collection

from eyasd.core.jobs import Progress
from eyasd.telemetry.instruments import Gauge, Registry


class Trainings:
    """The instruments of trainings, by job."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._shown = set[str]()
        self._loss = Gauge("eyas_training_loss", "Training loss so far in the epoch.", ["job"], registry=registry)
        self._accuracy = Gauge(
            "eyas_training_accuracy_ratio", "Newest accuracy on the validation split.", ["job"], registry=registry
        )
        self._rate = Gauge("eyas_training_images_per_second", "Pictures a training processes a second.", ["job"], registry=registry)
        self._epoch = Gauge(
            "eyas_training_epoch", "Epoch under way, from 1; 0 while the network is not fine-tuned.", ["job"], registry=registry
        )
        self._progress = Gauge(
            "eyas_training_progress_ratio", "How much of the training is done, as estimated.", ["job"], registry=registry
        )

    def show(self, job: str, progress: Progress) -> None:
        """Shows how far a training is."""
        self._shown.add(job)
        self._rate.labels(job).set(progress.images_per_second)
        self._epoch.labels(job).set(progress.epoch)
        self._progress.labels(job).set(progress.fraction)
        if progress.loss is not None:
            self._loss.labels(job).set(progress.loss)
        if progress.validation is not None:
            self._accuracy.labels(job).set(progress.validation.accuracy)

    def keep(self, at_work: Collection[str]) -> None:
        """Shows no more how far those were that are not at work any more, at whichever trainer."""
        for job in self._shown - set(at_work):
            self._registry.forget(job=job)
            self._shown.discard(job)
