"""The report says what the manifest says, to people and only to people."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from dataclasses import replace
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from builders import write_bundle
from eyasd.core import document
from eyasd.core.bundle import MANIFEST, Manifest, read_manifest
from eyasd.core.choices import RankedBackbone
from eyasd.core.evaluation import EpochMetrics, ReliabilityBin
from eyasd.core.findings import (
    DatasetReport,
    DuplicateFile,
    DuplicateGroup,
    Duplicates,
    LabelCounts,
    Suspect,
    Suspects,
    UnreadableFile,
)
from eyasd.core.reference import Histogram, Reference
from eyasd.core.unknown import NEVER, ConfidenceRule, DistributionRule, UnknownRules
from eyasd.core.variants import Fidelity, Precision, Variant
from eyasd.training.data.listing import File
from eyasd.training.data.targets import as_flags
from eyasd.training.data.thumbnails import thumbnails
from eyasd.training.outcome.evaluate import confusion_matrix, label_metrics
from eyasd.training.outcome.report.curves import precision_recall
from eyasd.training.outcome.report.material import Look, Map, Material, Mistake
from eyasd.training.outcome.report.page import render

HOSTILE = "<script>alert('x')</script>\"&"


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    return read_manifest((write_bundle(tmp_path / "bundle") / MANIFEST).read_bytes())


class Page(HTMLParser):
    """The tags and the words of a page."""

    VOID = frozenset({"meta", "img", "br", "input"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.links: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value for name, value in attrs if name in {"src", "href", "action"} and value and value[0] != "#"]
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
    html = render("colours", manifest)
    page = Page(html)
    assert page.open == []
    assert page.links == []
    assert not re.search(r"https?:|@import|url\((?!#)", html)
    # The browser itself is told to fetch nothing, and to run this one script.
    script = html[html.index("<script>") + 8 : html.index("</script>")]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    assert f'content="{policy};' in html
    assert page.tags.count("script") == 1


def test_it_is_the_same_page_each_time(manifest: Manifest) -> None:
    history = (EpochMetrics(0, 1.0, 0.5, 0.8, 0.0, 0.0, 0.0),) * 3
    material = Material(curves=precision_recall(np.eye(3, dtype=np.float32), np.eye(3) == 1, list("abc")))
    assert len({render("colours", replace(manifest, history=history), material) for _ in range(2)}) == 1


def test_a_contact_sheet_is_shown_where_there_is_one(manifest: Manifest) -> None:
    assert "What training makes of a picture" not in Page(render("colours", manifest)).text
    page = Page(render("colours", manifest, Material(sheet="data:image/jpeg;base64,AAAA")))
    assert page.links == ["data:image/jpeg;base64,AAAA"]
    assert page.open == []
    assert "What training makes of a picture" in page.text


def test_several_labels_have_thresholds_and_no_confusion_matrix(manifest: Manifest) -> None:
    rows = tuple(replace(row, predicted_counts=(), threshold=0.25 + i / 8) for i, row in enumerate(manifest.evaluation.labels))
    evaluation = replace(manifest.evaluation, labels=rows, micro_f1=0.912, mean_average_precision=0.934)
    assert "What was taken for what" in Page(render("colours", manifest)).text
    page = Page(render("colours", replace(manifest, evaluation=evaluation, thresholds=(0.25, 0.375, 0.5))))
    assert page.open == []
    assert "What was taken for what" not in page.text
    for words in ("the whole set of its labels", "Micro F1 0.912", "Mean average precision 0.934", "Applies from", "0.375"):
        assert words in page.text


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
    assert HOSTILE not in html
    assert page.tags.count("script") == 1
    assert page.text.count(HOSTILE) >= 3 * len(evaluation.labels)


def test_values_that_were_asked_for_are_marked(manifest: Manifest) -> None:
    recipe = {"backbone": "resnet18", "epochs": "3", "dropout": "0.2"}
    lineage = replace(manifest.lineage, recipe=recipe, asked=("backbone", "budget", "epochs"))
    text = Page(render("m", replace(manifest, lineage=lineage))).text
    assert "Recipe backbone resnet18 (asked for) epochs 3 (asked for) dropout 0.2" in text
    ranking = (RankedBackbone(backbone="resnet18", image_size_px=224, multiply_adds=1.8, left_out="for the test"),)
    text = Page(render("m", replace(manifest, lineage=replace(lineage, ranking=ranking)))).text
    assert "Recipe backbone resnet18 epochs 3 (asked for) dropout 0.2" in text


def test_a_manifest_of_before_says_of_no_value_that_it_was_asked_for(manifest: Manifest) -> None:
    document_of_before = json.loads(document.dump(manifest))
    del document_of_before["lineage"]["asked"]
    page = render("m", read_manifest(json.dumps(document_of_before).encode()))
    assert "asked for" not in page


def test_a_version_without_an_epoch_has_no_curve(manifest: Manifest) -> None:
    epochs = (EpochMetrics(0, 0.0, 0.5, 0.8, 0.0, 0.0, 0.0), EpochMetrics(1, 1.0, 0.25, 0.9, 0.0, 0.0, 0.0))
    assert "svg" not in Page(render("colours", replace(manifest, history=epochs[:1]))).tags
    page = Page(render("colours", replace(manifest, history=epochs)))
    assert page.tags.count("svg") == 2
    assert "1 1.0000 0.2500 0.9000 0.0000" in page.text


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
    html = render("colours", replace(manifest, dataset_report=report), Material(thumbnails=shown))
    page = Page(html)
    assert page.open == []
    assert page.tags.count("img") == len(page.links) == 98
    assert all(link.startswith("data:image/jpeg;base64,") for link in page.links)
    assert len(html) < 1_000_000
    assert "77 of 3,409 pictures of train and validation bear a label" in page.text
    assert "these are the 50 most doubtful" in page.text
    assert "hat, rather shoes (0.98)" in page.text
    assert "540 files have an exact or near copy under another label, 720 in another split; 12 of the 120 groups" in page.text
    assert "and 2 more" in page.text


def test_the_names_of_shown_files_are_escaped(manifest: Manifest) -> None:
    report, files = findings(HOSTILE + "{}")
    report = replace(report, labels=manifest.dataset_report.labels)
    page = Page(
        render(
            "m",
            replace(manifest, dataset_report=report),
            Material(thumbnails=thumbnails(report, files, np.zeros((700, 8, 8, 3), np.uint8))),
        )
    )
    assert page.tags.count("script") == 1
    assert page.text.count(HOSTILE) == 98


def test_size_and_latency_are_told(manifest: Manifest) -> None:
    measured = replace(manifest, model_bytes=13_500_000, latency=timedelta(microseconds=14_250), latency_device="a CPU, 2 threads")
    text = Page(render("m", measured)).text
    assert "Latency 14.2 ms Size 13.5 MB" in text
    assert "14.2 ms for a picture by itself, on a CPU, 2 threads" in text
    assert "Latency" not in Page(render("m", manifest)).text


def test_a_leak_is_told_beside_the_accuracy(manifest: Manifest) -> None:
    leaky = replace(manifest.evaluation, leaked_examples=3, accuracy_without_leaked=0.875)
    text = Page(render("m", replace(manifest, evaluation=leaky))).text
    assert "3 of these pictures were seen in training, themselves or as near copies; on the others it is 87.5 % right." in text
    text = Page(render("m", replace(manifest, evaluation=replace(leaky, accuracy_without_leaked=None)))).text
    assert "3 of these pictures were seen in training, themselves or as near copies." in text
    assert "it had never seen" not in text
    text = Page(render("m", manifest)).text
    assert "test pictures it had never seen; with" in text
    assert "copy in train" not in text


def test_confidences_are_drawn_beside_what_they_were_worth(manifest: Manifest) -> None:
    bins = (
        ReliabilityBin(0.4, 0.5, 0, 0.0, 0.0),
        ReliabilityBin(0.5, 0.6, 10, 0.55, 0.4),
        ReliabilityBin(0.9, 1.0, 40, 0.97, 1.0),
    )
    html = render("colours", replace(manifest, evaluation=replace(manifest.evaluation, reliability=bins)))
    page = Page(html)
    assert page.tags.count("svg") == 2
    assert "55% sure, 40% right, 10 answers; 97% sure, 100% right, 40 answers" in html
    assert "0.90 to 1.00 40 0.970 1.000" in page.text
    assert "0.050 here; on the validation split it was 0.020 before and 0.020 after" in page.text
    assert "as sure as it should be" not in Page(render("colours", manifest)).text


def test_what_is_worth_a_warning_is_said_first(manifest: Manifest) -> None:
    rows = (*manifest.evaluation.labels[:2], replace(manifest.evaluation.labels[2], examples=4, recall=0.0))
    suspects = Suspects((), 7, 90)
    report = replace(manifest.dataset_report, warnings=("Few pictures.",), suspects=suspects)
    unsure = replace(manifest.evaluation, calibration_error=0.2, labels=rows)
    text = Page(render("colours", replace(manifest, evaluation=unsure, dataset_report=report))).text
    for sentence in (
        "The test split has 30 pictures only: each moves the accuracy by 3.3 points.",
        "1 of 3 labels have fewer than 10 test pictures, such as 'red'",
        "Of 1 label not one test picture was recognised, such as 'red'.",
        "on average it differs by 20 points from the share that is right",
        "7 of 90 labels of train and validation look wrong",
        "Few pictures.",
    ):
        assert text.index(sentence) < text.index("Precision")
    calm = replace(manifest, evaluation=replace(manifest.evaluation, examples=3000))
    assert "What to know before you trust it" not in Page(render("colours", calm)).text


def look(right: bool) -> Look:
    maps = (Map(label="hat", probability=0.75, true=right, picture="data:image/jpeg;base64,BBBB"),)
    return Look(path="test/a.jpg", right=right, picture="data:image/jpeg;base64,AAAA", maps=maps)


def test_mistakes_and_maps_are_shown_with_their_names(manifest: Manifest) -> None:
    mistake = Mistake(path=HOSTILE, picture="data:,", true=("hat",), given=(HOSTILE,), confidence=0.875, log_loss=2.0)
    page = Page(render("m", manifest, Material(mistakes=(mistake,), wrong=3, looks=(look(right=True), look(right=False)))))
    assert page.open == []
    assert "3 of 30 test pictures got a wrong answer; these are the 1 that it was surest of." in page.text
    assert f"is hat , was taken for {HOSTILE} with 87.5 %" in page.text
    assert "Right answers hat 75.0 % test/a.jpg Wrong answers hat 75.0 %, not true test/a.jpg" in page.text
    several = replace(mistake, true=(), given=("hat", "shoe"), confidence=None)
    rows = tuple(replace(row, predicted_counts=(), threshold=0.5) for row in manifest.evaluation.labels)
    scored = replace(manifest.evaluation, labels=rows, micro_f1=0.9, mean_average_precision=0.9)
    page = Page(render("m", replace(manifest, evaluation=scored, thresholds=(0.5,) * 3), Material(mistakes=(several,), wrong=1)))
    assert "is no label, was taken for hat , shoe ; log loss 2.00" in page.text
    assert "maps need a backbone that ends in an average" in page.text


def test_of_too_many_labels_for_one_there_is_no_confusion_matrix(manifest: Manifest) -> None:
    assert "What was taken for what" in Page(render("m", manifest)).text
    rows = tuple(replace(row, predicted_counts=()) for row in manifest.evaluation.labels)
    page = Page(render("m", replace(manifest, evaluation=replace(manifest.evaluation, labels=rows))))
    assert page.open == []
    assert "What was taken for what" not in page.text


def test_what_drift_is_seen_against_is_told(manifest: Manifest) -> None:
    reference = Reference(372, "test", 1, {"blue": 372}, {"brightness": Histogram((80.0, 95.5), (100, 172, 100), 45.74, 182.7)})
    page = Page(render("m", replace(manifest, reference=reference)))
    assert page.open == []
    for words in ("372 pictures of test", "brightness 45.7 183 80, 95.5"):
        assert words in page.text
    assert "drift" not in Page(render("m", manifest)).text


def test_rules_for_the_unknown_are_told(manifest: Manifest) -> None:
    rules = UnknownRules(DistributionRule("distance to the mean", 1.25, 0.99, 0.02), ConfidenceRule(0.95, (0.5, 0.75, NEVER)))
    scored = replace(manifest.evaluation, coverage=0.875, accepted_accuracy=0.96)
    page = Page(render("m", replace(manifest, unknown=rules, evaluation=scored)))
    assert page.open == []
    assert "87.5 % of the test pictures keep their answer, and 96.0 % of these are right." in page.text
    assert "its score is above 1.25 (distance to the mean). 99.0 % of the validation pictures are within that" in page.text
    assert "from which on 95.0 % of a label's answers were right" in page.text
    assert "Sure from" in page.text
    assert "0.900 never" in page.text
    assert "unknown" not in Page(render("m", manifest)).text


def test_other_precisions_are_shown_beside_the_network(manifest: Manifest) -> None:
    fidelity = Fidelity(
        examples=30,
        agreement=0.9875,
        accuracy=0.85,
        accuracy_lost=0.05,
        log_loss=0.3,
        calibration_error=0.06,
        calibration_error_grown=0.01,
    )
    variants = (
        Variant(precision=Precision.INT8, size_bytes=3_500_000, test=fidelity, speed=1.75, device="the CPU (2 threads)"),
        Variant(precision=Precision.FP16, refusal="it loses too much."),
    )
    page = Page(render("m", replace(manifest, variants=variants)))
    assert page.open == []
    assert "int8 3.5 MB 98.8 % 0.8500 0.060 1.75 times, on the CPU (2 threads) fp16 - - - - -" in page.text
    assert "fp16 is not served: it loses too much." in page.text


@pytest.mark.parametrize("multi_label", [False, True])
def test_a_thousand_labels_make_a_page_of_two_megabytes_in_seconds(manifest: Manifest, multi_label: bool) -> None:
    count = 1000
    labels = [f"label {i}" for i in range(count)]
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.full(count, 0.01), 3 * count).astype(np.float32)
    targets = np.arange(3 * count) % count
    rows = label_metrics(confusion_matrix(probabilities.argmax(1), targets, count), labels)
    evaluation = replace(manifest.evaluation, examples=len(targets), labels=rows)
    if multi_label:
        rows = tuple(replace(row, predicted_counts=(), threshold=0.5) for row in rows)
        evaluation = replace(evaluation, labels=rows, micro_f1=0.5, mean_average_precision=0.5)
    report = replace(manifest.dataset_report, labels=tuple(LabelCounts(label, 10, 3, 3) for label in labels))
    many = replace(
        manifest,
        evaluation=evaluation,
        dataset_report=report,
        thresholds=(0.5,) * count if multi_label else None,
        labels=tuple(labels),
    )
    curves = precision_recall(probabilities, as_flags(targets, count) == 1, labels)
    html = render("m", many, Material(curves=curves))
    page = Page(html)
    assert page.open == []
    assert len(html.encode()) < 1_000_000
    assert page.tags.count("tr") < 1200
    assert ("A matrix of 1000 labels has no room here" in page.text) is not multi_label
