"""Every metric of the daemon, in one file.

Labels are bounded: a model or version is a label only once it has been loaded from the registry, a method only if the service
has it, and a job's series are dropped when `RETAINED_JOBS` newer jobs have reported.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Iterable
from threading import Lock
from typing import Any, Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.samples import Sample

from eyasd.core.jobs import Progress

# From half a millisecond, a GPU's answer, to 2.5 s, past which every caller we know of has given up.
LATENCY_BUCKETS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
BATCH_BUCKETS: Final = (1, 2, 4, 8, 16, 32, 64)
RETAINED_JOBS: Final = 20
OTHER: Final = "other"


class _Found:
    """Remembers the series that were asked for, which prometheus_client takes 2 us to find, and a request needs ten; none goes."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self._found: dict[tuple[str, ...], Any] = {}
        super().__init__(*arguments, **options)

    def labels(self, *values: Any, **_: Any) -> Any:
        """Returns the series of these values, each a string."""
        series = self._found.get(values)
        if series is None:
            series = self._found[values] = super().labels(*values)  # type: ignore[misc] # of the metric beside it
        return series


class _Counter(_Found, Counter):
    """A counter on the way of every request."""


class _Histogram(_Found, Histogram):
    """A histogram on the way of every request: as prometheus_client's, which locks twice and compares with bound after bound."""

    def observe(self, amount: float, exemplar: object = None) -> None:  # noqa: ARG002 - the parent's, of no use here
        """Counts a value."""
        with self._counting:
            self._counts[bisect_left(self._upper_bounds, amount)] += 1
            self._total += amount

    def _metric_init(self) -> None:
        super()._metric_init()
        self._counting = Lock()
        self._counts = [0] * len(self._upper_bounds)
        self._total = 0.0

    def _child_samples(self) -> Iterable[Sample]:
        with self._counting:
            self._sum.set(self._total)
            for bucket, count in zip(self._buckets, self._counts, strict=True):
                bucket.set(count)
        return super()._child_samples()


class Metrics:
    """The daemon's instruments, on a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        r = self.registry
        self.rpcs = _Counter("eyas_rpcs_total", "RPCs answered.", ["method", "code"], registry=r)
        self.rpc_seconds = _Histogram(
            "eyas_rpc_seconds", "Time from an RPC's arrival to its end.", ["method"], buckets=LATENCY_BUCKETS, registry=r
        )
        self.requests = _Counter(
            "eyas_requests_total", "Classify requests answered, by gRPC status code.", ["model", "version", "code"], registry=r
        )
        self.streams = Gauge("eyas_open_streams", "ClassifyStream calls under way.", registry=r)
        self.uploads = Gauge("eyas_open_uploads", "UploadDataset calls under way.", registry=r)
        self.images = _Counter(
            "eyas_images_total",
            "Pictures of Classify requests, by outcome: OK, why one is unknown, or an error's reason.",
            ["model", "outcome"],
            registry=r,
        )
        self.stage_seconds = _Histogram(
            "eyas_stage_seconds",
            "Time a Classify request spent in a stage: decode, queue, inference, total.",
            ["model", "stage"],
            buckets=LATENCY_BUCKETS,
            registry=r,
        )
        self.canary_percent = Gauge(
            "eyas_canary_percent",
            "Share of a model's requests for production that its canary gets; 0 where this server has stopped it.",
            ["model", "version"],
            registry=r,
        )
        self.canary_fallbacks = _Counter(
            "eyas_canary_fallbacks_total", "Requests that a canary could not answer, and production did.", ["model"], registry=r
        )
        self.canary_rollbacks = _Counter(
            "eyas_canary_rollbacks_total",
            "Canaries that this server rolled back, by cause: errors, latency or accuracy.",
            ["model", "cause"],
            registry=r,
        )
        self.shadow_images = Counter(
            "eyas_shadow_images_total",
            "Pictures that a shadow saw, by whether its most probable label was production's: same or different.",
            ["model", "version", "label"],
            registry=r,
        )
        self.shadow_distance = Histogram(
            "eyas_shadow_distance",
            "Total variation distance of a shadow's probabilities from production's, 0 to 1; more in multi-label models.",
            ["model", "version"],
            buckets=(0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0),
            registry=r,
        )
        self.shadow_flips = Counter(
            "eyas_shadow_flips_total",
            "Pictures whose most probable label is another one by a shadow; pairs beyond the first hundred are `other`.",
            ["model", "version", "production_label", "shadow_label"],
            registry=r,
        )
        self.shadow_dropped = Counter(
            "eyas_shadow_dropped_total",
            "Pictures that a shadow was not shown, by reason: busy, unfinished, not_loaded, other_size or failed.",
            ["model", "reason"],
            registry=r,
        )
        self.cache_lookups = _Counter(
            "eyas_cache_lookups_total",
            "Pictures looked up in the response cache, by result: hit or miss.",
            ["model", "result"],
            registry=r,
        )
        self.cache_bytes = Gauge("eyas_cache_bytes", "Memory that the response cache takes.", registry=r)
        self.gpu_decodes = _Counter(
            "eyas_gpu_decodes_total",
            "JPEGs that were given to a GPU's decoder, by outcome: done, or declined, and then decoded by the processor.",
            ["outcome"],
            registry=r,
        )
        self.batch_images = _Histogram("eyas_batch_images", "Pictures in a batch.", ["model"], buckets=BATCH_BUCKETS, registry=r)
        self.queue_images = Gauge("eyas_queue_images", "Pictures that the engines have.", ["model", "version"], registry=r)
        self.loaded_versions = Gauge(
            "eyas_loaded_version_info", "1 for each version that is loaded.", ["model", "version"], registry=r
        )
        self.precisions = Gauge(
            "eyas_loaded_version_precision_info",
            "1 for each version that is loaded, by the precision it answers in: fp32, fp16 or int8.",
            ["model", "version", "precision"],
            registry=r,
        )
        self.variant_speed = Gauge(
            "eyas_variant_speed_ratio",
            "Pictures a second of a version's variant as a multiple of model.onnx's, measured when it was loaded.",
            ["model", "version"],
            registry=r,
        )
        self.load_failures = _Counter(
            "eyas_version_load_failures_total", "Versions that could not be loaded.", ["model"], registry=r
        )
        self.out_of_memory = _Counter(
            "eyas_batches_out_of_memory_total",
            "Batches that did not fit the device's memory, after which smaller ones are cut.",
            ["model"],
            registry=r,
        )
        self.batch_limit = Gauge(
            "eyas_batch_limit_images",
            "Most pictures of a batch now; less than serving.max_batch_size where memory was short.",
            ["model"],
            registry=r,
        )
        self.engine_restarts = _Counter(
            "eyas_engine_restarts_total", "Engines that ended by themselves and were started again.", ["model"], registry=r
        )
        self.load_seconds = _Histogram(
            "eyas_version_load_seconds",
            "Time to verify, load and warm a version.",
            ["model"],
            buckets=(0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
            registry=r,
        )
        self.jobs = _Counter("eyas_jobs_total", "Jobs that reached a state.", ["type", "state"], registry=r)
        self.queued_jobs = Gauge("eyas_queued_jobs", "Jobs that wait for their turn, at any trainer.", registry=r)
        self.stalled_jobs = Gauge("eyas_stalled_jobs", "Jobs of this trainer whose training program hangs.", registry=r)
        self.failed_attempts = _Counter(
            "eyas_failed_attempts_total", "Attempts that ended without a result, by whose fault that was.", ["fault"], registry=r
        )
        self.training_loss = Gauge("eyas_training_loss", "Training loss so far in the epoch.", ["job"], registry=r)
        self.training_accuracy = Gauge(
            "eyas_training_accuracy_ratio", "Newest accuracy on the validation split.", ["job"], registry=r
        )
        self.training_rate = Gauge(
            "eyas_training_images_per_second", "Pictures a training processes a second.", ["job"], registry=r
        )
        self._jobs: OrderedDict[str, None] = OrderedDict()

    def observe_progress(self, job: str, progress: Progress) -> None:
        """Shows how far a training is."""
        self._jobs[job] = None
        self._jobs.move_to_end(job)
        self.training_rate.labels(job).set(progress.images_per_second)
        if progress.loss is not None:
            self.training_loss.labels(job).set(progress.loss)
        if progress.validation is not None:
            self.training_accuracy.labels(job).set(progress.validation.accuracy)
        while len(self._jobs) > RETAINED_JOBS:
            oldest, _ = self._jobs.popitem(last=False)
            for gauge in (self.training_loss, self.training_accuracy, self.training_rate):
                gauge.remove(oldest)
