"""docs/metrics.md has every metric, and no other: its name, its type and its labels."""

from __future__ import annotations

import re
from pathlib import Path

from eyasd.telemetry.metrics import Metrics

PAGE = Path(__file__).parents[3] / "docs/metrics.md"


def test_the_page_and_the_daemon_agree() -> None:
    rows = re.findall(r"^\| `(eyas_\w+)` \| (\w+) \| ([\w, ]*?) ?\| (.+) \|$", PAGE.read_text(), re.MULTILINE)
    documented = [(name, kind, tuple(filter(None, labels.split(", ")))) for name, kind, labels, _ in rows]
    metrics = Metrics().registry.instruments
    assert sorted(documented) == sorted((metric.name, metric.kind, metric.label_names) for metric in metrics)
    assert all(metric.documentation.endswith(".") for metric in metrics)
