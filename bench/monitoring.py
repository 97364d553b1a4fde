"""What dashboards and alerts show of a load with a canary, a hot swap, an overload, other pictures, and answers that are wrong.

    python bench/monitoring.py [PHOTOS] [--out docs/monitoring]

Needs Prometheus; Alertmanager and Chromium are used if they are there. PHOTOS is a folder with train/ and test/ of class folders;
without it the handwritten digits of scikit-learn are taken. A version is trained, then another; the first answers under load, the
second is its shadow, its canary and its successor; then comes what is wrong. Some nine minutes, of which each stands for an hour:
the rules are those of k8s/monitoring with every time in them 60 times as short.

Writes results.md, a table of every query of dashboards and rules with what it returned and of every alert with when it fired, and
pictures of Prometheus's own graphs.
"""

from __future__ import annotations

import argparse
import math
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

import machine
from monitored.pictures import Pictures, blurred
from monitored.traffic import Traffic
from PIL import Image

import eyas

sys.path.append(str(Path(__file__).parents[1] / "tests"))
from browser import PROGRAM as CHROMIUM
from browser import Browser
from prometheus import Prometheus
from queries import EMPTY, Asked, alerts, asked, hastened, names

TIMES: Final = 60
MODEL: Final = "pictures"
RATE: Final = 25.0  # pictures a second
ALERTMANAGER: Final = shutil.which("prometheus-alertmanager")

# What has no value in this play beside what never has, and why.
EMPTY_HERE: Final = EMPTY | {
    r"eyas_canary_(fallbacks_total|rollbacks_.*)|eyas:canary_rollbacks:.*": "the canary does well",
    r"eyas_version_load_failures_total|eyas:version_load_failures:.*": "every version can be loaded",
    r"eyas_failed_attempts_total|eyas:failed_attempts:.*": "no training fails",
    r"eyas:engine_restarts:.*": "no engine ends by itself",
    r"eyas_shadow_flips_total": "the shadow agrees in all",
    r"eyas_images_total": "every picture gets a label",
}

# Pictures of graphs: their file, and the queries on it.
GRAPHS: Final = {
    "traffic": [
        "sum by (code) (rate(eyas_requests_total[5s]))",
        'histogram_quantile(0.99, sum by (le, stage) (rate(eyas_stage_seconds_bucket{stage=~"queue|inference|total"}[5s])))',
        "max(eyas_saturation_ratio)",
    ],
    "swap": [
        'sum by (version) (rate(eyas_requests_total{code="OK"}[5s]))',
        "sum by (version, label) (rate(eyas_shadow_images_total[5s]))",
        'histogram_quantile(0.99, sum by (le, version) (rate(eyas_stage_seconds_bucket{stage="total"}[5s])))',
    ],
    "drift": [
        'max by (signal) (eyas:drift_psi{window="1h"} / eyas:drift_psi_threshold{window="1h"})',
        'max by (version) (eyas:unknown_ratio{window="1h"})',
    ],
    "accuracy": [
        (
            "max by (version) (eyas:live_accuracy:ratio1h)"
            ' or label_replace(min by (version) (eyas_version_accuracy_low_ratio), "version", "$1, at least", "version", "(.*)")'
        ),
        "max by (version) (eyas:calibration_error:ratio1d)",
    ],
    "alerts": ['group by (alertname) (ALERTS{alertstate="firing"})'],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", nargs="?", type=Path)
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "docs/monitoring")
    parser.add_argument("--scale", type=float, default=1.0, help="of the length of each act [1]")
    options = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(machine.scratch()))
        metrics = machine.free_port()
        settings = {
            "EYASD_SERVING__CACHE_BYTES": "1000000",
            "EYASD_TRAINING__HUB": "false",
        }
        daemon = stack.enter_context(machine.daemon("all", folder / "data", settings=settings, metrics_port=metrics))
        told = stack.enter_context(_alertmanager(folder)) if ALERTMANAGER else None
        rules = hastened(folder / "rules", TIMES)
        prometheus = stack.enter_context(
            Prometheus(folder / "prometheus", {"eyas": f"127.0.0.1:{metrics}"}, rules, alertmanager=told)
        )
        begun = time.time()
        acts = _play(daemon.address, Pictures(options.photos, folder / "pictures"), options.scale)
        options.out.mkdir(parents=True, exist_ok=True)
        report = _report(prometheus, begun, acts)
        print(report)
        (options.out / "results.md").write_text(report)
        if CHROMIUM:
            _photograph(prometheus, time.time() - acts[1][0], options.out)


def _play(address: str, pictures: Pictures, scale: float) -> list[tuple[float, str]]:
    """Lets everything happen; returns when each act began, and its name."""
    acts: list[tuple[float, str]] = []

    def act(name: str, seconds: float = 0.0) -> None:
        acts.append((time.time(), name))
        print(f"{datetime.now(UTC):%H:%M:%S} {name}", flush=True)
        time.sleep(seconds * scale)

    with eyas.Client(address) as client:
        act("two trainings")
        for preset in ({"preset": "fast"}, {"preset": "balanced", "epochs": 2, "seed": 1}):
            training = client.train(str(pictures.training), MODEL, **preset, **pictures.settings)
            version = client.wait(training.id).version
        client.set_capture_policy(MODEL, enabled=True)
        with Traffic(address, MODEL, pictures, RATE) as traffic:
            act("load", 50)
            client.set_traffic(MODEL, shadow=eyas.Shadow(version, 100))
            act("shadow", 30)
            client.set_traffic(MODEL, canary=eyas.Canary(version, 30))
            act("canary", 40)
            client.set_traffic(MODEL)
            client.set_alias(MODEL, "production", int(version.rpartition("/")[2]), reason="the canary did well")
            act("hot swap", 40)
            with traffic.overload(callers=24):
                act("overload", 40)
            act("rest", 30)
            traffic.spoil = blurred
            act("other pictures", 75)
            traffic.spoil = None
            act("rest", 75)
            traffic.wrong = 0.5
            act("half of the answers are called wrong", 60)
            traffic.wrong = 0.0
            act("rest", 30)
    act("end")
    return acts


@contextmanager
def _alertmanager(folder: Path) -> Iterator[str]:
    config = folder / "alertmanager.yml"
    config.write_text("route: {receiver: nobody}\nreceivers: [{name: nobody}]\n")
    address = f"127.0.0.1:{machine.free_port()}"
    command = [str(ALERTMANAGER), f"--config.file={config}", f"--web.listen-address={address}", f"--storage.path={folder}/alerts"]
    with subprocess.Popen([*command, "--cluster.listen-address=", "--log.level=error"]) as process:
        try:
            yield address
        finally:
            process.terminate()


def _report(prometheus: Prometheus, begun: float, acts: Sequence[tuple[float, str]]) -> str:
    end = time.time()
    lines = [
        "# What dashboards and alerts showed",
        "",
        f"Written by `{' '.join(['bench/monitoring.py', *sys.argv[1:]])}`: {machine.describe()}. A minute stands for an hour.",
        "",
        "| at | act |",
        "|---:|---|",
        *(f"| {_minutes(at - begun)} | {name} |" for at, name in acts),
        "",
        "| alert | fired | in |",
        "|---|---|---|",
    ]
    for name in alerts():
        fired = _firing(prometheus, name, begun, end)
        during = dict.fromkeys(next(act for at, act in reversed(acts) if at <= max(since, acts[0][0])) for since, _ in fired)
        when = ", ".join(f"{_minutes(since - begun)} to {_minutes(until - begun)}" for since, until in fired)
        lines.append(f"| {name} | {when or 'never'} | {', '.join(during)} |")
    lines += ["", "| dashboard, panel | query | series | least | most | last |", "|---|---|---:|---:|---:|---:|"]
    for query in asked("5s", "600s"):
        found = prometheus.query_range(query.expression, begun, end, 2.0)
        values = [float(value) for series in found for _, value in series["values"] if math.isfinite(float(value))]
        told = [f"{figure:.4g}" for figure in (min(values), max(values), values[-1])] if values else ["", "", _why(query)]
        expression = " ".join(query.expression.split()).replace("|", "\\|")
        lines.append(f"| {query.where} | `{expression}` | {len(found)} | {' | '.join(told)} |")
    return "\n".join(lines) + "\n"


def _why(query: Asked) -> str:
    """Returns why a query has no value."""
    if query.where.removeprefix("rule ") in alerts():
        return "silent"
    series = [re.sub(r"_(bucket|sum|count)$", "", name) for name in names(query.expression)]
    return next((why for pattern, why in EMPTY_HERE.items() if any(re.fullmatch(pattern, name) for name in series)), "**empty**")


def _firing(prometheus: Prometheus, alert: str, begun: float, end: float) -> list[tuple[float, float]]:
    """Returns from when to when an alert fired for anything."""
    found = prometheus.query_range(f'count(ALERTS{{alertname="{alert}",alertstate="firing"}})', begun, end, 1.0)
    times = [float(at) for series in found for at, _ in series["values"]]
    spans: list[tuple[float, float]] = []
    for at in times:
        if spans and at - spans[-1][1] <= 2.0:
            spans[-1] = spans[-1][0], at
        else:
            spans.append((at, at))
    return spans


def _minutes(seconds: float) -> str:
    return str(timedelta(seconds=int(seconds)))[2:]


def _photograph(prometheus: Prometheus, seconds: float, out: Path) -> None:
    assert CHROMIUM
    with Browser(CHROMIUM) as browser:
        for name, queries in GRAPHS.items():
            asked_for: dict[str, Any] = {}
            for number, query in enumerate(queries):
                asked_for |= {f"g{number}.expr": query, f"g{number}.tab": 0, f"g{number}.range_input": f"{int(seconds)}s"}
                if query.startswith("group"):
                    asked_for[f"g{number}.stacked"] = 1
            browser.open(f"{prometheus.address}/graph?{urlencode(asked_for)}", width=1000, height=700)
            time.sleep(5.0)  # for all queries of the page
            browser.run(_QUIET)
            with Image.open(BytesIO(browser.screenshot(whole=True))) as picture:
                picture.convert("RGB").save(out / f"{name}.webp", quality=70, method=6)


# Leaves the queries, the graphs and their legends.
_QUIET: Final = """
document.head.insertAdjacentHTML('beforeend', `<style>
  nav, .query-history, .btn, .insert_metric, select, .nav-tabs, .graph_controls, .prometheus_input_group, .alert, .remove_graph,
  #add_graph, a, .eval_stats, input, label { display: none !important }
  body { padding: 0 } textarea { border: 0 !important; height: 3.2em !important }
</style>`)
"""


if __name__ == "__main__":
    main()
