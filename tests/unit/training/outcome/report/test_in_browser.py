"""The page in a real browser: it is sorted and switched by clicks, fits a phone, is readable in the dark, and asks for nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from browser import PROGRAM, Browser
from builders import write_bundle
from eyasd.core.bundle import MANIFEST, read_manifest
from eyasd.core.evaluation import EpochMetrics, ReliabilityBin
from eyasd.core.findings import LabelCounts, Suspect, Suspects
from eyasd.training.outcome.evaluate import label_metrics
from eyasd.training.outcome.report.curves import precision_recall
from eyasd.training.outcome.report.material import Look, Map, Material, Mistake
from eyasd.training.outcome.report.page import render

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(PROGRAM is None, reason="no Chromium here: the report is not looked at in a browser (apt install chromium)"),
]

PIXEL = "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"
LABELS = ["shirt", "a-long-label-" * 4, "10", "9", "<b>hat</b>"]
MATRIX = np.array([[5, 4, 0, 0, 1], [0, 9, 1, 0, 0], [0, 0, 30, 0, 0], [0, 0, 0, 7, 1], [9, 0, 0, 0, 1]])

# The contrast of every piece of text with what lies behind it (WCAG 2.2, 1.4.3), the poorest first.
CONTRASTS = """(() => {
  const parse = (css) => { const [r, g, b, a = 1] = css.match(/[\\d.]+/g).map(Number); return [r, g, b, a]; };
  const over = ([r, g, b, a], below) => [r, g, b].map((value, i) => a * value + (1 - a) * below[i]);
  const light = (rgb) => rgb.map((v) => v / 255).map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (element) => element
    ? over(parse(getComputedStyle(element).backgroundColor), behind(element.parentElement)) : [255, 255, 255];
  const found = [];
  for (const element of document.querySelectorAll("body *")) {
    const text = [...element.childNodes].filter((node) => node.nodeType === 3).map((node) => node.data.trim()).join("");
    if (!text || ["SCRIPT", "OPTION", "STYLE"].includes(element.tagName) || !element.getClientRects().length) continue;
    const style = getComputedStyle(element), page = behind(element);
    const ink = over(parse(element.tagName === "text" ? style.fill : style.color), page);
    const [dark, bright] = [light(ink), light(page)].sort((a, b) => a - b);
    found.push([(bright + 0.05) / (dark + 0.05), text.slice(0, 40)]);
  }
  return found.sort(([a], [b]) => a - b);
})()"""

ROWS = "[...document.querySelectorAll('{} tbody tr')].map(row => [...row.cells].map(cell => cell.textContent))"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with Browser(str(PROGRAM)) as started:
        yield started


@pytest.fixture
def page(tmp_path: Path) -> Callable[[list[str], np.ndarray], Path]:
    """Writes a report that has everything, of these labels and this confusion matrix."""

    def write(labels: list[str], matrix: np.ndarray) -> Path:
        manifest = read_manifest((write_bundle(tmp_path / "bundle") / MANIFEST).read_bytes())
        true = np.eye(len(labels), dtype=bool).repeat(3, 0)
        probabilities = np.random.default_rng(0).random(true.shape, np.float32) / 2 + true / 3
        bins = tuple(ReliabilityBin(i / 5, (i + 1) / 5, 5 * i, i / 5 + 0.1, i / 5) for i in range(5))
        mistake = Mistake(
            path="test/" + "x" * 90 + ".jpg", picture=PIXEL, true=("hat",), given=("shirt",), confidence=0.9, log_loss=3
        )
        maps = tuple(Map(label="hat", probability=0.5, true=right, picture=PIXEL) for right in (True, False))
        suspects = Suspects((Suspect("a.jpg", "hat", "shirt", 0.9),), 1, 90)
        manifest = replace(
            manifest,
            labels=tuple(labels),
            history=tuple(EpochMetrics(i, 0.5, 1 / (i + 1), 0.8 + i / 50, 0.0, 0.0, 0.7) for i in range(5)),
            evaluation=replace(manifest.evaluation, labels=label_metrics(matrix, labels), reliability=bins),
            dataset_report=replace(
                manifest.dataset_report,
                labels=tuple(LabelCounts(label, i, 1, 1) for i, label in enumerate(labels)),
                warnings=("There are few pictures.",),
                suspects=suspects,
            ),
            lineage=replace(manifest.lineage, recipe={"learning_rate": "0.001", "backbone": "b" * 80}, packages={"numpy": "2.3"}),
        )
        material = Material(
            thumbnails={"a.jpg": PIXEL},
            sheet=PIXEL,
            mistakes=(mistake,) * 3,
            wrong=3,
            looks=(Look(path="a" * 80, right=True, picture=PIXEL, maps=maps),) * 2,
            curves=precision_recall(probabilities, true, labels),
        )
        path = tmp_path / "report.html"
        path.write_text(render("clothing", manifest, material), "utf-8")
        return path

    return write


@pytest.fixture
def report(page: Callable[..., Path]) -> Path:
    return page(LABELS, MATRIX)


def choose(browser: Browser, order: str) -> list[list[str]]:
    """Orders the confusion matrix, and returns its rows."""
    browser.run(
        f"select = document.querySelector('#confusion select'); select.value = '{order}'; select.dispatchEvent(new Event('change'))"
    )
    rows: list[list[str]] = browser.run(ROWS.format(".confusion"))
    return rows


def test_the_confusion_matrix_is_ordered_and_shown_as_shares(browser: Browser, report: Path) -> None:
    browser.open(report)
    columns = "[...document.querySelectorAll('.confusion thead th')].map(cell => cell.textContent)"
    whole = [[label, *(str(count) if count else "·" for count in row)] for label, row in zip(LABELS, MATRIX, strict=True)]
    assert browser.run(ROWS.format(".confusion")) == whole
    # The lowest recall first: 1 of 10, 5 of 10, 7 of 8, 9 of 10, all.
    assert [row[0] for row in choose(browser, "recall")] == [LABELS[i] for i in (4, 0, 3, 1, 2)]
    assert browser.run(columns) == ["True", *(LABELS[i] for i in (4, 0, 3, 1, 2))]
    assert choose(browser, "recall")[0] == ["<b>hat</b>", "1", "9", "·", "·", "·"]
    # Mistakes in row and column: 14, 5, 1, 1 and 11.
    assert [row[0] for row in choose(browser, "mistakes")] == [LABELS[i] for i in (0, 4, 1, 2, 3)]
    browser.run("document.querySelector('#confusion input').click()")
    assert choose(browser, "label")[0] == ["shirt", "50 %", "40 %", "·", "·", "10 %"]
    browser.run("document.querySelector('#confusion input').click()")
    assert choose(browser, "label") == whole


def test_tables_are_sorted_by_any_column(browser: Browser, report: Path) -> None:
    browser.open(report)

    def labels_after(column: int) -> list[str]:
        browser.run(f"document.querySelectorAll('#labels th button')[{column}].click()")
        return [row[0] for row in browser.run(ROWS.format("#labels"))]

    assert labels_after(2) == [LABELS[i] for i in (4, 0, 3, 1, 2)]
    assert browser.run("document.querySelectorAll('#labels th')[2].ariaSort") == "ascending"
    assert labels_after(2) == [LABELS[i] for i in (2, 1, 3, 0, 4)]
    assert labels_after(0) == [LABELS[i] for i in (4, 3, 2, 1, 0)]  # 9 before 10
    assert browser.run("document.querySelectorAll('#labels [aria-sort]').length") == 1


def test_of_many_labels_the_worst_pairs_are_sorted(browser: Browser, page: Callable[..., Path]) -> None:
    matrix = 10 * np.eye(41, dtype=np.int64)
    matrix[3, :3] = 1, 2, 3
    browser.open(page([f"label {i}" for i in range(41)], matrix))
    assert browser.run("document.querySelectorAll('.confusion').length") == 0
    tables = ROWS.format("#confusion")
    assert browser.run(tables)[:2] == [["label 3", "label 2", "3", "18.8\u00a0%"], ["label 3", "label 1", "2", "12.5\u00a0%"]]
    browser.run("document.querySelectorAll('#confusion th button')[2].click()")
    assert browser.run(tables)[0] == ["label 3", "label 0", "1", "6.2\u00a0%"]


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [390, 1200])
def test_it_fits_and_is_readable(browser: Browser, report: Path, width: int, dark: bool) -> None:
    browser.complaints.clear()
    browser.requests.clear()
    browser.open(report, width=width, dark=dark)
    browser.run("document.querySelectorAll('details').forEach(one => one.open = true)")
    assert browser.run("document.documentElement.scrollWidth") == width
    contrasts = browser.run(CONTRASTS)
    assert len(contrasts) > 150
    assert contrasts[0][0] >= 4.5, contrasts[:5]
    assert (browser.run("getComputedStyle(document.documentElement).backgroundColor") == "rgb(255, 255, 255)") is not dark
    lines = browser.run("[0, 1, 2, 3, 4, 5].map(i => getComputedStyle(document.documentElement).getPropertyValue(`--series-${i}`))")
    assert all(contrast(line, "#14171a" if dark else "#ffffff") >= 3 for line in lines)  # of graphics: WCAG 2.2, 1.4.11
    assert browser.complaints == []
    assert browser.requests == [report.as_uri()]


def test_its_policy_lets_nothing_else_in(browser: Browser, report: Path, tmp_path: Path) -> None:
    changed = tmp_path / "changed.html"
    html = report.read_text("utf-8")
    changed.write_text(
        html.replace("</main>", "<img src='https://example.org/a.png'><script>document.title = 'run'</script></main>"), "utf-8"
    )
    browser.open(changed)
    assert browser.run("document.title").startswith("clothing: ")
    assert len([words for words in browser.complaints if "Content Security Policy" in words]) >= 2


def test_it_is_whole_without_its_script(browser: Browser, report: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare.html"
    html = report.read_text("utf-8")
    bare.write_text(html[: html.index("<script>")] + html[html.index("</script>") + 9 :], "utf-8")
    browser.open(bare)
    assert browser.run(ROWS.format(".confusion"))[0] == ["shirt", "5", "4", "·", "·", "1"]
    assert browser.run("getComputedStyle(document.querySelector('.controls')).display") == "none"
    assert browser.run("document.querySelectorAll('button').length") == 0


def contrast(colour: str, other: str) -> float:
    def light(css: str) -> float:
        parts = [int(css[i : i + len(css) // 3], 16) / (255 if len(css) == 6 else 15) for i in range(0, len(css), len(css) // 3)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    dark, bright = sorted((light(colour.strip().lstrip("#")), light(other.lstrip("#"))))
    return (bright + 0.05) / (dark + 0.05)
