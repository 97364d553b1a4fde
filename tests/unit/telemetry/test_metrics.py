"""telemetry.metrics and its instruments: our histogram shows what prometheus_client's would; traces; bounds of labels."""

from __future__ import annotations

import math
import threading
from bisect import bisect_left
from collections import Counter
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.openmetrics import exposition as openmetrics
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from eyasd.core.jobs import Progress
from eyasd.telemetry.distribution import PER_OCTAVE, Grid
from eyasd.telemetry.metrics import LATENCY_BUCKETS, Metrics
from eyasd.telemetry.names import MOST_CLASSES, MOST_MODELS, MOST_VERSIONS


def test_the_newest_trace_of_each_bucket_is_shown_where_exemplars_are() -> None:
    metrics = Metrics()
    series = metrics.stage_seconds.labels("colours", "1", "total")
    for seconds, trace in ((0.2, "first"), (0.11, "second"), (0.12, ""), (60.0, "slow")):
        series.observe(seconds, trace)
    page = openmetrics.generate_latest(metrics.registry).decode()
    shown = {
        family.name: {sample.labels["le"]: sample.exemplar for sample in family.samples if sample.exemplar}
        for family in text_string_to_metric_families(page)
    }["eyas_stage_seconds"]
    assert {bound: (found.labels, found.value) for bound, found in shown.items()} == {
        "0.25": ({"trace_id": "second"}, 0.11),
        "+Inf": ({"trace_id": "slow"}, 60.0),
    }
    assert "trace_id" not in generate_latest(metrics.registry).decode()


@given(st.lists(st.floats(0, 1e6), max_size=30))
def test_a_grid_tells_both_forms_of_buckets_from_one_count(values: list[float]) -> None:
    grid = Grid(LATENCY_BUCKETS)
    cells = sorted(Counter(bisect_left(grid.fences, value) for value in values).items())
    assert grid.classic(cells) == [
        sum(below < value <= bound for value in values) for below, bound in pairwise((-math.inf, *LATENCY_BUCKETS, math.inf))
    ]
    native = grid.native(cells)
    highest = grid.lowest + len(grid.fences)
    expected = Counter(
        min(max(math.ceil(math.log2(value) * PER_OCTAVE - 1e-9), grid.lowest), highest) if value else grid.lowest
        for value in values
    )
    assert sum(native.values()) == len(values)
    most = max(native, default=0)
    assert {n: c for n, c in native.items() if n < most} == {n: c for n, c in sorted(expected.items()) if n < most}


def test_models_versions_and_classes_are_bounded_and_what_is_beyond_is_other() -> None:
    metrics = Metrics()
    for number in range(2 * MOST_MODELS):
        metrics.requests.labels(f"model{number}", "1", "OK").inc()
    for number in range(2 * MOST_VERSIONS):
        metrics.requests.labels("model0", str(number), "OK").inc()
    for number in range(2 * MOST_CLASSES):
        metrics.shadow_flips.labels("model0", "1", f"class{number}", "cat").inc()
    value = metrics.registry.get_sample_value
    assert value("eyas_requests_total", {"model": "other", "version": "other", "code": "OK"}) == MOST_MODELS
    assert value("eyas_requests_total", {"model": "model0", "version": "other", "code": "OK"}) == 2 * MOST_VERSIONS - 200 - 1
    flip = {"model": "model0", "version": "1", "production_label": "other", "shadow_label": "cat"}
    assert value("eyas_shadow_flips_total", flip) == MOST_CLASSES
    for version in {version for model, version in metrics.registry.names.versions if model == "model0"}:
        metrics.forget_version("model0", int(version))
    assert not any("model0" in sample.labels.values() for family in metrics.registry.collect() for sample in family.samples)
    assert metrics.requests.labels("new", "1", "OK") is not metrics.requests.labels("other", "other", "OK")


def test_a_job_that_has_ended_leaves_no_series() -> None:
    metrics = Metrics()
    progress = Progress(stage="fine-tune", epoch=2, epochs=4, fraction=0.4, images_per_second=90.0, loss=0.3)
    for job in ("j1", "j2"):
        metrics.trainings.show(job, progress)
    metrics.trainings.keep({"j2", "j3"})
    value = metrics.registry.get_sample_value
    assert (value("eyas_training_epoch", {"job": "j2"}), value("eyas_training_progress_ratio", {"job": "j2"})) == (2, 0.4)
    assert not any(sample.labels.get("job") == "j1" for family in metrics.registry.collect() for sample in family.samples)


def lines(registry: CollectorRegistry) -> list[str]:
    return [
        line for line in generate_latest(registry).decode().splitlines() if "eyas_stage_seconds" in line and "_created" not in line
    ]


def test_a_histogram_shows_what_prometheus_clients_does() -> None:
    ours, theirs = Metrics(), CollectorRegistry()
    text = "Time a Classify request spent in a stage: admission, decode, queue, inference, total."
    other = Histogram("eyas_stage_seconds", text, ["model", "version", "stage"], buckets=LATENCY_BUCKETS, registry=theirs)
    for number, seconds in enumerate((-1.0, 0.0, 0.0005, 0.00051, 0.3, 2.5, 2.6, 1e9)):
        for histogram in (ours.stage_seconds, other):
            histogram.labels("colours", "1", "decode").observe(seconds)
            histogram.labels("colours", "1", f"stage{number % 2}").observe(seconds)
        assert lines(ours.registry) == lines(theirs)


def test_whoever_observes_is_counted() -> None:
    metrics = Metrics()
    series = metrics.stage_seconds.labels("colours", "1", "total")
    threads = [threading.Thread(target=lambda: [series.observe(1.0) for _ in range(2000)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    labels = {"model": "colours", "version": "1", "stage": "total"}
    assert metrics.registry.get_sample_value("eyas_stage_seconds_count", labels) == 8000
    assert metrics.registry.get_sample_value("eyas_stage_seconds_sum", labels) == 8000
    assert metrics.registry.get_sample_value("eyas_stage_seconds_bucket", {**labels, "le": "0.5"}) == 0
