"""telemetry.metrics: our histogram shows what prometheus_client's would."""

from __future__ import annotations

import threading

from prometheus_client import CollectorRegistry, Histogram, generate_latest

from eyasd.telemetry.metrics import LATENCY_BUCKETS, Metrics


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
