"""Whether answers are right: by feedback, and, where there is none, by what the pictures and answers look like."""

from __future__ import annotations

from typing import Any

from dashboards.page import page
from dashboards.panels import FAIR, POOR, Panel, Query, bars, chart, graph, heat, matrix, number, rows

_CANARY = "on (namespace, job, model, version) (eyas_canary_percent{MODEL} > 0)"
# Models that have a canary, but not what the canary answers.
_PRODUCTION = f"unless {_CANARY} and on (namespace, job, model) (eyas_canary_percent{{MODEL}} > 0)"


def quality() -> dict[str, Any]:
    """Returns the dashboard."""
    return page(
        "quality",
        "Eyas: model quality",
        "Whether answers are right: live accuracy, classes, calibration, drift, canary and shadow, captured pictures.",
        ["model", "version"],
        {
            "At a glance": _glance(),
            "Right and wrong, by feedback": _accuracy(),
            "Probabilities": _calibration(),
            "Drift, without feedback": _drift(),
            "Canary and shadow": _trials(),
            "Capture": _capture(),
        },
        span="now-24h",
    )


def _glance() -> list[Panel]:
    return [
        number(
            "Live accuracy, a day",
            "Share of the answers of the last 24 hours that feedback called right, of all versions chosen.",
            "percentunit",
            Query(
                'sum(eyas:judged_images:increase1d{VERSION,outcome="right"}) / (sum(eyas:judged_images:increase1d{VERSION}) > 0)'
            ),
            base="blue",
            runbook="EyasAccuracyDropped",
            decimals=1,
        ),
        number(
            "Feedback, a day",
            "Answers of the last 24 hours that were judged; with fewer than a hundred accuracy is a guess.",
            "short",
            Query("sum(eyas:judged_images:increase1d{VERSION})"),
            (100, "green"),
            base=FAIR,
            decimals=0,
        ),
        number(
            "Calibration error",
            "How far probabilities are from the share of right answers, on average, of the worst version.",
            "percentunit",
            Query("max(eyas:calibration_error:ratio1d{VERSION})"),
            (0.06, FAIR),
            (0.12, POOR),
            runbook="EyasCalibrationOff",
            decimals=1,
        ),
        number(
            "Drift against its bound",
            "The largest population stability index of the last hour as a multiple of what it must exceed to mean anything; from 1 on inputs have changed.",
            "short",
            Query('max(eyas:drift_psi{VERSION,window="1h"} / eyas:drift_psi_threshold{VERSION,window="1h"})'),
            (0.7, FAIR),
            (1, POOR),
            runbook="EyasInputDrift",
            decimals=2,
        ),
        number(
            "Unknown pictures",
            "Share of the pictures of the last hour that are like nothing the version was trained on, of the worst version.",
            "percentunit",
            Query('max(eyas:unknown_ratio{VERSION,window="1h"})'),
            (0.05, FAIR),
            (0.15, POOR),
            runbook="EyasUnknownRate",
            decimals=1,
        ),
        number(
            "Shadow agrees",
            "Share of pictures that the shadow gave production's label.",
            "percentunit",
            Query(
                'sum(rate(eyas_shadow_images_total{VERSION,label="same"}[$__range])) / (sum(rate(eyas_shadow_images_total{VERSION}[$__range])) > 0)'
            ),
            (0.9, FAIR),
            (0.97, "green"),
            base=POOR,
            decimals=1,
        ),
    ]


def _accuracy() -> list[Panel]:
    least, most = "eyas_version_accuracy_low_ratio{VERSION}", "eyas_version_accuracy_high_ratio{VERSION}"
    middle, half = "eyas:live_accuracy_middle:ratio1d{VERSION}", "eyas:live_accuracy_half:ratio1d{VERSION}"
    result = 'sum by (label) (grown(eyas_feedback_{counter}_total{VERSION,result="right"}[$__range]))'
    all_of = "(sum by (label) (grown(eyas_feedback_{counter}_total{VERSION}[$__range])) > 0)"
    share = f"({result} or 0 * {all_of}) / {all_of}"
    return [
        graph(
            "Live accuracy beside the test split",
            "Share of right answers by feedback, in an hour and in a day, beside the 95 % interval of the test split (of all versions chosen, so choose one).",
            "percentunit",
            Query("eyas:live_accuracy:ratio1h{VERSION}", "{{model}}/{{version}}, an hour"),
            Query("eyas:live_accuracy:ratio1d{VERSION}", "{{model}}/{{version}}, a day"),
            Query(f"max({most})", "test split, most"),
            Query(f"min({least})", "test split, least"),
            least=None,
            most=1,
            bands=[("test split, most", "test split, least")],
            runbook="EyasAccuracyDropped",
            width=12,
        ),
        graph(
            "What the feedback leaves room for",
            "The interval that a day's live accuracy surely is in (Wilson's, 99.7 %); the alert fires where all of it is below the test split's.",
            "percentunit",
            Query(f"max({middle} + {half})", "live, most"),
            Query(f"min({middle} - {half})", "live, least"),
            Query(f"min({least})", "test split, least"),
            Query("max(eyas_version_accuracy_ratio{VERSION})", "test split"),
            least=None,
            most=1,
            bands=[("live, most", "live, least")],
            runbook="EyasAccuracyDropped",
            width=12,
        ),
        rows(
            "Classes",
            "Of each label: how much of it is found (recall), how often its name is right (precision), and how many judged pictures of it there were.",
            "percentunit",
            "label",
            {
                "recall": share.replace("{counter}", "labels"),
                "precision": share.replace("{counter}", "predictions"),
                "pictures": "sum by (label) (grown(eyas_feedback_labels_total{VERSION}[$__range]))",
            },
            (0.7, FAIR),
            (0.9, "green"),
            counts=["pictures"],
            runbook="EyasAccuracyDropped",
        ),
        matrix(
            "Confusions",
            "Wrong answers by the label that a picture has (down) and the one it was given (across).",
            "sum by (label, predicted) (grown(eyas_feedback_confusions_total{VERSION}[$__range]))",
            "label",
            "predicted",
        ),
        graph(
            "Feedback",
            "Feedback a second by what came of it: right, wrong, or why it does not count.",
            "ops",
            Query("sum by (outcome) (rate(eyas_feedback_total{MODEL}[$__rate_interval]))", "{{outcome}}"),
            stacked=True,
            width=12,
        ),
        bars(
            "Live accuracy by version, a day",
            "Share of right answers of each version by feedback.",
            "percentunit",
            Query("eyas:live_accuracy:ratio1d{VERSION}", "{{model}}/{{version}}"),
            base="blue",
            most=1,
            width=12,
        ),
    ]


def _calibration() -> list[Panel]:
    images = "(sum by (bin) (eyas:calibration_images:increase1d{VERSION}) > 0)"
    return [
        chart(
            "Reliability, a day",
            "Of the answers in each tenth of probability: the probability that was said, and the share that was right; equal bars mean that probabilities are true.",
            "percentunit",
            "bin",
            {
                "said": f"sum by (bin) (eyas:calibration_confidence:increase1d{{VERSION}}) / {images}",
                "right": f"sum by (bin) (eyas:calibration_right:increase1d{{VERSION}}) / {images}",
            },
            runbook="EyasCalibrationOff",
        ),
        graph(
            "Calibration error, a day",
            "How far probabilities are from the share of right answers, on average, beside what chance explains with so little feedback.",
            "percentunit",
            Query("eyas:calibration_error:ratio1d{VERSION}", "{{model}}/{{version}}"),
            Query("0.06 + eyas:calibration_noise:ratio1d{VERSION}", "{{model}}/{{version}}, alert"),
            runbook="EyasCalibrationOff",
            width=12,
        ),
        graph(
            "Confidence",
            "Share of pictures in each tenth of the reference's confidence; a bottom that grows means that the version is less sure than it was.",
            "percentunit",
            Query(
                'sum by (bin) (rate(eyas_drift_images_total{VERSION,signal="confidence"}[$__rate_interval]))'
                ' / ignoring (bin) group_left sum(rate(eyas_drift_images_total{VERSION,signal="confidence"}[$__rate_interval]))',
                "{{bin}}",
            ),
            stacked=True,
            most=1,
            width=12,
        ),
        graph(
            "Pictures without a label",
            "Share of pictures that got no label, by reason: unknown, not sure enough, not readable.",
            "percentunit",
            Query(
                'sum by (outcome) (rate(eyas_images_total{MODEL,outcome!="OK"}[$__rate_interval]))'
                " / ignoring (outcome) group_left sum(rate(eyas_images_total{MODEL}[$__rate_interval]))",
                "{{outcome}}",
            ),
            stacked=True,
            width=12,
        ),
    ]


def _drift() -> list[Panel]:
    return [
        graph(
            "Population stability index, an hour",
            "How far labels, confidence and the look of pictures are from the reference, as a multiple of what each must exceed to mean anything with so many pictures.",
            "short",
            Query(
                'max by (model, version, signal) (eyas:drift_psi{VERSION,window="1h"} / eyas:drift_psi_threshold{VERSION,window="1h"})',
                "{{model}}/{{version}} {{signal}}",
            ),
            steps=[(1, POOR)],
            runbook="EyasInputDrift",
        ),
        bars(
            "Population stability index, a day",
            "The same of a day, unscaled: below 0.1 little has changed, above 0.25 much.",
            "short",
            Query('max by (signal) (eyas:drift_psi{VERSION,window="1d"})', "{{signal}}"),
            (0.1, FAIR),
            (0.25, POOR),
            runbook="EyasInputDrift",
        ),
        graph(
            "Jensen-Shannon divergence, an hour",
            "The same distance in bits: 0 for equal distributions, 1 for distributions that have nothing in common.",
            "short",
            Query(
                'max by (model, version, signal) (eyas:drift_jensen_shannon{VERSION,window="1h"})',
                "{{model}}/{{version}} {{signal}}",
            ),
            most=1,
            runbook="EyasInputDrift",
        ),
        graph(
            "Unknown pictures, an hour",
            "Share of pictures that are like nothing the version was trained on, beside the share that means something.",
            "percentunit",
            Query('eyas:unknown_ratio{VERSION,window="1h"}', "{{model}}/{{version}}"),
            Query('eyas:unknown_ratio_threshold{VERSION,window="1h"}', "{{model}}/{{version}}, alert"),
            runbook="EyasUnknownRate",
        ),
        chart(
            "Labels, an hour",
            "Share of each label among the answers, beside its share among the answers on the reference.",
            "percentunit",
            "bin",
            {
                "now": 'avg by (bin) (eyas:drift_ratio{VERSION,signal="label",window="1h"})',
                "reference": 'avg by (bin) (eyas_drift_reference_ratio{VERSION,signal="label"})',
            },
            runbook="EyasInputDrift",
            width=16,
        ),
    ]


def _trials() -> list[Panel]:
    latency = 'histogram_quantile(0.99, sum by (le, namespace, job, model, version) (rate(eyas_stage_seconds_bucket{MODEL,stage="total"}[$__rate_interval])))'
    served = "sum by (namespace, job, model, version) (rate(eyas_requests_total{MODEL}[$__rate_interval]))"
    fallbacks = "sum by (namespace, job, model) (rate(eyas_canary_fallbacks_total{MODEL}[$__rate_interval]))"
    return [
        graph(
            "Canary's share",
            "Share of the requests for production that a canary is to get, and the share that it gets.",
            "percentunit",
            Query("max by (model, version) (eyas_canary_percent{MODEL}) / 100", "{{model}}/{{version}}, set"),
            Query(
                f"sum by (model, version) ({served} and {_CANARY}) / on (model) group_left sum by (model) ({served})",
                "{{model}}/{{version}}, answered",
            ),
            runbook="EyasCanaryRolledBack",
        ),
        graph(
            "Latency of canary and production, 99 %",
            "Time within which 99 of 100 requests are answered, by canary and by production.",
            "s",
            Query(f"{latency} and {_CANARY}", "canary {{model}}/{{version}}"),
            Query(f"{latency} {_PRODUCTION}", "production {{model}}/{{version}}"),
            runbook="EyasCanaryRolledBack",
        ),
        graph(
            "Accuracy of canary and production, a day",
            "Share of right answers by feedback, of canary and production.",
            "percentunit",
            Query(f"eyas:live_accuracy:ratio1d{{MODEL}} and {_CANARY}", "canary {{model}}/{{version}}"),
            Query(f"eyas:live_accuracy:ratio1d{{MODEL}} {_PRODUCTION}", "production {{model}}/{{version}}"),
            least=None,
            most=1,
            runbook="EyasCanaryRolledBack",
        ),
        graph(
            "What canaries could not answer",
            "Requests a second that production answered in a canary's stead, and canaries that were rolled back within an hour.",
            "short",
            Query(fallbacks, "{{model}}, requests a second"),
            Query("sum by (model, cause) (eyas:canary_rollbacks:increase1h{MODEL})", "{{model}}, rolled back for {{cause}}"),
            runbook="EyasCanaryRolledBack",
        ),
        graph(
            "Shadow's agreement",
            "Share of pictures that the shadow gave production's label.",
            "percentunit",
            Query(
                'sum by (model, version) (rate(eyas_shadow_images_total{VERSION,label="same"}[$__rate_interval]))'
                " / (sum by (model, version) (rate(eyas_shadow_images_total{VERSION}[$__rate_interval])) > 0)",
                "{{model}}/{{version}}",
            ),
            least=None,
            most=1,
        ),
        heat(
            "Shadow's distance",
            "How many pictures the shadow's probabilities were how far from production's, 0 to 1.",
            "short",
            Query("sum by (le) (rate(eyas_shadow_distance_bucket{VERSION}[$__rate_interval]))"),
        ),
        matrix(
            "Shadow's flips",
            "Pictures by the label that production gave (down) and the one that the shadow gives (across).",
            "sum by (production_label, shadow_label) (grown(eyas_shadow_flips_total{VERSION}[$__range]))",
            "production_label",
            "shadow_label",
        ),
        graph(
            "Pictures that a shadow was not shown",
            "Pictures a second that were to be shown to a shadow and were not, by reason; where there are many, its figures are of quiet times alone.",
            "ops",
            Query("sum by (model, reason) (rate(eyas_shadow_dropped_total{MODEL}[$__rate_interval]))", "{{model}} {{reason}}"),
            stacked=True,
            width=12,
        ),
    ]


def _capture() -> list[Panel]:
    return [
        graph(
            "Captured",
            "Pictures an hour that were kept to be labelled, by reason.",
            "short",
            Query("sum by (model, reason) (grown(eyas_captured_images_total{MODEL}[1h]))", "{{model}} {{reason}}"),
            stacked=True,
            width=12,
        ),
        graph(
            "Not captured",
            "Pictures an hour that would have been kept and were not, by reason.",
            "short",
            Query("sum by (model, reason) (grown(eyas_capture_dropped_total{MODEL}[1h]))", "{{model}} {{reason}}"),
            stacked=True,
            width=12,
        ),
    ]
