"""telemetry.merged: several processes, one page of metrics."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, generate_latest

from eyasd.telemetry.merged import Family, Merged, counted, dump, families, load, merge
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


def test_of_one_process_it_is_the_page_that_it_would_have_shown() -> None:
    metrics = Metrics()
    metrics.images.labels("colours", "OK").inc(3)
    assert generate_latest(shown(merge([families(metrics.registry)]))) == generate_latest(metrics.registry)
