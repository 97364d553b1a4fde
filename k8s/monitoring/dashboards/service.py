"""Whether the service is up, fast and answers: traffic, errors, latency, saturation, and the error budget."""

from __future__ import annotations

from typing import Any

from dashboards.page import page
from dashboards.panels import FAIR, POOR, Query, graph, heat, listing, number

_SLOW = [(0.25, FAIR), (1, POOR)]


def _quantile(share: float, by: str, stage: str = 'stage="total"') -> str:
    return f"histogram_quantile({share}, sum by (le{by}) (rate(eyas_stage_seconds_bucket{{VERSION,{stage}}}[$__rate_interval])))"


def service() -> dict[str, Any]:
    """Returns the dashboard."""
    glance = [
        number(
            "Requests",
            "Classify requests that arrive a second.",
            "reqps",
            Query("sum(rate(eyas_requests_total{MODEL}[$__rate_interval]))"),
        ),
        number(
            "Failing",
            "Share of Classify requests of the last five minutes that failed for a fault of the service's, of the worst model.",
            "percentunit",
            Query("max(eyas:failed_requests:ratio_rate5m{MODEL})"),
            (0.001, FAIR),
            (0.01, POOR),
            runbook="EyasErrorBudgetBurnsFast",
            decimals=2,
        ),
        number(
            "Latency, 99 %",
            "Time within which 99 of 100 requests are answered, from their arrival at the server.",
            "s",
            Query(_quantile(0.99, "")),
            *_SLOW,
            runbook="EyasLatencyBudgetBurnsFast",
        ),
        number(
            "Saturation",
            "How much of what it can do the busiest server does; at 100 % it refuses.",
            "percentunit",
            Query("max(eyas_saturation_ratio{SERVER})"),
            (0.7, FAIR),
            (0.9, POOR),
            runbook="EyasSaturated",
            decimals=0,
        ),
        number(
            "Versions loaded",
            "Versions that can answer at once, of all models.",
            "short",
            Query("count(count by (model, version) (eyas_loaded_version_info{VERSION}))"),
            (1, "green"),
            base=POOR,
            runbook="EyasServerWithoutModel",
        ),
        number(
            "Alerts",
            "Alerts of Eyas that are firing now.",
            "short",
            Query('count(ALERTS{alertname=~"Eyas.*",alertstate="firing"}) or vector(0)'),
            (1, POOR),
        ),
    ]
    traffic = [
        graph(
            "Requests by model",
            "Classify requests a second that each model was asked for, `other` where no such model was known.",
            "reqps",
            Query("sum by (model) (rate(eyas_requests_total{MODEL}[$__rate_interval]))", "{{model}}"),
            stacked=True,
        ),
        graph(
            "Requests by status",
            "Classify requests a second by the gRPC status that they ended with.",
            "reqps",
            Query("sum by (code) (rate(eyas_requests_total{MODEL}[$__rate_interval]))", "{{code}}"),
            stacked=True,
        ),
        graph(
            "Failed requests",
            "Share of requests that failed for a fault of the service's, beside what the target allows.",
            "percentunit",
            Query("eyas:failed_requests:ratio_rate5m{MODEL}", "{{model}}"),
            Query("1 - eyas:target_availability:ratio", "allowed"),
            runbook="EyasErrorBudgetBurnsFast",
        ),
        graph(
            "Refusals",
            "Requests a second that were refused before any work was done, by reason.",
            "reqps",
            Query("sum by (model, reason) (rate(eyas_refusals_total{MODEL}[$__rate_interval]))", "{{model}} {{reason}}"),
            stacked=True,
            runbook="EyasRequestsRefused",
        ),
        graph(
            "Pictures by outcome",
            "Pictures of requests a second: labelled, unknown, or why they could not be read.",
            "ops",
            Query("sum by (outcome) (rate(eyas_images_total{MODEL}[$__rate_interval]))", "{{outcome}}"),
            stacked=True,
        ),
        graph(
            "All calls",
            "Calls of every method a second, whatever their end.",
            "reqps",
            Query("sum by (method) (rate(eyas_rpcs_total{SERVER}[$__rate_interval]))", "{{method}}"),
            stacked=True,
        ),
        graph(
            "Calls that failed",
            "Calls of every method a second that did not end with OK, faults of the callers' among them.",
            "reqps",
            Query('sum by (method, code) (rate(eyas_rpcs_total{SERVER,code!="OK"}[$__rate_interval]))', "{{method}} {{code}}"),
        ),
        graph(
            "Latency of calls, 99 %",
            "Time within which 99 of 100 calls of each method have ended; streams and watches last as long as their callers like.",
            "s",
            Query(
                "histogram_quantile(0.99, sum by (le, method) (rate(eyas_rpc_seconds_bucket{SERVER}[$__rate_interval])))",
                "{{method}}",
                exemplars=True,
            ),
        ),
        graph(
            "Credentials and changes",
            "Changed credentials that could not be used within an hour, and lines within 15 minutes that the file of changes did not take.",
            "short",
            Query("sum by (what) (eyas:credential_reload_failures:increase1h{SERVER})", "{{what}}"),
            Query("sum(eyas:audit_failures:increase15m{SERVER})", "changes"),
            runbook="EyasChangesNotRecorded",
        ),
        graph(
            "Daemons",
            "Daemons that Prometheus sees, by version and role.",
            "short",
            Query("sum by (version, role) (eyas_build_info{SERVER})", "{{version}} {{role}}"),
            runbook="EyasTargetDown",
        ),
    ]
    latency = [
        graph(
            "Latency",
            "Time within which half, 90 and 99 of 100 requests are answered.",
            "s",
            *(Query(_quantile(share, ""), name, exemplars=True) for share, name in ((0.5, "50 %"), (0.9, "90 %"), (0.99, "99 %"))),
            steps=[(0.25, FAIR)],
            runbook="EyasLatencyBudgetBurnsFast",
        ),
        graph(
            "Latency by stage, 99 %",
            "Time within which 99 of 100 requests have passed each stage: admission, decode, queue, inference.",
            "s",
            Query(_quantile(0.99, ", stage", 'stage!="total"'), "{{stage}}", exemplars=True),
        ),
        graph(
            "Where the time goes",
            "Mean time of a request in each stage, on top of each other.",
            "s",
            Query(
                'sum by (stage) (rate(eyas_stage_seconds_sum{VERSION,stage!="total"}[$__rate_interval]))'
                ' / (sum by (stage) (rate(eyas_stage_seconds_count{VERSION,stage!="total"}[$__rate_interval])) > 0)',
                "{{stage}}",
            ),
            stacked=True,
        ),
        heat(
            "Latency, all requests",
            "How many requests took how long; two bands mean two kinds of requests.",
            "s",
            Query('sum by (le) (rate(eyas_stage_seconds_bucket{VERSION,stage="total"}[$__rate_interval]))', exemplars=True),
            runbook="EyasLatencyBudgetBurnsFast",
        ),
        heat(
            "Time in the queue, all requests",
            "How many requests waited how long for their batch.",
            "s",
            Query('sum by (le) (rate(eyas_stage_seconds_bucket{VERSION,stage="queue"}[$__rate_interval]))', exemplars=True),
            runbook="EyasSaturated",
        ),
        graph(
            "Latency by version, 99 %",
            "Time within which 99 of 100 requests are answered by each version.",
            "s",
            Query(_quantile(0.99, ", model, version"), "{{model}}/{{version}}", exemplars=True),
        ),
    ]
    budget = [
        graph(
            "Burn of the error budget",
            "How many times as fast as allowed requests fail: at 1 the budget of 30 days lasts 30 days, at 14.4 two.",
            "short",
            Query("eyas:failed_requests:ratio_rate1h{MODEL} / scalar(1 - eyas:target_availability:ratio)", "{{model}}, an hour"),
            Query("eyas:failed_requests:ratio_rate1d{MODEL} / scalar(1 - eyas:target_availability:ratio)", "{{model}}, a day"),
            steps=[(1, FAIR), (14.4, POOR)],
            runbook="EyasErrorBudgetBurnsFast",
        ),
        graph(
            "Burn of the latency budget",
            "How many times as often as allowed requests take longer than 250 ms.",
            "short",
            Query("eyas:slow_requests:ratio_rate1h{MODEL} / scalar(1 - eyas:target_latency:ratio)", "{{model}}, an hour"),
            Query("eyas:slow_requests:ratio_rate1d{MODEL} / scalar(1 - eyas:target_latency:ratio)", "{{model}}, a day"),
            steps=[(1, FAIR), (14.4, POOR)],
            runbook="EyasLatencyBudgetBurnsFast",
        ),
        graph(
            "Budget left of three days",
            "What is left of what three days may spend; below 0 the target is missed.",
            "percentunit",
            Query(
                "1 - eyas:failed_requests:ratio_rate3d{MODEL} / scalar(1 - eyas:target_availability:ratio)", "{{model}}, failures"
            ),
            Query("1 - eyas:slow_requests:ratio_rate3d{MODEL} / scalar(1 - eyas:target_latency:ratio)", "{{model}}, slowness"),
            least=None,
            most=1,
            steps=[(0, "green")],
            runbook="EyasErrorBudgetBurnsSlowly",
        ),
        listing(
            "Alerts that fire or are about to",
            "Each alert of Eyas with what it is about; its runbook is docs/operations.md#NAME.",
            'ALERTS{alertname=~"Eyas.*"}',
            ["Value"],
            width=24,
        ),
    ]
    return page(
        "service",
        "Eyas: service",
        "Whether the classifier is up and fast: traffic, errors, latency by stage, saturation, error budget.",
        ["model", "version"],
        {"At a glance": glance, "Traffic and errors": traffic, "Latency": latency, "Targets": budget},
    )
