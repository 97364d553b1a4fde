"""The report says what the manifest says, to people and only to people."""

from __future__ import annotations

import json
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from builders import write_bundle
from eyasd.core import document
from eyasd.core.bundle import MANIFEST, Manifest, read_manifest
from eyasd.core.choices import RankedBackbone
from eyasd.core.evaluation import EpochMetrics, ReliabilityBin
from eyasd.core.findings import DuplicateFile, DuplicateGroup, Duplicates, Suspect, Suspects, UnreadableFile
from eyasd.core.types import DatasetReport
from eyasd.training.data.listing import File
from eyasd.training.data.thumbnails import thumbnails
from eyasd.training.outcome.report import render

HOSTILE = "<script>alert('x')</script>\"&"


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    return read_manifest((write_bundle(tmp_path / "bundle") / MANIFEST).read_bytes())


class Page(HTMLParser):
    """The tags and the words of a page."""

    VOID = frozenset({"meta", "line", "circle", "polyline", "img", "br"})

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
    page = Page(render("colours", manifest, {}))
    assert page.open == []
    assert page.links == []
    assert "script" not in page.tags


def test_a_contact_sheet_is_shown_where_there_is_one(manifest: Manifest) -> None:
    assert "What training makes of a picture" not in Page(render("colours", manifest, {})).text
    page = Page(render("colours", manifest, {}, "data:image/jpeg;base64,AAAA"))
    assert page.links == ["data:image/jpeg;base64,AAAA"]
    assert page.open == []
    assert "What training makes of a picture" in page.text


def test_several_labels_have_thresholds_and_no_confusion_matrix(manifest: Manifest) -> None:
    rows = tuple(replace(row, predicted_counts=(), threshold=0.25 + i / 8) for i, row in enumerate(manifest.evaluation.labels))
    evaluation = replace(manifest.evaluation, labels=rows, micro_f1=0.912, mean_average_precision=0.934)
    assert "What was taken for what" in Page(render("colours", manifest, {})).text
    page = Page(render("colours", replace(manifest, evaluation=evaluation, thresholds=(0.25, 0.375, 0.5)), {}))
    assert page.open == []
    assert "What was taken for what" not in page.text
    for words in ("the whole set of its labels", "Micro F1 0.912", "Mean average precision 0.934", "Applies from", "0.375"):
        assert words in page.text


def test_it_leads_with_the_accuracy_and_its_interval(manifest: Manifest) -> None:
    text = Page(render("colours", manifest, {})).text
    low, high = manifest.evaluation.accuracy_interval
    assert f"{100 * manifest.evaluation.accuracy:.1f} % right" in text
    assert f"between {100 * low:.1f} % and {100 * high:.1f} %" in text
    assert manifest.dataset_report.digest in text


def test_names_from_outside_are_escaped(manifest: Manifest) -> None:
    evaluation = replace(manifest.evaluation, labels=tuple(replace(row, label=HOSTILE) for row in manifest.evaluation.labels))
    report = replace(manifest.dataset_report, warnings=(HOSTILE,), unreadable_files=(UnreadableFile(HOSTILE, HOSTILE),))
    lineage = replace(manifest.lineage, dataset=HOSTILE, recipe={HOSTILE: HOSTILE})
    html = render(HOSTILE, replace(manifest, evaluation=evaluation, dataset_report=report, lineage=lineage), {})
    page = Page(html)
    assert "<script" not in html
    assert "script" not in page.tags
    assert page.text.count(HOSTILE) >= 3 * len(evaluation.labels)


def test_values_that_were_asked_for_are_marked(manifest: Manifest) -> None:
    recipe = {"backbone": "resnet18", "epochs": "3", "dropout": "0.2"}
    lineage = replace(manifest.lineage, recipe=recipe, asked=("backbone", "budget", "epochs"))
    text = Page(render("m", replace(manifest, lineage=lineage), {})).text
    assert text.endswith("backbone resnet18 (asked for) epochs 3 (asked for) dropout 0.2")
    ranking = (RankedBackbone(backbone="resnet18", image_size_px=224, multiply_adds=1.8, left_out="for the test"),)
    text = Page(render("m", replace(manifest, lineage=replace(lineage, ranking=ranking)), {})).text
    assert text.endswith("backbone resnet18 epochs 3 (asked for) dropout 0.2")


def test_a_manifest_of_before_says_of_no_value_that_it_was_asked_for(manifest: Manifest) -> None:
    document_of_before = json.loads(document.dump(manifest))
    del document_of_before["lineage"]["asked"]
    page = render("m", read_manifest(json.dumps(document_of_before).encode()), {})
    assert "asked for" not in page


def test_the_curve_is_drawn_from_two_epochs_on(manifest: Manifest) -> None:
    epochs = tuple(
        EpochMetrics(i, 1.0, loss, accuracy, 0.0, 0.0, 0.0)
        for i, (loss, accuracy) in enumerate([(0.5, 0.8), (0.3, 0.9), (0.4, 0.95)])
    )
    assert "svg" not in Page(render("colours", replace(manifest, history=epochs[:1]), {})).tags
    html = render("colours", replace(manifest, history=epochs), {})
    assert Page(html).tags.count("circle") == 3
    assert html.count('r="6"') == 1
    assert "<title>epoch 1: 90.0%</title>" in html[html.index('r="6"') :][:80]
    assert "svg" in Page(render("colours", replace(manifest, history=(epochs[0],) * 2), {})).tags  # a flat curve divides by no zero


def findings(name: str = "{}.jpg") -> tuple[DatasetReport, list[File]]:
    """Returns a report of as many suspects and groups as there can be, and the files it names."""
    files = [File(Path("/"), name.format(i), ("a",), "train") for i in range(700)]
    names = [file.name for file in files]
    pictures = tuple(Suspect(path, "hat", "shoes", 0.98) for path in names[:50])
    groups = tuple(
        DuplicateGroup(
            False, i < 90, True, tuple(DuplicateFile(path, "hat", "train") for path in names[50 + 6 * i : 56 + 6 * i]), 6
        )
        for i in range(100)
    )
    report = DatasetReport((), (), (), "d", None, Duplicates(groups, 120, 720, 540, 720), Suspects(pictures, 77, 3409))
    return report, files


def test_suspects_and_copies_are_shown_in_a_page_of_less_than_a_megabyte(manifest: Manifest) -> None:
    report, files = findings()
    noise = np.random.default_rng(0).integers(0, 256, (len(files), 224, 224, 3), np.uint8)
    shown = thumbnails(report, files, noise)
    assert len(shown) == 50 + 12 * 4
    report = replace(report, labels=manifest.dataset_report.labels)
    html = render("colours", replace(manifest, dataset_report=report), shown)
    page = Page(html)
    assert page.open == []
    assert page.tags.count("img") == len(page.links) == 98
    assert all(link.startswith("data:image/jpeg;base64,") for link in page.links)
    assert len(html) < 1_000_000
    assert "77 of 3409 pictures of train and validation bear a label" in page.text
    assert "these are the 50 most doubtful" in page.text
    assert "hat, rather shoes (0.98)" in page.text
    assert "540 files have an exact or near copy under another label, 720 in another split; 12 of the 120 groups" in page.text
    assert "and 2 more" in page.text


def test_the_names_of_shown_files_are_escaped(manifest: Manifest) -> None:
    report, files = findings(HOSTILE + "{}")
    report = replace(report, labels=manifest.dataset_report.labels)
    page = Page(
        render("m", replace(manifest, dataset_report=report), thumbnails(report, files, np.zeros((700, 8, 8, 3), np.uint8)))
    )
    assert "script" not in page.tags
    assert page.text.count(HOSTILE) == 98


def test_a_leak_is_told_beside_the_accuracy(manifest: Manifest) -> None:
    leaky = replace(manifest.evaluation, leaked_examples=3, accuracy_without_leaked=0.875)
    text = Page(render("m", replace(manifest, evaluation=leaky), {})).text
    assert "3 of these pictures were seen in training, themselves or as near copies; on the others it is 87.5 % right." in text
    text = Page(render("m", replace(manifest, evaluation=replace(leaky, accuracy_without_leaked=None)), {})).text
    assert "3 of these pictures were seen in training, themselves or as near copies." in text
    assert "it had never seen" not in text
    text = Page(render("m", manifest, {})).text
    assert "test pictures it had never seen; with" in text
    assert "copy in train" not in text


def test_confidences_are_drawn_beside_what_they_were_worth(manifest: Manifest) -> None:
    bins = (
        ReliabilityBin(0.4, 0.5, 0, 0.0, 0.0),
        ReliabilityBin(0.5, 0.6, 10, 0.55, 0.4),
        ReliabilityBin(0.9, 1.0, 40, 0.97, 1.0),
    )
    page = Page(render("colours", replace(manifest, evaluation=replace(manifest.evaluation, reliability=bins)), {}))
    assert page.tags.count("rect") == 4  # two bins in two diagrams; an empty one is not drawn
    assert "10 answers with 55% confidence on average, 40% right" in page.text
    assert "0.90 to 1.00 40 0.970 1.000" in page.text
    assert "as sure as it should be" not in Page(render("colours", manifest, {})).text
