"""What is asked of Prometheus by dashboards and rules, read from the files that Grafana and Prometheus read."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

MONITORING = Path(__file__).parents[1] / "k8s/monitoring"
RULES = sorted((MONITORING / "rules").glob("*.yaml"))
BOARDS = sorted((MONITORING / "grafana").glob("*.json"))

# What has no value in a daemon that does well and has no GPU, and why.
EMPTY = {
    r"eyas_gpu_(memory|utilization)_.*": "there is no GPU",
    r"eyas_gpu_decodes_total": "no JPEG is decoded by a GPU",
    r"eyas_decoder_ends_total": "pictures are decoded in threads",
    r"eyas_variant_speed_ratio": "the versions have no variants",
    r"eyas_batches_out_of_memory_total": "every batch fits",
    r"eyas_storage_errors_total|eyas:storage_errors:.*": "the store is a folder that is there",
    r"eyas_tracker_.*": "no tracker is told of jobs",
    r"eyas_database_errors_total|eyas:database_errors:.*": "the job database is there",
    r"eyas_credential_reloads_total|eyas:credential_reload_failures:.*": "no credential changes",
    r"eyas_model_cache_files_total": "no files of versions are kept",
}


@dataclass(frozen=True)
class Asked:
    """A query.

    Attributes:
        where: the dashboard and the panel, or the file and the rule.
        expression: the query, with what Grafana would put into it.
        instant: whether it is asked for the newest values alone.
    """

    where: str
    expression: str
    instant: bool = True


@cache
def rules() -> tuple[dict[str, Any], ...]:
    """Returns every rule."""
    return tuple(rule for file in RULES for group in yaml.safe_load(file.read_text())["groups"] for rule in group["rules"])


def alerts() -> dict[str, dict[str, Any]]:
    return {rule["alert"]: rule for rule in rules() if "alert" in rule}


def recorded() -> dict[str, str]:
    """Returns the recording rules that have a name, and their queries; some have two."""
    return {rule["record"]: rule["expr"] for rule in rules() if "record" in rule}


def boards() -> dict[str, dict[str, Any]]:
    return {file.stem: json.loads(file.read_text()) for file in BOARDS}


def panels(board: dict[str, Any]) -> Iterator[dict[str, Any]]:
    return (panel for panel in board["panels"] if panel["type"] != "row")


def asked(interval: str = "10s", span: str = "60s") -> Iterator[Asked]:
    """Returns every query of every panel, mark and rule, as Grafana asks where everything is chosen."""
    for name, board in boards().items():
        for panel in panels(board):
            for target in panel["targets"]:
                yield Asked(f"{name}: {panel['title']}", filled(target["expr"], interval, span), bool(target.get("instant")))
        for mark in board["annotations"]["list"]:
            yield Asked(f"{name}: mark {mark['name']}", filled(mark["expr"], interval, span))
    for rule in rules():
        yield Asked(f"rule {rule.get('record') or rule['alert']}", rule["expr"])


def filled(expression: str, interval: str, span: str) -> str:
    expression = expression.replace("$__rate_interval", interval).replace("$__range", span)
    return re.sub(r"\$(namespace|job|model|version|training)\b", ".*", expression)


def hastened(folder: Path, times: int = 1) -> list[Path]:
    """Writes the rules to a folder, as ones that are reckoned as often as all is scraped, on times so many times as short."""

    def shorter(found: re.Match[str]) -> str:
        seconds = int(found[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86400}[found[2]] // times
        return f"{max(2, seconds)}s"

    folder.mkdir(parents=True, exist_ok=True)
    for file in RULES:
        text = re.sub(r"^    interval: .*\n", "", file.read_text(), flags=re.MULTILINE)
        if times > 1:
            text = re.sub(r"(?<=\[)(\d+)([smhd])(?=\])", shorter, text)
            text = re.sub(r"(?<=offset )(\d+)([smhd])\b", shorter, text)
            text = re.sub(r"\b3600\b", str(3600 // times), text)
            text = re.sub(r"(?<= for: )(\d+)([smhd])\b", shorter, text)
        (folder / file.name).write_text(text)
    return sorted(folder.glob("*.yaml"))


def names(expression: str) -> set[str]:
    """Returns the series that a query reads: Eyas's own, what rules record, and whether a target is up."""
    return set(re.findall(r"\b(?:eyas[_:][a-zA-Z0-9_:]+|up\b)", re.sub(r'"[^"]*"', '""', expression)))
