"""Every metric of the daemon, in one file but for how far trainings are (`trainings`).

Labels are bounded: a model is a label only if the registry has it, a method only if the service has it, both only so many, see
`names`; a version's series go when it was unloaded long ago, a job's when it has ended. docs/metrics.md says what each tells.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from eyasd.telemetry.instruments import Counter, Gauge, Histogram, Registry
from eyasd.telemetry.trainings import Trainings

# From half a millisecond, a GPU's answer, to 2.5 s, past which every caller we know of has given up.
LATENCY_BUCKETS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
BATCH_BUCKETS: Final = (1, 2, 4, 8, 16, 32, 64)
LOAD_BUCKETS: Final = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
# From a trainer that is free to a queue of a day.
WAIT_BUCKETS: Final = (1, 5, 15, 60, 300, 900, 3600, 14_400, 86_400)


class Metrics:
    """The daemon's instruments, on a registry of their own."""

    def __init__(self) -> None:
        self.registry = Registry()
        self._count_calls(self.registry)
        self._count_traffic(self.registry)
        self._count_feedback(self.registry)
        self._count_captures(self.registry)
        self._count_engines(self.registry)
        self._count_resources(self.registry)
        self._count_jobs(self.registry)
        self.trainings = Trainings(self.registry)

    def _count_calls(self, r: Registry) -> None:
        self.rpcs = Counter("eyas_rpcs_total", "RPCs answered.", ["method", "code"], registry=r)
        self.rpc_seconds = Histogram(
            "eyas_rpc_seconds", "Time from an RPC's arrival to its end.", ["method"], buckets=LATENCY_BUCKETS, registry=r
        )
        self.requests = Counter(
            "eyas_requests_total", "Classify requests answered, by gRPC status code.", ["model", "version", "code"], registry=r
        )
        self.streams = Gauge("eyas_open_streams", "ClassifyStream calls under way.", registry=r)
        self.uploads = Gauge("eyas_open_uploads", "UploadDataset calls under way.", registry=r)
        self.images = Counter(
            "eyas_images_total",
            "Pictures of Classify requests, by outcome: OK, why one is unknown, or an error's reason.",
            ["model", "outcome"],
            registry=r,
        )
        self.stage_seconds = Histogram(
            "eyas_stage_seconds",
            "Time a Classify request spent in a stage: admission, decode, queue, inference, total.",
            ["model", "version", "stage"],
            buckets=LATENCY_BUCKETS,
            registry=r,
        )
        self.refusals = Counter(
            "eyas_refusals_total",
            "Requests refused before any work was done, by reason: room, deadline, rate, calls, messages, late or streams.",
            ["model", "reason"],
            registry=r,
        )
        self.spans_dropped = Counter(
            "eyas_spans_dropped_total",
            "Spans of traces that did not reach their collector, as it was away or too slow.",
            registry=r,
        )
        self.credential_reloads = Counter(
            "eyas_credential_reloads_total",
            "Times that changed credentials were read again: tls, tokens or jwks; failed, those of before hold.",
            ["what", "outcome"],
            registry=r,
        )
        self.audit_failures = Counter(
            "eyas_audit_failures_total",
            "Lines that the file of changes did not take; a change that could not be begun was refused.",
            registry=r,
        )
        self.in_flight = Gauge("eyas_in_flight_requests", "Classify requests let in and not answered yet.", registry=r)

    def _count_traffic(self, r: Registry) -> None:
        self.canary_percent = Gauge(
            "eyas_canary_percent",
            "Share of a model's requests for production that its canary gets; 0 where this server has stopped it.",
            ["model", "version"],
            registry=r,
        )
        self.canary_fallbacks = Counter(
            "eyas_canary_fallbacks_total", "Requests that a canary could not answer, and production did.", ["model"], registry=r
        )
        self.canary_rollbacks = Counter(
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
        self.drift_images = Counter(
            "eyas_drift_images_total",
            "Pictures by what they and their answers are like, in the bins of the version's reference; signals of pixels are of a "
            "random part of the pictures.",
            ["model", "version", "signal", "bin"],
            registry=r,
        )
        self.drift_reference = Gauge(
            "eyas_drift_reference_ratio",
            "Share of a bin in the reference of a loaded version, with half a picture more in each, so that none is 0.",
            ["model", "version", "signal", "bin"],
            registry=r,
        )
        self.drift_reference_images = Gauge(
            "eyas_drift_reference_images",
            "Pictures that the reference of a loaded version was measured on.",
            ["model", "version", "signal"],
            registry=r,
            alike=True,
        )
        self.drift_unknown = Counter(
            "eyas_drift_unknown_total",
            "Pictures that the version's rules call unknown, whether the caller allowed it or not.",
            ["model", "version"],
            registry=r,
        )
        self.drift_unknown_reference = Gauge(
            "eyas_drift_unknown_reference_ratio",
            "Share of the reference's pictures that the rules of a loaded version call unknown.",
            ["model", "version"],
            registry=r,
        )
        self.cache_lookups = Counter(
            "eyas_cache_lookups_total",
            "Pictures looked up in the response cache, by result: hit or miss.",
            ["model", "result"],
            registry=r,
        )
        self.cache_bytes = Gauge("eyas_cache_bytes", "Memory that the response cache takes.", registry=r)
        self.gpu_decodes = Counter(
            "eyas_gpu_decodes_total",
            "JPEGs that were given to a GPU's decoder, by outcome: done, or declined, and then decoded by the processor.",
            ["outcome"],
            registry=r,
        )

        self.decoder_ends = Counter(
            "eyas_decoder_ends_total",
            "Decoders that ended and were started again, by why: crash, killed (by others), slow or forbidden (a system call).",
            ["why"],
            registry=r,
        )

    def _count_feedback(self, r: Registry) -> None:
        of = ["model", "version"]
        self.feedback = Counter(
            "eyas_feedback_total",
            "Reports of what is true, by outcome: right, wrong, repeated, corrected, expired, forged or unknown_label.",
            [*of, "outcome"],
            registry=r,
        )
        self.feedback_labels = Counter(
            "eyas_feedback_labels_total",
            "True labels of judged answers, by whether the answer had them: right, wrong; those after 100 are `other`.",
            [*of, "label", "result"],
            registry=r,
        )
        self.feedback_predictions = Counter(
            "eyas_feedback_predictions_total",
            "Labels that judged answers had, by whether they are true: right, wrong; those after 100 are `other`.",
            [*of, "label", "result"],
            registry=r,
        )
        self.feedback_confusions = Counter(
            "eyas_feedback_confusions_total",
            "Wrong answers by what they said and what is true; pairs beyond the first hundred are `other`.",
            [*of, "predicted", "label"],
            registry=r,
        )
        self.feedback_calibration_images, self.feedback_calibration_right, self.feedback_calibration_confidence = (
            Counter(f"eyas_feedback_calibration_{name}_total", f"{what}, by a tenth of confidence.", [*of, "bin"], registry=r)
            for name, what in (
                ("images", "Judged answers"),
                ("right", "Judged answers whose most probable label is true"),
                ("confidence", "Sum of the confidences of judged answers"),
            )
        )
        self.of_feedback = (
            *(self.feedback, self.feedback_labels, self.feedback_predictions, self.feedback_confusions),
            *(self.feedback_calibration_images, self.feedback_calibration_right, self.feedback_calibration_confidence),
        )
        self.version_accuracy = tuple(
            Gauge(f"eyas_version_accuracy_{name}ratio", f"{what} of a loaded version on its test split.", of, registry=r)
            for name, what in (
                ("", "Accuracy"),
                ("low_", "Lower end of the 95 % interval of the accuracy"),
                ("high_", "Upper end of the 95 % interval of the accuracy"),
            )
        )

    def _count_captures(self, r: Registry) -> None:
        self.captured_images = Counter(
            "eyas_captured_images_total",
            "Pictures that were kept to learn from, by reason: wrong, shadow, drift, low_margin or sample; one may have several.",
            ["model", "reason"],
            registry=r,
        )
        self.capture_dropped = Counter(
            "eyas_capture_dropped_total",
            "Pictures that were worth keeping and were not, by reason: rate, full, duplicate, near_copy, deleted, gone, busy, "
            "redacted, redaction_failed, unreadable or store.",
            ["model", "reason"],
            registry=r,
        )
        self.captured_bytes = Gauge(
            "eyas_captured_bytes", "Bytes of the captured pictures that are kept.", ["model"], registry=r, alike=True
        )

    def _count_engines(self, r: Registry) -> None:
        self.batch_images = Histogram("eyas_batch_images", "Pictures in a batch.", ["model"], buckets=BATCH_BUCKETS, registry=r)
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
        self.engine_info = Gauge(
            "eyas_engine_info",
            "1 for each version that is loaded, by ONNX Runtime's execution provider and the device that it runs on.",
            ["model", "version", "provider", "device"],
            registry=r,
        )
        self.load_failures = Counter(
            "eyas_version_load_failures_total", "Versions that could not be loaded.", ["model"], registry=r, alike=True
        )
        self.out_of_memory = Counter(
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
        self.engine_restarts = Counter(
            "eyas_engine_restarts_total", "Engines that ended by themselves and were started again.", ["model"], registry=r
        )
        self.load_seconds = Histogram(
            "eyas_version_load_seconds",
            "Time to verify, load and warm a version.",
            ["model"],
            buckets=LOAD_BUCKETS,
            registry=r,
            alike=True,
        )
        self.warmup_seconds = Histogram(
            "eyas_version_warmup_seconds",
            "Of the time to load a version, what its engine took to open the network, warm it and prove its answers.",
            ["model"],
            buckets=LOAD_BUCKETS,
            registry=r,
            alike=True,
        )
        self.swap_seconds = Histogram(
            "eyas_version_swap_seconds",
            "Time from an alias's move, as this server saw it, until the version that it moved to answered.",
            ["model"],
            buckets=LOAD_BUCKETS,
            registry=r,
            alike=True,
        )

    def _count_resources(self, r: Registry) -> None:
        self.saturation = Gauge(
            "eyas_saturation_ratio",
            "How full this server is, for an autoscaler: 0 is idle, 1 at capacity, 2 is asked twice what it can do.",
            registry=r,
            mean=True,
            at_once=False,
        )
        self.demand = Gauge(
            "eyas_demand_ratio",
            "What the saturation is the largest of: work that came, by what the resource can do: engine, decoder or loop.",
            ["resource", "model"],
            registry=r,
            mean=True,
        )
        self.demand_seconds = Counter(
            "eyas_demand_seconds_total",
            "Work that came, in seconds of a resource: what was done, and what was refused or came too late.",
            ["resource", "model"],
            registry=r,
        )
        self.capacity_seconds = Counter(
            "eyas_capacity_seconds_total",
            "Seconds in which the resource could work, of all its parts.",
            ["resource", "model"],
            registry=r,
        )
        self.model_cache_files = Counter(
            "eyas_model_cache_files_total",
            "Files of versions looked up in registry.cache_dir: hit, miss or damaged; failed is each time it could not be used.",
            ["result"],
            registry=r,
        )
        self.storage_errors = Counter(
            "eyas_storage_errors_total", "Calls of an object store that failed for good.", ["store", "operation"], registry=r
        )
        self.database_errors = Counter(
            "eyas_database_errors_total", "Calls of the job database that failed.", ["operation"], registry=r
        )
        self.gpu_memory_used = Gauge(
            "eyas_gpu_memory_used_bytes", "Memory of a GPU that is taken, by whomever.", ["gpu"], registry=r
        )
        self.gpu_memory_total = Gauge("eyas_gpu_memory_total_bytes", "Memory of a GPU.", ["gpu"], registry=r)
        self.gpu_utilization = Gauge(
            "eyas_gpu_utilization_ratio", "Part of the last moments in which a GPU ran anything.", ["gpu"], registry=r
        )
        self.disk_free = Gauge(
            "eyas_disk_free_bytes",
            "Room that is left on the disk of a folder: data, models, datasets, cache or fetched.",
            ["volume"],
            registry=r,
        )
        self.disk_size = Gauge("eyas_disk_size_bytes", "Size of the disk of a folder.", ["volume"], registry=r)
        self.build_info = Gauge("eyas_build_info", "1, by version and role of the daemon.", ["version", "role"], registry=r)

    def _count_jobs(self, r: Registry) -> None:
        self.jobs = Counter("eyas_jobs_total", "Jobs that reached a state.", ["type", "state"], registry=r)
        self.queued_jobs = Gauge("eyas_queued_jobs", "Jobs that wait for their turn, at any trainer.", registry=r)
        self.oldest_queued = Gauge(
            "eyas_oldest_queued_job_seconds", "How long the oldest of the jobs that wait has waited, at any trainer.", registry=r
        )
        self.queue_seconds = Histogram(
            "eyas_job_queue_seconds", "Time from a job's submission to its first start.", buckets=WAIT_BUCKETS, registry=r
        )
        self.running_jobs = Gauge("eyas_running_jobs", "Jobs that this trainer has at work.", registry=r)
        self.stalled_jobs = Gauge("eyas_stalled_jobs", "Jobs of this trainer whose training program hangs.", registry=r)
        self.failed_attempts = Counter(
            "eyas_failed_attempts_total", "Attempts that ended without a result, by whose fault that was.", ["fault"], registry=r
        )
        self.tracker_behind = Gauge(
            "eyas_tracker_behind_events",
            "Events of jobs that a tracker was not told of yet; of the trainer that tells it.",
            ["tracker"],
            registry=r,
        )
        self.tracker_errors = Counter(
            "eyas_tracker_errors_total", "What a tracker was told in vain, to be told again or refused.", ["tracker"], registry=r
        )

    def on_storage_failure(self, store: str) -> Callable[[str], None]:
        """Returns what counts a failure of a store, given the operation."""
        return lambda operation: self.storage_errors.labels(store, operation).inc()

    def forget_version(self, model: str, version: int) -> None:
        """Shows no more what a version did that was unloaded long ago, nor its model if that was the last one."""
        self.registry.forget(model=model, version=str(version))
        if self.registry.names.forget(model, str(version)):
            self.registry.forget(model=model)
