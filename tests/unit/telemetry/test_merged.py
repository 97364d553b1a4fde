"""telemetry.merged: several processes, one page of metrics."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from eyasd.telemetry.merged import Departed, Family, Merged, counted, dump, families, load, merge
from eyasd.telemetry.metrics import Metrics


def process(images: int, loaded: bool = True) -> list[Family]:
    """Returns what a process says that has answered so many pictures, by way of JSON."""
    metrics = Metrics()
    metrics.images.labels("colours", "OK").inc(images)
    metrics.batch_images.labels("colours").observe(images)
    metrics.load_seconds.labels("colours").observe(0.3)
    metrics.queue_images.labels("colours", "1").set(images)
    if loaded:
        metrics.loaded_versions.labels("colours", "1").set(1)
    return load(dump(families(metrics.registry)))


def shown(found: list[Family]) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(Merged(lambda: found))
    return registry


def test_counts_are_added_and_what_all_see_alike_is_not() -> None:
    registry = shown(merge([process(2), process(5), process(0, loaded=False)]))
    value = registry.get_sample_value
    assert value("eyas_images_total", {"model": "colours", "outcome": "OK"}) == 7
    assert value("eyas_batch_images_bucket", {"model": "colours", "le": "2.0"}) == 2
    assert value("eyas_batch_images_sum", {"model": "colours"}) == 7
    assert value("eyas_queue_images", {"model": "colours", "version": "1"}) == 7
    assert value("eyas_loaded_version_info", {"model": "colours", "version": "1"}) == 1
    assert value("eyas_version_load_seconds_count", {"model": "colours"}) == 1


def test_of_a_process_that_has_ended_the_counts_stay_and_nothing_else() -> None:
    registry = shown(merge([process(2), counted(process(5))]))
    assert registry.get_sample_value("eyas_images_total", {"model": "colours", "outcome": "OK"}) == 7
    assert registry.get_sample_value("eyas_queue_images", {"model": "colours", "version": "1"}) == 2


def test_what_each_saw_at_another_moment_is_still_one() -> None:
    both = []
    for seconds in (0.3, 0.7):
        metrics = Metrics()
        metrics.load_seconds.labels("colours").observe(seconds)
        metrics.saturation.labels().set(seconds)
        both.append(load(dump(families(metrics.registry))))
    registry = shown(merge(both))
    assert registry.get_sample_value("eyas_version_load_seconds_count", {"model": "colours"}) == 1
    assert registry.get_sample_value("eyas_saturation_ratio") == pytest.approx(0.5)


def test_traces_and_fine_buckets_survive() -> None:
    both = []
    for seconds, trace in ((0.2, "older"), (0.24, "newer"), (9.0, "slow")):
        metrics = Metrics()
        metrics.stage_seconds.labels("colours", "1", "total").observe(seconds, trace)
        both.append(load(dump(families(metrics.registry))))
    (family,) = [family for family in merge([*both[1:], counted(both[0])]) if family.name == "eyas_stage_seconds"]
    (tally,) = family.tallies
    assert tally.total == pytest.approx(9.44)
    assert [count for _, count in tally.cells] == [1, 1, 1]
    assert [(bucket, trace) for bucket, trace, _, _ in tally.exemplars] == [(8, "newer"), (12, "slow")]


def test_what_ended_processes_counted_of_a_version_goes_when_nobody_has_it_any_more() -> None:
    at = [0.0]
    departed = Departed(lambda: at[0])
    metrics = Metrics()
    for version in ("1", "2"):
        metrics.requests.labels("colours", version, "OK").inc(5)
        metrics.stage_seconds.labels("colours", version, "total").observe(0.1)
    departed.add(families(metrics.registry))
    newborn, living = families(Metrics().registry), process(1)
    for at[0] in (1.0, 600.0):
        registry = shown(departed.families([newborn]))
        for version in ("1", "2"):
            assert registry.get_sample_value("eyas_requests_total", {"model": "colours", "version": version, "code": "OK"}) == 5
    departed.families([living])  # which has version 1
    at[0] = 1000.0
    registry = shown(departed.families([newborn]))
    assert registry.get_sample_value("eyas_requests_total", {"model": "colours", "version": "1", "code": "OK"}) == 5
    assert registry.get_sample_value("eyas_requests_total", {"model": "colours", "version": "2", "code": "OK"}) is None
    assert registry.get_sample_value("eyas_stage_seconds_count", {"model": "colours", "version": "2", "stage": "total"}) is None


def test_of_one_process_it_is_the_page_that_it_would_have_shown() -> None:
    metrics = Metrics()
    metrics.images.labels("colours", "OK").inc(3)
    assert generate_latest(shown(merge([families(metrics.registry)]))) == generate_latest(metrics.registry)
