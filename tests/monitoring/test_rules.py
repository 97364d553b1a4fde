"""The rules of Prometheus: sound, tried on series that set them off and on series that do not, and explained."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from queries import MONITORING, RULES, alerts, boards, names, panels, recorded, rules

PROMTOOL = shutil.which("promtool")
OPERATIONS = Path(__file__).parents[2] / "docs/operations.md"
TRIALS = sorted((MONITORING / "rules/tests").glob("*.yaml"))
needs_promtool = pytest.mark.skipif(PROMTOOL is None, reason="promtool comes with Prometheus")


def promtool(*arguments: str | Path) -> None:
    assert PROMTOOL
    done = subprocess.run([PROMTOOL, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@needs_promtool
def test_prometheus_takes_the_rules_and_the_example() -> None:
    promtool("check", "rules", *RULES)
    promtool("check", "config", MONITORING / "prometheus.yml")


@needs_promtool
@pytest.mark.parametrize("file", TRIALS, ids=lambda file: file.stem)
def test_alerts_fire_when_they_should_and_only_then(file: Path) -> None:
    promtool("test", "rules", file)


def test_each_alert_is_tried_both_ways() -> None:
    fires: set[str] = set()
    is_silent: set[str] = set()
    for file in TRIALS:
        for trial in yaml.safe_load(file.read_text())["tests"]:
            for told in trial["alert_rule_test"]:
                (fires if told.get("exp_alerts") else is_silent).add(told["alertname"])
    assert fires == is_silent == set(alerts())


@pytest.mark.parametrize("name", sorted(alerts()))
def test_each_alert_says_what_and_leads_to_its_runbook(name: str) -> None:
    rule = alerts()[name]
    assert rule["labels"].keys() == {"severity"}
    assert rule["labels"]["severity"] in {"critical", "warning"}
    told = rule["annotations"]
    assert told.keys() == {"summary", "description", "runbook_url"}
    assert "$value" in told["description"]
    assert told["description"].endswith(".")
    assert told["runbook_url"] == f"https://eyas.example/docs/operations.md#{name.lower()}"


def runbooks() -> dict[str, str]:
    """Returns each section below "Alerts" of docs/operations.md."""
    [section] = re.findall(r"^## Alerts\n(.*?)^## ", OPERATIONS.read_text(), re.MULTILINE | re.DOTALL)
    _, *parts = re.split(r"^### (\w+)\n", section, flags=re.MULTILINE)
    return dict(zip(parts[::2], parts[1::2], strict=True))


def test_each_alert_has_a_whole_runbook() -> None:
    assert runbooks().keys() == alerts().keys()
    for name, text in runbooks().items():
        found = re.fullmatch(r"\s*\*\*Means\*\* (.+)\*\*Look at\*\* (.+)\*\*Do\*\* (.+)", text, re.DOTALL)
        assert found, name
        assert all(len(part.split()) > 8 for part in found.groups()), name
        assert all(other in map(str.lower, alerts()) for other in re.findall(r"\(#(eyas\w+)\)", text)), name


def test_what_is_recorded_is_of_use() -> None:
    read = {name for rule in rules() for name in names(rule["expr"])}
    read |= {
        name
        for board in boards().values()
        for panel in panels(board)
        for query in panel["targets"]
        for name in names(query["expr"])
    }
    made = recorded().keys()
    assert made - read == set()
    assert {name for name in read if name.startswith("eyas:")} - made == set()


def test_the_operators_object_is_the_same_rules() -> None:
    made: dict[str, Any] = yaml.safe_load((MONITORING / "prometheus-rules.yaml").read_text())
    assert made["kind"] == "PrometheusRule"
    assert [rule for group in made["spec"]["groups"] for rule in group["rules"]] == list(rules())
    groups = [group["name"] for group in made["spec"]["groups"]]
    assert len(groups) == len(set(groups))
