"""The report says what the manifest says, to people and only to people."""

from __future__ import annotations

from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from builders import write_bundle
from eyasd.core.bundle import MANIFEST, Manifest, read_manifest
from eyasd.core.types import EpochMetrics, UnreadableFile
from eyasd.training.report import render

HOSTILE = "<script>alert('x')</script>\"&"


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    return read_manifest((write_bundle(tmp_path / "bundle") / MANIFEST).read_bytes())


class Page(HTMLParser):
    """The tags and the words of a page."""

    VOID = frozenset({"meta", "line", "circle", "polyline"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.links: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in {"src", "href", "action"}]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def test_it_stands_alone_and_is_well_formed(manifest: Manifest) -> None:
    page = Page(render("colours", manifest))
    assert page.open == []
    assert page.links == []
    assert "script" not in page.tags


def test_it_leads_with_the_accuracy_and_its_interval(manifest: Manifest) -> None:
    text = Page(render("colours", manifest)).text
    low, high = manifest.evaluation.accuracy_interval
    assert f"{100 * manifest.evaluation.accuracy:.1f} % right" in text
    assert f"between {100 * low:.1f} % and {100 * high:.1f} %" in text
    assert manifest.dataset_report.digest in text


def test_names_from_outside_are_escaped(manifest: Manifest) -> None:
    evaluation = replace(manifest.evaluation, labels=tuple(replace(row, label=HOSTILE) for row in manifest.evaluation.labels))
    report = replace(manifest.dataset_report, warnings=(HOSTILE,), unreadable_files=(UnreadableFile(HOSTILE, HOSTILE),))
    lineage = replace(manifest.lineage, dataset=HOSTILE, recipe={HOSTILE: HOSTILE})
    html = render(HOSTILE, replace(manifest, evaluation=evaluation, dataset_report=report, lineage=lineage))
    page = Page(html)
    assert "<script" not in html
    assert "script" not in page.tags
    assert page.text.count(HOSTILE) >= 3 * len(evaluation.labels)


def test_the_curve_is_drawn_from_two_epochs_on(manifest: Manifest) -> None:
    epochs = tuple(
        EpochMetrics(i, 1.0, loss, accuracy, 0.0, 0.0, 0.0)
        for i, (loss, accuracy) in enumerate([(0.5, 0.8), (0.3, 0.9), (0.4, 0.95)])
    )
    assert "svg" not in Page(render("colours", replace(manifest, history=epochs[:1]))).tags
    html = render("colours", replace(manifest, history=epochs))
    assert Page(html).tags.count("circle") == 3
    assert html.count('r="6"') == 1
    assert "<title>epoch 1: 90.0%</title>" in html[html.index('r="6"') :][:80]
    assert "svg" in Page(render("colours", replace(manifest, history=(epochs[0],) * 2))).tags  # a flat curve divides by no zero
