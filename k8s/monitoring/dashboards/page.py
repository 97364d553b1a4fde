"""What every dashboard has: the choices at its top, the way to the others, and marks where alerts fired and versions changed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, Final

from grafana_foundation_sdk.builders import dashboard
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as models

from dashboards.panels import SELECTORS, SOURCE, Panel, selected

DOCS: Final = "https://eyas.example/docs"
TAG: Final = "eyas"

# A choice: its name, its label at the top, the label of a series that it chooses, and the series.
_CHOICES: Final = {
    "namespace": ("Namespace", "namespace", "eyas_build_info"),
    "job": ("Scrape job", "job", 'eyas_build_info{namespace=~"$namespace"}'),
    "model": ("Model", "model", f"eyas_loaded_version_info{{{SELECTORS['SERVER']}}}"),
    "version": ("Version", "version", f"eyas_loaded_version_info{{{SELECTORS['MODEL']}}}"),
    "training": ("Training", "exported_job", f"eyas_training_progress_ratio{{{SELECTORS['SERVER']}}}"),
}

# What is marked on every graph: its query, its colour, and what the mark says.
_MARKS: Final = {
    "Alerts": ('ALERTS{alertname=~"Eyas.*",alertstate="firing"}', "red", "{{alertname}} {{model}}"),
    "Versions loaded": (
        (
            "sum by (model, version) (eyas_loaded_version_info{SERVER})"
            " unless sum by (model, version) (eyas_loaded_version_info{SERVER} offset 2m)"
        ),
        "blue",
        "{{model}}/{{version}} loaded",
    ),
}


def page(
    name: str, title: str, says: str, choices: Sequence[str], rows: dict[str, Sequence[Panel]], *, span: str = "now-3h"
) -> dict[str, Any]:
    """Returns a dashboard, as Grafana's JSON has it, of rows of panels; `choices` are those beyond namespace and scrape job."""
    made = dashboard.Dashboard(title).uid(f"eyas-{name}").description(says).tags([TAG]).editable().timezone("browser")
    made.time(span, "now").refresh("30s").tooltip(models.DashboardCursorSync.CROSSHAIR).version(1)
    made.with_variable(dashboard.DatasourceVariable("datasource").label("Prometheus").type("prometheus"))
    for choice in ("namespace", "job", *choices):
        made.with_variable(_choice(choice))
    docs = dashboard.ConstantVariable("docs").label("Documents").value(DOCS)
    made.with_variable(docs.description("Where docs/ of Eyas is to be read; the runbooks are linked from there."))
    link = dashboard.DashboardLink("Eyas").type(models.DashboardLinkType.DASHBOARDS).tags([TAG])
    made.link(link.as_dropdown(False).include_vars(True).keep_time(True))
    made.link(
        dashboard.DashboardLink("Runbooks")
        .type(models.DashboardLinkType.LINK)
        .url("${docs}/operations.md#alerts")
        .target_blank(True)
        .icon("doc")
    )
    for mark, (expression, colour, _) in _MARKS.items():
        annotation = dashboard.AnnotationQuery().name(mark).datasource(SOURCE).enable(True).icon_color(colour)
        made.annotation(annotation.expr(selected(expression)))
    for heading, panels in rows.items():
        made.with_row(dashboard.Row(heading))
        for panel in panels:
            made.with_panel(panel)
    written: dict[str, Any] = json.loads(JSONEncoder().encode(made.build()))
    for number, panel in enumerate(written["panels"], 1):
        panel["id"] = number
    for annotation in written["annotations"]["list"]:
        # How Prometheus's plugin names a mark; Grafana's schema knows only what is common to all plugins.
        annotation["titleFormat"] = _MARKS[annotation["name"]][2]
    return written


def _choice(name: str) -> Builder[models.VariableModel]:
    label, chosen, series = _CHOICES[name]
    choice = dashboard.QueryVariable(name).label(label).datasource(SOURCE).multi(True).include_all(True).all_value(".*")
    choice.query({"qryType": 1, "query": f"label_values({series}, {chosen})", "refId": "Variable"})
    choice.refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED).sort(models.VariableSort.NATURAL_ASC)
    return choice.current(models.VariableOption(True, "All", "$__all"))
