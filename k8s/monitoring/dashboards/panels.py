"""The few forms that a panel has, on the models of Grafana's own schema. Knows no metric."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias, TypeVar

from grafana_foundation_sdk.builders import barchart, bargauge, common, dashboard, heatmap, prometheus, stat, table, timeseries
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import common as common_models
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.heatmap import HeatmapColorMode
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

Panel: TypeAlias = Builder[models.Panel]
_Drawn = TypeVar("_Drawn", timeseries.Panel, stat.Panel, heatmap.Panel, bargauge.Panel, barchart.Panel, table.Panel)

SOURCE: Final = models.DataSourceRef(type_val="prometheus", uid="${datasource}")
# Where the runbooks are: the variable `docs` of every dashboard.
RUNBOOK: Final = "${docs}/operations.md#"

# What stands in a query for what the reader has chosen: of `{MODEL,code="OK"}` is made `{namespace=~"$namespace",...,code="OK"}`.
SELECTORS: Final = {"SERVER": 'namespace=~"$namespace",job=~"$job"'}
SELECTORS["MODEL"] = SELECTORS["SERVER"] + ',model=~"$model"'
SELECTORS["VERSION"] = SELECTORS["MODEL"] + ',version=~"$version"'
SELECTORS["TRAINING"] = SELECTORS["SERVER"] + ',exported_job=~"$training"'

# By how much counters of rare things grew: one that is younger than the window counts from its birth, which `increase` misses.
_GROWN: Final = r"((increase(\1[\2]) and present_over_time(\1[1d] offset \2)) or last_over_time(\1[\2]))"

GOOD, FAIR, POOR = "green", "orange", "red"


@dataclass(frozen=True)
class Query:
    """A query.

    Attributes:
        legend: the name of its series, with labels as `{{model}}`.
        exemplars: whether single requests with traces are shown, which histograms have.
        format: a table is of the newest values alone.
    """

    expression: str
    legend: str = ""
    exemplars: bool = False
    format: PromQueryFormat = PromQueryFormat.TIME_SERIES

    def build(self, name: str) -> prometheus.Dataquery:
        """Returns it as a panel holds it."""
        query = prometheus.Dataquery().expr(selected(self.expression)).legend_format(self.legend or "__auto").ref_id(name)
        query.datasource(SOURCE).format(self.format).exemplar(self.exemplars)
        return query.instant() if self.format is PromQueryFormat.TABLE else query.range()


def selected(expression: str) -> str:
    """Returns a query on one line, with what the reader has chosen in it, and `grown(...)` spelt out, see `_GROWN`."""
    chosen = re.sub(r"\{(SERVER|MODEL|VERSION|TRAINING)\b", lambda found: "{" + SELECTORS[found[1]], expression)
    return " ".join(re.sub(r"\bgrown\((\w+\{[^}]*\})\[([^]]+)\]\)", _GROWN, chosen).split())


def limits(*steps: tuple[float, str], base: str = GOOD) -> Builder[models.ThresholdsConfig]:
    """Returns from which value on which colour is shown."""
    found = [models.Threshold(None, base), *(models.Threshold(value, colour) for value, colour in steps)]
    return dashboard.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(found)


def graph(
    title: str,
    says: str,
    unit: str,
    *queries: Query,
    runbook: str = "",
    least: float | None = 0,
    most: float | None = None,
    stacked: bool = False,
    bands: Sequence[tuple[str, str]] = (),
    steps: Sequence[tuple[float, str]] = (),
    width: int = 8,
) -> Panel:
    """Returns lines over time.

    Args:
        title: what is seen.
        says: one sentence on what it means.
        unit: Grafana's name of the unit.
        queries: what is drawn.
        runbook: the alert whose runbook is linked.
        least: where the axis begins; None lets it follow the values.
        most: where it ends.
        stacked: areas on top of each other, for parts of a whole.
        bands: pairs of legends; the room between the two lines is filled.
        steps: from which value on a line is drawn across in which colour.
        width: of 24.
    """
    panel = _framed(timeseries.Panel(), title, says, unit, width, 8)
    for number, query in enumerate(queries):
        panel.with_target(query.build(chr(ord("A") + number)))
    panel.line_width(1).fill_opacity(30 if stacked else 8).show_points(common_models.VisibilityMode.AUTO).span_nulls(False)
    panel.legend(
        common.VizLegendOptions()
        .show_legend(True)
        .display_mode(common_models.LegendDisplayMode.LIST)
        .placement(common_models.LegendPlacement.BOTTOM)
    )
    panel.tooltip(common.VizTooltipOptions().mode(common_models.TooltipDisplayMode.MULTI).sort(common_models.SortOrder.DESCENDING))
    if least is not None:
        panel.axis_soft_min(least)
    if most is not None:
        panel.max(most)
    if stacked:
        panel.stacking(common.StackingConfig().mode(common_models.StackingMode.NORMAL).group("A"))
    for upper, lower in bands:
        panel.override_by_regexp(
            f"/{upper}$/",
            [
                models.DynamicConfigValue("custom.fillBelowTo", lower),
                models.DynamicConfigValue("custom.lineStyle", {"fill": "dash", "dash": [6, 6]}),
                models.DynamicConfigValue("custom.fillOpacity", 12),
            ],
        )
        panel.override_by_regexp(
            f"/{lower}$/",
            [
                models.DynamicConfigValue("custom.lineStyle", {"fill": "dash", "dash": [6, 6]}),
                models.DynamicConfigValue("custom.fillOpacity", 0),
            ],
        )
    if steps:
        panel.thresholds(limits(*steps, base="transparent"))
        panel.thresholds_style(common.GraphThresholdsStyleConfig().mode(common_models.GraphThresholdsStyleMode.DASHED))
    return panel.links(_runbook(runbook))


def number(
    title: str,
    says: str,
    unit: str,
    query: Query,
    *steps: tuple[float, str],
    base: str = GOOD,
    runbook: str = "",
    decimals: int | None = None,
    width: int = 4,
) -> Panel:
    """Returns the newest value, in the colour of the last of `steps` that it has reached, with its course behind it."""
    panel = _framed(stat.Panel(), title, says, unit, width, 4)
    panel.with_target(query.build("A")).thresholds(limits(*steps, base=base)).no_value("none")
    panel.graph_mode(common_models.BigValueGraphMode.AREA).color_mode(common_models.BigValueColorMode.VALUE)
    panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).values(False))
    if decimals is not None:
        panel.decimals(decimals)
    return panel.links(_runbook(runbook))


def heat(title: str, says: str, unit: str, query: Query, *, runbook: str = "", width: int = 8) -> Panel:
    """Returns how often each bucket of a histogram was hit over time; the query is summed by `le`."""
    panel = _framed(heatmap.Panel(), title, says, "", width, 8)
    panel.with_target(Query(query.expression, "{{le}}", query.exemplars, PromQueryFormat.HEATMAP).build("A"))
    panel.calculate(False).y_axis(heatmap.YAxisConfig().unit(unit)).cell_gap(1).filter_values(heatmap.FilterValueRange().le(1e-9))
    panel.color(
        heatmap.HeatmapColorOptions().mode(HeatmapColorMode.SCHEME).scheme("Oranges").exponent(0.5).steps(64).fill("dark-orange")
    )
    panel.show_legend().mode(common_models.TooltipDisplayMode.SINGLE).show_y_histogram().exemplars_color("rgba(90,160,255,0.9)")
    return panel.links(_runbook(runbook))


def bars(
    title: str,
    says: str,
    unit: str,
    query: Query,
    *steps: tuple[float, str],
    base: str = GOOD,
    least: float = 0,
    most: float | None = None,
    runbook: str = "",
    width: int = 8,
) -> Panel:
    """Returns the newest value of each series as a bar."""
    panel = _framed(bargauge.Panel(), title, says, unit, width, 8)
    panel.with_target(query.build("A")).thresholds(limits(*steps, base=base)).min(least)
    panel.orientation(common_models.VizOrientation.HORIZONTAL).display_mode(common_models.BarGaugeDisplayMode.BASIC)
    panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]).values(False))
    if most is not None:
        panel.max(most)
    return panel.links(_runbook(runbook))


def chart(title: str, says: str, unit: str, field: str, columns: dict[str, str], *, runbook: str = "", width: int = 12) -> Panel:
    """Returns groups of bars: `columns` are names and queries, each summed by the label `field`, which is the axis."""
    panel = _framed(barchart.Panel(), title, says, unit, width, 9).x_field(field).line_width(1)
    _joined(panel, field, columns)
    panel.min(0).legend(
        common.VizLegendOptions()
        .show_legend(True)
        .display_mode(common_models.LegendDisplayMode.LIST)
        .placement(common_models.LegendPlacement.BOTTOM)
    )
    return panel.links(_runbook(runbook))


def rows(
    title: str,
    says: str,
    unit: str,
    field: str,
    columns: dict[str, str],
    *steps: tuple[float, str],
    base: str = POOR,
    counts: Sequence[str] = (),
    runbook: str = "",
    width: int = 12,
) -> Panel:
    """Returns a table with a row for each value of the label `field`.

    `columns` are names and queries, each summed by that label; those in `counts` have no unit.
    """
    panel = _framed(table.Panel(), title, says, unit, width, 9).align(common_models.FieldTextAlignment.AUTO)
    _joined(panel, field, columns)
    panel.thresholds(limits(*steps, base=base))
    coloured = {"type": "color-background", "mode": "basic"}
    for name in columns:
        if name in counts:
            panel.override_by_name(name, [models.DynamicConfigValue("unit", "short"), models.DynamicConfigValue("decimals", 0)])
        else:
            panel.override_by_name(name, [models.DynamicConfigValue("custom.cellOptions", coloured)])
    return panel.links(_runbook(runbook))


def matrix(title: str, says: str, query: str, row: str, column: str, *, runbook: str = "", width: int = 12) -> Panel:
    """Returns a table of counts, with a row and a column for each value of two labels."""
    panel = _framed(table.Panel(), title, says, "short", width, 9).align(common_models.FieldTextAlignment.AUTO).decimals(0)
    panel.with_target(Query(query, format=PromQueryFormat.TABLE).build("A"))
    options = {"rowField": row, "columnField": column, "valueField": "Value", "emptyValue": "zero"}
    panel.with_transformation(models.DataTransformerConfig("groupingToMatrix", options=options))
    panel.thresholds(limits((1, "light-yellow"), (10, FAIR), (50, POOR), base="transparent"))
    panel.cell_options(common_models.TableColoredBackgroundCellOptions(mode=common_models.TableCellBackgroundDisplayMode.BASIC))
    return panel.links(_runbook(runbook))


def listing(title: str, says: str, query: str, hidden: Sequence[str], *, width: int = 12) -> Panel:
    """Returns the labels of series as a table, without those that are `hidden`."""
    panel = _framed(table.Panel(), title, says, "", width, 7).align(common_models.FieldTextAlignment.AUTO)
    panel.with_target(Query(query, format=PromQueryFormat.TABLE).build("A"))
    excluded = dict.fromkeys(("Time", "__name__", *hidden), True)
    panel.with_transformation(models.DataTransformerConfig("organize", options={"excludeByName": excluded}))
    return panel


def _framed(panel: _Drawn, title: str, says: str, unit: str, width: int, height: int) -> _Drawn:
    panel.title(title).description(says).datasource(SOURCE).span(width).height(height)
    if unit:
        panel.unit(unit)
    return panel


def _joined(panel: barchart.Panel | table.Panel, field: str, columns: dict[str, str]) -> None:
    for number, expression in enumerate(columns.values()):
        panel.with_target(Query(expression, format=PromQueryFormat.TABLE).build(chr(ord("A") + number)))
    panel.with_transformation(models.DataTransformerConfig("joinByField", options={"byField": field, "mode": "outer"}))
    times = ("Time", *(f"Time {number + 1}" for number in range(len(columns))))
    names = {f"Value #{chr(ord('A') + number)}": name for number, name in enumerate(columns)}
    if len(columns) == 1:
        names = {"Value": next(iter(columns))}
    organized = {"excludeByName": dict.fromkeys(times, True), "renameByName": names}
    panel.with_transformation(models.DataTransformerConfig("organize", options=organized))


def _runbook(alert: str) -> list[Builder[models.DashboardLink]]:
    if not alert:
        return []
    link = dashboard.DashboardLink(f"Runbook of {alert}").type(models.DashboardLinkType.LINK)
    return [link.url(RUNBOOK + alert.lower()).target_blank(True)]
