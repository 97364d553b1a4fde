"""report.html: what a person wants to know of a version, on one page that needs nothing beside it."""

from __future__ import annotations

import base64
import hashlib
from importlib.resources import files
from typing import Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from eyasd.core.bundle import Manifest
from eyasd.core.wording import counted
from eyasd.training.data.thumbnails import shown_groups
from eyasd.training.outcome.report import plots
from eyasd.training.outcome.report.cautions import cautions
from eyasd.training.outcome.report.confusion import MOST_LABELS, confusion
from eyasd.training.outcome.report.material import Material

_HERE: Final = "eyasd.training.outcome.report"
# Labels and the names of files are a stranger's text: everything is escaped.
_PAGES: Final = Environment(
    loader=PackageLoader(_HERE, "."), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
)
_PAGES.filters |= {
    "percent": lambda share: f"{100 * share:.1f}\N{NO-BREAK SPACE}%",
    "counted": counted,
    "dp": lambda value, places: f"{value:.{places}f}",
}


def render(model: str, manifest: Manifest, material: Material = Material()) -> str:  # noqa: B008 - frozen
    """Returns the page.

    Args:
        model: name of the model.
        manifest: of the version; the digests of the files need not be known yet.
        material: what it shows beside the manifest.
    """
    evaluation, report, lineage = manifest.evaluation, manifest.dataset_report, manifest.lineage
    parity, calibration = manifest.parity, manifest.calibration
    # Which of several backbones it became was not asked for.
    asked = {name for name in lineage.asked if name != "backbone" or not lineage.ranking}
    curves = material.curves
    curve_plot, curve_lines = plots.precision_recall(curves) if curves else ("", [])
    script = files(_HERE).joinpath("page.js").read_text("utf-8")
    return _PAGES.get_template("page.html.jinja").render(
        style=Markup(files(_HERE).joinpath("page.css").read_text("utf-8")),  # noqa: S704 - our own files
        script=Markup(script),  # noqa: S704
        script_digest=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        model=model,
        manifest=manifest,
        material=material,
        evaluation=evaluation,
        report=report,
        multi_label=manifest.thresholds is not None,
        many_labels=len(evaluation.labels) > MOST_LABELS,
        cautions=cautions(manifest),
        groups=shown_groups(report),
        rows=list(zip(evaluation.labels, report.labels, strict=True)),
        average_precisions={curve.label: curve.average_precision for curve in curves.labels} if curves else {},
        sure_from=manifest.unknown.confidence.thresholds if manifest.unknown and manifest.unknown.confidence else (),
        confusion=confusion(evaluation.labels) if evaluation.labels[0].predicted_counts else None,
        learning=plots.learning(manifest.history) if len(manifest.history) > 1 else None,
        reliability=plots.reliability(evaluation.reliability) if any(one.answers for one in evaluation.reliability) else None,
        few=plots.FEW,
        curve_plot=curve_plot,
        curve_lines=curve_lines,
        facts=[
            ("Trained", f"{manifest.create_time:%Y-%m-%d %H:%M} UTC, in {lineage.duration_seconds:.0f} s on {lineage.device}"),
            ("Job", f"{lineage.job}, attempt {lineage.attempt}"),
            ("Dataset", f"{lineage.dataset}, digest {report.digest}"),
            ("Starts from", lineage.weights_source or "random weights"),
            ("Backbone", f"{lineage.backbone}, pictures of {manifest.preprocess.crop_px} x {manifest.preprocess.crop_px} pixels"),
            ("Parity", f"{parity.examples} pictures, largest difference of a logit {parity.max_logit_difference:.1e}"),
            ("Calibration", f"temperature {calibration.temperature:.3f}"),
            *(
                [
                    (
                        "Latency",
                        f"{1e3 * manifest.latency.total_seconds():.1f} ms for a picture by itself, on {manifest.latency_device}",
                    )
                ]
                if manifest.latency
                else []
            ),
            ("Seed", str(lineage.seed)),
            ("Eyas", lineage.code_version),
        ],
        asked=asked,
        recipe=list(lineage.recipe.items()),
        packages=list(lineage.packages.items()),
    )
