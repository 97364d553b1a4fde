"""The dashboards: what Grafana's schema knows, what a reader is told, and series that exist."""

from __future__ import annotations

import json
import re
from collections import Counter
from copy import deepcopy
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard

import eyasd.telemetry
from dashboards.__main__ import written
from dashboards.page import DOCS
from eyasd.telemetry.metrics import Metrics
from queries import MONITORING, alerts, boards, names, panels, rules

# Kept by every Grafana from 11 on; `graph`, `singlestat`, `table-old` and what is drawn by Angular are not.
PANELS = {"timeseries", "stat", "heatmap", "bargauge", "barchart", "table"}
# Metrics that no panel and no rule needs.
UNSHOWN = {
    "eyas_demand_ratio": "the panel reckons it over all servers, from the seconds that came and those that there were",
}
every_board = pytest.mark.parametrize("name", sorted(boards()))


def test_what_is_committed_is_what_the_source_says() -> None:
    for file, text in written().items():
        assert file.read_text() == text, f"{file.name} is not what `make dashboards` writes"


@every_board
def test_grafanas_schema_knows_every_field(name: str) -> None:
    register_default_plugins()
    board = boards()[name]
    known = deepcopy(board)
    for mark in known["annotations"]["list"]:
        del mark["titleFormat"]  # of Prometheus's own plugin
    again = json.loads(JSONEncoder().encode(Dashboard.from_json(known)))
    # A field that the schema does not know is left out on the way, a value that it does not know stops it.
    assert again == known
    assert board["schemaVersion"] >= 39


@every_board
def test_a_reader_is_told_what_each_panel_means(name: str) -> None:
    board = boards()[name]
    assert board["uid"] == f"eyas-{name}"
    assert [link["type"] for link in board["links"]] == ["dashboards", "link"]
    titles = Counter(panel["title"] for panel in panels(board))
    assert titles.most_common(1)[0][1] == 1
    for panel in panels(board):
        assert panel["type"] in PANELS
        assert panel["description"].endswith("."), panel["title"]
        assert ". " not in panel["description"], panel["title"]
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        unit = panel.get("fieldConfig", {"defaults": {}})["defaults"].get("unit") or panel.get("options", {}).get("yAxis", {}).get(
            "unit"
        )
        assert unit or panel["type"] == "table", panel["title"]
        assert [query["refId"] for query in panel["targets"]] == [chr(65 + number) for number in range(len(panel["targets"]))]
        for link in panel.get("links", []):
            [alert] = re.findall(r"^\$\{docs\}/operations\.md#(\w+)$", link["url"])
            assert alert in map(str.lower, alerts())


@every_board
def test_panels_do_not_overlap(name: str) -> None:
    taken: dict[tuple[int, int], str] = {}
    for panel in boards()[name]["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        for cell in (
            (x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])
        ):
            assert cell not in taken, (panel["title"], taken.get(cell))
            taken[cell] = panel["title"]
    assert len({panel["id"] for panel in boards()[name]["panels"]}) == len(boards()[name]["panels"])


@every_board
def test_queries_go_where_the_reader_chose(name: str) -> None:
    board = boards()[name]
    choices = {variable["name"] for variable in board["templating"]["list"]}
    assert {"datasource", "namespace", "job", "docs"} <= choices
    for panel in panels(board):
        for query in panel["targets"]:
            used = set(re.findall(r"\$(?:\{)?(\w+)", query["expr"])) - {"__rate_interval", "__range"}
            assert used <= choices, panel["title"]
            assert query["datasource"]["uid"] == "${datasource}"
            # A series of Eyas's own is chosen by namespace and job, wherever it stands.
            for series in re.findall(r"\beyas[_:][\w:]+(\{[^}]*\})?", query["expr"]):
                assert "$namespace" in series or "eyas:target_" in query["expr"], (panel["title"], query["expr"])


@every_board
def test_latencies_lead_to_traces(name: str) -> None:
    for panel in panels(boards()[name]):
        for query in panel["targets"]:
            if (
                "eyas_stage_seconds_bucket" in query["expr"]
                and "canary" not in query["legendFormat"]
                and "production" not in query["legendFormat"]
            ):
                assert query["exemplar"] or panel["type"] == "stat", panel["title"]


def counted() -> set[str]:
    """Returns every metric of the daemon's, as its samples are called."""
    families = {family.name + ("_total" if family.type == "counter" else "") for family in Metrics().registry.collect()}
    sources = chain.from_iterable(Path(path).glob("*.py") for path in eyasd.telemetry.__path__)
    return families | {found for source in sources for found in re.findall(r'"(eyas_[a-z_]+)"', source.read_text())}


def read() -> set[str]:
    """Returns every metric that is read by a panel, a choice, a mark or a rule."""
    asked = [rule["expr"] for rule in rules()]
    for board in boards().values():
        asked += [query["expr"] for panel in panels(board) for query in panel["targets"]]
        asked += [mark["expr"] for mark in board["annotations"]["list"]]
        asked += [str(choice["query"]).replace("'", "") for choice in board["templating"]["list"]]
    found = {name for expression in asked for name in names(expression) if name.startswith("eyas_")}
    return {re.sub(r"_(bucket|sum|count)$", "", name) for name in found}


def test_what_is_read_is_counted() -> None:
    assert read() - counted() == set()


def test_what_is_counted_is_read() -> None:
    assert counted() - read() == UNSHOWN.keys()


def test_kustomize_finds_every_file() -> None:
    component: dict[str, Any] = yaml.safe_load((MONITORING / "kustomization.yaml").read_text())
    assert component["kind"] == "Component"
    kept = dict(file.split("=") for map_ in component["configMapGenerator"] for file in map_["files"])
    assert kept == {f"eyas-{name}.json": f"grafana/{name}.json" for name in boards()}
    # What `kubectl apply` notes of an object has to fit an annotation.
    assert all((MONITORING / file).stat().st_size < 200_000 for file in [*kept.values(), *component["resources"]])


def test_documents_are_looked_for_in_one_place() -> None:
    assert {rule["annotations"]["runbook_url"].partition("/operations.md")[0] for rule in alerts().values()} == {DOCS}
