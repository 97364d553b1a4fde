"""How much room is left, and what takes it: servers, engines, batches, caches, GPUs, disks and stores."""

from __future__ import annotations

from typing import Any

from dashboards.page import page
from dashboards.panels import FAIR, POOR, Query, graph, heat, listing


def capacity() -> dict[str, Any]:
    """Returns the dashboard."""
    servers = [
        graph(
            "Saturation",
            "How much of what it can do each server does; the series to scale by.",
            "percentunit",
            Query("eyas_saturation_ratio{SERVER}", "{{instance}}"),
            steps=[(0.7, FAIR), (0.9, POOR)],
            runbook="EyasSaturated",
            width=6,
        ),
        graph(
            "What is short",
            "Work that came as a share of what each resource can do, refused work among it; above 100 % the queue grows.",
            "percentunit",
            Query(
                "sum by (resource) (rate(eyas_demand_seconds_total{SERVER}[$__rate_interval]))"
                " / (sum by (resource) (rate(eyas_capacity_seconds_total{SERVER}[$__rate_interval])) > 0)",
                "{{resource}}",
            ),
            steps=[(1, POOR)],
            runbook="EyasSaturated",
            width=6,
        ),
        graph(
            "Under way",
            "Requests, streams and uploads that each server has at the moment.",
            "short",
            Query("sum by (instance) (eyas_in_flight_requests{SERVER})", "{{instance}} requests"),
            Query("sum by (instance) (eyas_open_streams{SERVER})", "{{instance}} streams"),
            Query("sum by (instance) (eyas_open_uploads{SERVER})", "{{instance}} uploads"),
            width=6,
        ),
        graph(
            "Pictures that engines have",
            "Pictures that wait for their batch or are in it, by version.",
            "short",
            Query("sum by (model, version) (eyas_queue_images{VERSION})", "{{model}}/{{version}}"),
            runbook="EyasSaturated",
            width=6,
        ),
    ]
    engines = [
        heat(
            "Batches, all",
            "How many batches had how many pictures; ones of a single picture leave a GPU idle.",
            "short",
            Query("sum by (le) (rate(eyas_batch_images_bucket{MODEL}[$__rate_interval]))"),
        ),
        graph(
            "Pictures in a batch",
            "Mean size of the batches, beside the most that a batch may have now.",
            "short",
            Query(
                "sum by (model) (rate(eyas_batch_images_sum{MODEL}[$__rate_interval]))"
                " / (sum by (model) (rate(eyas_batch_images_count{MODEL}[$__rate_interval])) > 0)",
                "{{model}}, mean",
            ),
            Query("min by (model) (eyas_batch_limit_images{MODEL})", "{{model}}, most"),
        ),
        graph(
            "Batches too large for the memory",
            "Batches a second that did not fit the device's memory, after which smaller ones are cut.",
            "ops",
            Query("sum by (model) (rate(eyas_batches_out_of_memory_total{MODEL}[$__rate_interval]))", "{{model}}"),
            runbook="EyasGpuMemoryFull",
        ),
        graph(
            "Engines started again",
            "Engines that ended by themselves within half an hour, by server and model.",
            "short",
            Query("eyas:engine_restarts:increase30m{MODEL}", "{{instance}} {{model}}"),
            steps=[(2.5, POOR)],
            runbook="EyasEngineCrashLoop",
        ),
        graph(
            "Time to load a version",
            "Mean time within an hour to load a version, to warm it, and from an alias's move to the new version's first answers.",
            "s",
            *(
                Query(
                    f"sum by (model) (grown(eyas_version_{part}_seconds_sum{{MODEL}}[1h]))"
                    f" / (sum by (model) (grown(eyas_version_{part}_seconds_count{{MODEL}}[1h])) > 0)",
                    "{{model}}, " + part,
                )
                for part in ("load", "warmup", "swap")
            ),
            runbook="EyasVersionNotLoaded",
        ),
        graph(
            "Versions not loaded",
            "Loads of versions that failed within 15 minutes; the version before goes on serving.",
            "short",
            Query("sum by (model) (eyas:version_load_failures:increase15m{MODEL})", "{{model}}"),
            runbook="EyasVersionNotLoaded",
        ),
        graph(
            "Versions loaded, by precision",
            "On how many servers each version is loaded, by the precision that it answers in.",
            "short",
            Query(
                "sum by (model, version, precision) (eyas_loaded_version_precision_info{VERSION})",
                "{{model}}/{{version}} {{precision}}",
            ),
            stacked=True,
        ),
        graph(
            "Speed of variants",
            "Pictures a second of each version's variant as a multiple of the network's own, as measured when it was loaded.",
            "short",
            Query("eyas_variant_speed_ratio{VERSION}", "{{instance}} {{model}}/{{version}}"),
        ),
        listing(
            "Engines",
            "Where each version runs: the provider of ONNX Runtime and its device.",
            "eyas_engine_info{VERSION}",
            ["Value", "endpoint", "container", "service"],
            width=8,
        ),
    ]
    devices = [
        graph(
            "GPU memory",
            "Share of each GPU's memory that is taken, by whom ever.",
            "percentunit",
            Query("eyas_gpu_memory_used_bytes{SERVER} / eyas_gpu_memory_total_bytes{SERVER}", "{{instance}} GPU {{gpu}}"),
            most=1,
            steps=[(0.95, POOR)],
            runbook="EyasGpuMemoryFull",
        ),
        graph(
            "GPU utilisation",
            "Share of the time in which each GPU computes something.",
            "percentunit",
            Query("eyas_gpu_utilization_ratio{SERVER}", "{{instance}} GPU {{gpu}}"),
            most=1,
        ),
        graph(
            "Pictures decoded by a GPU",
            "JPEGs a second that were given to a GPU's decoder, and how many of them it declined.",
            "ops",
            Query("sum by (outcome) (rate(eyas_gpu_decodes_total{SERVER}[$__rate_interval]))", "{{outcome}}"),
            stacked=True,
        ),
        graph(
            "Decoders that ended",
            "Locked decoders that ended within half an hour and were started again, by why; forbidden: somebody may be trying.",
            "short",
            Query("sum by (why) (increase(eyas_decoder_ends_total{SERVER}[30m]))", "{{why}}"),
            stacked=True,
        ),
        graph(
            "Response cache",
            "Share of pictures whose answer was known already.",
            "percentunit",
            Query(
                '(sum by (model) (rate(eyas_cache_lookups_total{MODEL,result="hit"}[$__rate_interval]))'
                " or 0 * sum by (model) (rate(eyas_cache_lookups_total{MODEL}[$__rate_interval])))"
                " / (sum by (model) (rate(eyas_cache_lookups_total{MODEL}[$__rate_interval])) > 0)",
                "{{model}}",
            ),
            most=1,
        ),
        graph(
            "Memory of the response cache",
            "Memory that kept answers take, by server; at most `serving.cache_bytes`.",
            "bytes",
            Query("sum by (instance) (eyas_cache_bytes{SERVER})", "{{instance}}"),
        ),
        graph(
            "Cache of models",
            "Files of versions within 15 minutes that were there already, that were fetched, or that the cache could not give.",
            "short",
            Query("sum by (result) (grown(eyas_model_cache_files_total{SERVER}[15m]))", "{{result}}"),
        ),
        graph(
            "Captured pictures",
            "Bytes of the pictures that are kept to learn from, by model.",
            "bytes",
            Query("max by (model) (eyas_captured_bytes{MODEL})", "{{model}}"),
        ),
    ]
    storage = [
        graph(
            "Free disk",
            "Share of each disk that is free.",
            "percentunit",
            Query("eyas_disk_free_bytes{SERVER} / eyas_disk_size_bytes{SERVER}", "{{instance}} {{volume}}"),
            most=1,
            runbook="EyasDiskFull",
            width=6,
        ),
        graph(
            "Free disk in a day",
            "What will be free of each disk a day from now, if the pace of the last six hours holds.",
            "bytes",
            Query("predict_linear(eyas_disk_free_bytes{SERVER}[6h], 24 * 3600)", "{{instance}} {{volume}}"),
            least=None,
            steps=[(0, "green")],
            runbook="EyasDiskFillsUp",
            width=6,
        ),
        graph(
            "Errors of stores",
            "Errors within 15 minutes of the stores that hold models, datasets and captured pictures, by operation.",
            "short",
            Query("sum by (store, operation) (eyas:storage_errors:increase15m{SERVER})", "{{store}} {{operation}}"),
            steps=[(5, POOR)],
            runbook="EyasStorageFails",
            width=6,
        ),
        graph(
            "Spans lost",
            "Spans of traces a second that the collector did not take in time; requests do not wait for it.",
            "ops",
            Query("sum by (instance) (rate(eyas_spans_dropped_total{SERVER}[$__rate_interval]))", "{{instance}}"),
            width=6,
        ),
    ]
    return page(
        "capacity",
        "Eyas: capacity",
        "How much room is left and what takes it: servers, engines, batches, caches, GPUs, disks, stores.",
        ["model", "version"],
        {"Servers": servers, "Engines": engines, "GPUs and caches": devices, "Disks and stores": storage},
        span="now-6h",
    )
