"""The plots are SVG that lies well within a page, whatever the machine and its matplotlib are set to."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from markupsafe import Markup

from eyasd.core.evaluation import EpochMetrics, ReliabilityBin
from eyasd.training.outcome.report import plots
from eyasd.training.outcome.report.curves import precision_recall

HISTORY = [EpochMetrics(i, 1 / (i + 1), loss, 0.8, 0.0, 0.0, 0.7) for i, loss in enumerate([0.5, 0.3, 0.4])]
BINS = [ReliabilityBin(i / 4, (i + 1) / 4, answers, i / 4 + 0.1, i / 5) for i, answers in enumerate([0, 3, 200, 4000])]


def curves(labels: int) -> list[Markup]:
    rng = np.random.default_rng(0)
    true = np.arange(labels) == np.arange(5 * labels)[:, None] % labels
    found = precision_recall(rng.random(true.shape, np.float32) / 2 + true / 3, true, [f"<{i}>" for i in range(labels)])
    assert found is not None
    plot, lines = plots.precision_recall(found)
    return [plot, *(line.sample for line in lines)]


def every() -> list[Markup]:
    return [*plots.learning(HISTORY), *plots.reliability(BINS), *curves(9)]


def test_each_is_well_formed_has_words_and_takes_its_colours_from_the_page() -> None:
    for svg in every():
        root = ET.fromstring(svg)  # noqa: S314 - our own
        assert (root.get("role") == "img" and root.get("aria-label")) or root.get("aria-hidden") == "true"
        assert not re.search(r"#[0-9a-f]{6}\b|https?:|<style|<metadata|font-family", svg)
        used = set(re.findall(r'(?:url\(|href=")#([\w-]+)', svg))
        assert used == {element.get("id") for element in root.iter() if element.get("id")}


def test_names_do_not_meet_in_one_page() -> None:
    found = [name for svg in every() for name in re.findall(r'id="([^"]+)"', svg)]
    assert len(found) == len(set(found))


def test_text_stays_text() -> None:
    words = "".join(ET.fromstring(plots.learning(HISTORY)[0]).itertext())  # noqa: S314 - our own
    for said in ("epoch", "loss, nats", "validation", "training", "least"):
        assert said in words


def test_they_are_the_same_each_time() -> None:
    assert every() == every()


@pytest.mark.parametrize("history", [HISTORY[:1] * 2, [HISTORY[0]] * 200])
def test_a_flat_or_a_long_history_is_drawn(history: list[EpochMetrics]) -> None:
    assert all(len(svg) < 60_000 for svg in plots.learning(history))


def test_few_answers_are_hatched() -> None:
    assert plots.reliability(BINS)[0].count("<pattern") == 1
    assert plots.reliability(BINS[2:])[0].count("<pattern") == 0


def test_lines_are_told_apart_by_more_than_their_colour() -> None:
    samples = curves(9)[1:]
    assert len(samples) == plots.HIGHLIGHTED + 1
    colourless = {re.sub(r"var\([^)]*\)|currentColor|id=\"[^\"]*\"|#\w+", "", sample) for sample in samples}
    assert len(colourless) == len(samples)
    assert len(curves(2)) == 4  # the plot, two labels, all together


def test_a_home_that_cannot_be_written_and_a_style_of_ones_own_change_nothing(tmp_path: Path) -> None:
    (tmp_path / "matplotlibrc").write_text("font.family: Nowhere Sans\naxes.grid: False\nsvg.fonttype: path\n")
    program = (
        "from eyasd.core.evaluation import ReliabilityBin\n"
        "from eyasd.training.outcome.report import plots\nimport sys\n"
        "assert 'matplotlib' not in sys.modules\n"
        "svg, _ = plots.reliability([ReliabilityBin(0.5, 0.75, 20, 0.6, 0.5)])\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
        "sys.stdout.write(svg)"
    )
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("XDG", "MPL"))}
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        cwd=tmp_path,
        env=environment | {"HOME": "/proc/nowhere"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    assert done.stdout == plots.reliability([ReliabilityBin(0.5, 0.75, 20, 0.6, 0.5)])[0]
