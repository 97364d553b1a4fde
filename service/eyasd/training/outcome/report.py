"""report.html: what a person wants to know of a version, on one page that needs nothing beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from jinja2 import Environment, PackageLoader, StrictUndefined

from eyasd.core.bundle import Manifest
from eyasd.core.evaluation import EpochMetrics, ReliabilityBin
from eyasd.training.data.thumbnails import shown_groups

# Labels and the names of files are a stranger's text: everything is escaped.
_PAGES: Final = Environment(loader=PackageLoader("eyasd.training.outcome", "."), autoescape=True, undefined=StrictUndefined)
# The plot's corners within the picture of 640 x 220.
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 616, 16, 200
# The side of the reliability diagram, and of the histogram beside it.
_SIDE: Final = 200
_FEW: Final = 10  # answers, of which the share that is right says little


def render(model: str, manifest: Manifest, thumbnails: Mapping[str, str], sheet: str = "") -> str:
    """Returns the page.

    Args:
        model: name of the model.
        manifest: of the version; the digests of the files need not be known yet.
        thumbnails: data URIs of the pictures it shows, by name; see `thumbnails.thumbnails`.
        sheet: data URI of the contact sheet, or "" where no picture was changed.
    """
    evaluation, report, lineage = manifest.evaluation, manifest.dataset_report, manifest.lineage
    parity, calibration = manifest.parity, manifest.calibration
    # Which of several backbones it became was not asked for.
    asked = {name for name in lineage.asked if name != "backbone" or not lineage.ranking}
    errors = f"{calibration.error_before:.3f} before, {calibration.error_after:.3f} after"
    return _PAGES.get_template("report.html.jinja").render(
        model=model,
        manifest=manifest,
        evaluation=evaluation,
        report=report,
        groups=shown_groups(report),
        thumbnails=thumbnails,
        sheet=sheet,
        rows=list(zip(evaluation.labels, report.labels, strict=True)),
        curve=_curve(manifest.history) if len(manifest.history) > 1 else None,
        bars=_bars(evaluation.reliability),
        few=_FEW,
        facts=[
            ("Trained", f"{manifest.create_time:%Y-%m-%d %H:%M} UTC, in {lineage.duration_seconds:.0f} s on {lineage.device}"),
            ("Job", f"{lineage.job}, attempt {lineage.attempt}"),
            ("Dataset", f"{lineage.dataset}, digest {report.digest}"),
            ("Backbone", lineage.backbone),
            ("Weights", lineage.weights_source or "random"),
            ("Parity", f"{parity.examples} pictures, largest difference of a logit {parity.max_logit_difference:.1e}"),
            ("Calibration", f"temperature {calibration.temperature:.3f}, validation error {errors}"),
            ("Eyas", lineage.code_version),
        ],
        asked=asked,
        details=[*lineage.recipe.items(), *lineage.packages.items()],
    )


def _bars(bins: Sequence[ReliabilityBin]) -> list[dict[str, object]]:
    """Returns the bars of the reliability diagram, and of the histogram beside it, in the units of the picture."""
    most = max((one.answers for one in bins), default=0)
    return [
        {
            "x": round(_SIDE * one.low, 1),
            "width": round(_SIDE * (one.high - one.low) - 1, 1),
            "right": round(_SIDE * one.right, 1),
            "answers": round(_SIDE * one.answers / most, 1),
            "few": one.answers < _FEW,
            "text": f"{one.answers} answers with {one.confidence:.0%} confidence on average, {one.right:.0%} right",
        }
        for one in bins
        if one.answers
    ]


def _curve(history: Sequence[EpochMetrics]) -> dict[str, object]:
    """Returns the places of the learning curve, in the units of the picture."""
    accuracies = [epoch.accuracy for epoch in history]
    low, high = min(accuracies), max(accuracies)
    margin = max(0.1 * (high - low), 0.005)
    low, high = max(0.0, low - margin), min(1.0, high + margin)
    best = min(history, key=lambda epoch: epoch.loss)

    def height(accuracy: float) -> float:
        return round(_BOTTOM - (accuracy - low) / (high - low) * (_BOTTOM - _TOP), 1)

    marks = [
        {
            "x": round(_LEFT + (_RIGHT - _LEFT) * i / (len(history) - 1), 1),
            "y": height(epoch.accuracy),
            "best": epoch is best,
            "text": f"epoch {epoch.epoch}: {epoch.accuracy:.1%}",
        }
        for i, epoch in enumerate(history)
    ]
    return {
        "marks": marks,
        "points": " ".join(f"{mark['x']},{mark['y']}" for mark in marks),
        "ticks": [{"y": height(value), "text": f"{value:.1%}"} for value in (low, (low + high) / 2, high)],
    }
