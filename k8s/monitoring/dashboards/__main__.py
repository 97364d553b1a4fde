"""Writes what Grafana and Kubernetes read from what is written by hand: `python -m dashboards`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import yaml

from dashboards.capacity import capacity
from dashboards.quality import quality
from dashboards.service import service
from dashboards.training import training

_HERE = Path(__file__).parents[1]


def written() -> dict[Path, str]:
    """Returns every file that is written here, with what is in it."""
    boards = {"service": service(), "quality": quality(), "training": training(), "capacity": capacity()}
    files = {_HERE / "grafana" / f"{name}.json": json.dumps(board, indent=1, sort_keys=True) for name, board in boards.items()}
    files[_HERE / "prometheus-rules.yaml"] = yaml.safe_dump(_rules(), sort_keys=False, width=200)
    return {file: text.rstrip() + "\n" for file, text in files.items()}


def _rules() -> dict[str, Any]:
    """Returns rules/ as one object of the Prometheus operator."""
    groups = [group for file in sorted((_HERE / "rules").glob("*.yaml")) for group in yaml.safe_load(file.read_text())["groups"]]
    metadata = {"name": "eyas", "labels": {"app.kubernetes.io/name": "eyas"}}
    return {"apiVersion": "monitoring.coreos.com/v1", "kind": "PrometheusRule", "metadata": metadata, "spec": {"groups": groups}}


if __name__ == "__main__":
    for file, text in written().items():
        file.parent.mkdir(exist_ok=True)
        file.write_text(text)
