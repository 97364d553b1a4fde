"""What a person sees, in a terminal of 80 columns."""

from __future__ import annotations

import io
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from rich.console import Console

import eyas
from eyas import _convert, _evaluation
from eyas._command import (
    render_answers,
    render_comparison,
    render_dataset,
    render_evaluation,
    render_jobs,
    render_models,
    render_version,
    words,
)
from eyas._command.cautions import cautions
from eyas.v1.classification_service_pb2 import ClassifyRequest, Image, Unknown
from eyas.v1.model_pb2 import DistributionRule
from replies import (
    alias_message,
    classified,
    compared_message,
    evaluation_message,
    inspected_message,
    job_message,
    model_message,
    progress_message,
    version_message,
)


def shown(renderable: Any, width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width, highlight=False)
    console.print(renderable)
    return console.file.getvalue()  # type: ignore[attr-defined]


@pytest.mark.parametrize("labels", [2, 6, 10, 14])
def test_a_confusion_matrix_fits_80_columns(labels: int) -> None:
    text = shown(render_evaluation.evaluation(_evaluation.evaluation(evaluation_message(labels)), "clothing/3"))
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text
    rows = [line for line in text.splitlines() if "label 1" in line and ("9" in line.split())]
    assert rows, text
    assert "accuracy 0.9000 (95 % interval 0.744 to 0.965), macro F1 0.9300" in " ".join(text.split())
    assert "a/b.jpg: It is cut short." in text


def test_a_label_is_text_and_no_markup() -> None:
    message = evaluation_message(2)
    message.labels[0].label = "[red]hot[/]"
    assert "[red]hot[/]" in shown(render_evaluation.evaluation(_evaluation.evaluation(message), "m/1"))


def test_many_labels_do_not_break_the_table() -> None:
    text = shown(render_evaluation.evaluation(_evaluation.evaluation(evaluation_message(100)), "clothing/3"))
    assert max(map(len, text.splitlines())) <= 80
    assert "label 99" in text


def test_pictures_and_their_errors() -> None:
    answers = _convert.classifications(classified(ClassifyRequest(images=[Image(content=b"shirt"), Image(content=b"bad")])))
    text = shown(render_answers.classifications(zip(["a.jpg", "b.jpg"], answers, strict=True)))
    assert "shirt" in text
    assert "0.750" in text
    assert "The picture is cut short." in " ".join(text.split())


def test_an_unknown_picture_says_why() -> None:
    message = classified(ClassifyRequest(images=[Image(content=b"shirt")] * 4))
    for result, reason, threshold in zip(message.results, (1, 2, 2, 99), (3.5, 0.9, 2.0, 0.0), strict=True):
        result.classification.predictions[0].applies = False
        result.classification.unknown.CopyFrom(Unknown(reason=reason, score=0.75, threshold=threshold, share=0.985))  # type: ignore[arg-type]
    message.results[0].classification.ood_score = 4.5
    answers = _convert.classifications(message)
    first = answers[0]
    assert isinstance(first, eyas.Classification)
    assert (first.label, first.labels, first.ood_score) == ("shirt", (), 4.5)
    assert first.unknown == eyas.Unknown(eyas.UnknownReason.OUT_OF_DISTRIBUTION, 0.75, 3.5, 0.985)
    table = render_answers.classifications((f"{i}.jpg", answer) for i, answer in enumerate(answers))
    text = " ".join(shown(table, 160).replace("│", "").split())
    assert "0.jpg unknown: less like the training pictures than 98.5 % of known ones shirt 0.750 clothing/3" in text
    assert "1.jpg unknown: its most probable label has 0.750, answers that are 98.5 % right have 0.900" in text
    assert "2.jpg unknown: answers of its most probable label are not right 98.5 % of the time, however probable" in text
    assert "3.jpg unknown: for a reason that a newer eyas knows" in text


def test_a_version_says_what_is_unknown_to_it() -> None:
    message = version_message()
    message.unknown.distribution.CopyFrom(DistributionRule(method="far", threshold=3.5, known_share=0.99, refused=0.021))
    message.unknown.confidence.min_precision = 0.98
    message.unknown.confidence.thresholds.add(label="label 0", threshold=0.9)
    message.unknown.confidence.thresholds.add(label="label 1", threshold=2.0)
    message.evaluation.coverage, message.evaluation.accepted_accuracy = 0.875, 0.9875
    version = _convert.model_version(message)
    assert version.unknown is not None
    assert version.unknown.confidence == eyas.ConfidenceRule(0.98, {"label 0": 0.9, "label 1": 2.0})
    text = " ".join(shown(render_version.version(version)).split())
    assert "unknown a score above 3.500, where 99 % of known pictures stay below; 2.1 % of the test pictures are above" in text
    assert "or less sure than label 0 0.900, label 1 never, for a precision of 0.98" in text
    accepted = "with --allow-unknown, 12.5 % of the pictures are unknown; of the others 0.9875 are right"
    assert accepted in text
    assert accepted in " ".join(shown(render_evaluation.evaluation(version.evaluation, "clothing/3")).split())


def test_several_labels_have_thresholds_and_no_confusion_matrix() -> None:
    message = evaluation_message(2)
    message.micro_f1, message.mean_average_precision = 0.88, 0.95
    for row in message.labels:
        del row.predicted_counts[:]
        row.threshold = 0.375
    text = shown(render_evaluation.evaluation(_evaluation.evaluation(message), "clothing/3"))
    assert "confusion" not in text
    assert text.count("0.375") == 2
    assert (
        "whole sets of labels right 0.9000 (95 % interval 0.744 to 0.965), micro F1 0.8800, mean average precision 0.9500, "
        "macro F1 0.9300, calibration error 0.020"
    ) in " ".join(text.split())


def test_of_too_many_labels_for_one_there_is_no_confusion_matrix() -> None:
    message = evaluation_message(2)
    assert "confusion matrix" in shown(render_evaluation.evaluation(_evaluation.evaluation(message), "clothing/3"))
    for row in message.labels:
        del row.predicted_counts[:]
    text = shown(render_evaluation.evaluation(_evaluation.evaluation(message), "clothing/3"))
    assert "confusion" not in text
    assert "threshold" not in text
    assert "accuracy 0.9" in text


def test_figures_have_their_intervals() -> None:
    scored = _evaluation.evaluation(evaluation_message())
    lines = [
        " ".join(line.replace("│", " ").split()) for line in shown(render_evaluation.evaluation(scored, "clothing/3")).splitlines()
    ]
    assert "ROC AUC 0.8750 0.7750 to 0.9250" in lines
    assert not any(line.startswith(("micro", "accuracy 0.9000 0.8")) for line in lines)  # the headline has the accuracy
    several = shown(render_evaluation.evaluation(replace(scored, micro_f1=0.9), "clothing/3"))
    assert "micro F1" in several
    assert (
        "95 % interval" not in shown(render_evaluation.evaluation(replace(scored, figures=()), "clothing/3")).split("accuracy")[0]
    )


def test_a_comparison_says_what_is_better_and_what_changed() -> None:
    text = shown(render_comparison.comparisons(_convert.job(compared_message())))
    lines = [" ".join(line.replace("│", " ").replace("┃", " ").split()) for line in text.splitlines()]
    assert lines[0] == "clothing/2 beside clothing/3: 30 pictures"
    for line in (
        "accuracy 0.9667 0.7000 -0.2667 -0.3667 to -0.2167",
        "log loss 0.1000 0.9000 +0.8000 +0.7000 to +0.8500",
        "macro F1 0.9600 0.9500 -0.0100 -0.1100 to +0.0400",
        "size 13.0 MB 26.0 MB",
        "one picture 12.34 ms 5.00 ms",
        "a picture of 32 6.17 ms 2.50 ms",
        "label [0] 10 1 9",
        "label 1 20 · ·",
        "150 pictures are given other labels:",
        "[hat]/00.jpg hat hat 0.90 shoes 0.80",
        "and 130 more; see --json",
    ):
        assert line in lines
    assert (
        "right: both 20, only clothing/3 9, only clothing/2 1, neither 0; clothing/2 is less accurate "
        "(McNemar's exact test, p = 0.021)"
    ) in " ".join(lines)


def test_what_to_know_before_figures_are_believed() -> None:
    scored = _evaluation.evaluation(evaluation_message())
    assert cautions(scored) == []
    assert cautions(replace(scored, test_split_looks=1)) == []
    doubtful = replace(scored, leaked_examples=2, missing_examples=3, test_split_looks=7)
    text = " ".join(shown(render_evaluation.evaluation(doubtful, "clothing/3")).split())
    assert "2 of them were seen in training, themselves or as near copies." in text
    assert "3 pictures of the split are not in the dataset any more, and so not scored." in text
    assert "These pictures have been looked at 7 times; the more often a choice was made by them, the less" in text
    (one,) = cautions(replace(scored, missing_examples=1))
    assert one.plain == "1 picture of the split is not in the dataset any more, and so not scored."


def test_a_comparison_without_a_difference() -> None:
    message = compared_message()
    found = message.comparisons[0]
    found.p_value, found.only_first_right, found.changed_count, found.left_out_count = 1.0, 1, 0, 7
    text = " ".join(shown(render_comparison.comparisons(_convert.job(message))).split())
    assert "no more of a difference than chance may make (McNemar's exact test, p = 1)" in text
    assert "Both give every picture the same labels." in text
    assert "30 pictures 7 pictures left out, which one of the two was trained on and the other was not." in text


def test_which_labels_apply_is_told_of_a_model_of_several() -> None:
    message = classified(ClassifyRequest(images=[Image(content=b"shirt")]))
    first = message.results[0].classification.predictions[0]
    (one,) = _convert.classifications(message)
    assert "applies" not in shown(render_answers.classifications([("a.jpg", one)]))
    message.multi_label = True
    message.results[0].classification.predictions.add(label="red", class_index=2, probability=0.25)
    (several,) = _convert.classifications(message)
    assert isinstance(several, eyas.Classification)
    assert (several.label, several.labels) == (first.label, ("shirt",))
    text = shown(render_answers.classifications([("a.jpg", several)]))
    assert [line.split("│")[1:4] for line in text.splitlines() if "0." in line] == [
        [" shirt ", "       0.750 ", " yes     "],
        [" red   ", "       0.250 ", " no      "],
    ]


def test_pictures_of_several_labels_are_counted_once() -> None:
    report = _convert.job(inspected_message()).dataset_report
    assert report is not None
    text = shown(render_dataset.dataset(replace(report, split_sizes=eyas.SplitSizes(7, 1, 2)), "/photos"))
    assert "/photos: 10 pictures" in text
    assert next(line for line in text.splitlines() if line.startswith("all")).split() == [
        "all",
        "│",
        "7",
        "│",
        "1",
        "│",
        "2",
        "│",
        "10",
    ]


def test_jobs_and_models() -> None:
    failed = job_message("FAILED", job="def")
    failed.error.message = "There are too few pictures in 'shoes': 1."
    text = shown(render_jobs.jobs([_convert.job(job_message()), _convert.job(failed), _convert.job(job_message("QUEUED"))]))
    assert "0.9000" in text
    assert "1:30" in text
    model = _convert.model(model_message())
    assert "production -> 3" in shown(render_models.models([model]))
    broken = version_message(2, "FAILED")
    broken.serving_error.message = "model.onnx was changed."
    text = shown(render_models.model(model, [_convert.model_version(version_message()), _convert.model_version(broken)]))
    assert "2026-03-01" in text
    assert "clothing/2 cannot be served: model.onnx was changed." in text
    assert "clothing/3 started from garments/2" in text
    assert max(map(len, text.splitlines())) <= 80
    words = " ".join(text.split())
    assert "(int8)" in words
    assert "clothing/3 in int8: 3.6 MB, 1.50 times as fast on the CPU (2 threads), agrees on 0.9875 of the test split" in words
    assert "clothing/3 in fp16: refused, it overflows" in words
    one = " ".join(shown(render_version.version(_convert.model_version(version_message()))).split())
    assert "served ready (int8)" in one
    assert "variant int8: 3.6 MB, 1.50 times as fast on the CPU (2 threads), agrees on 0.9875" in one


def test_a_line_of_progress() -> None:
    line = render_jobs.progress_line(_convert.progress(progress_message()))
    assert line == " 40%, fine-tune, epoch 2/5, loss 0.500, validation accuracy 0.875, 120 pictures/s, 1:15 left"


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (-3, "0:00"), (75, "1:15"), (3661, "1:01:01")])
def test_a_clock(seconds: int, text: str) -> None:
    assert words.clock(timedelta(seconds=seconds)) == text


def test_every_state_has_a_row() -> None:
    for state in eyas.JobState:
        assert render_jobs.jobs([_convert.job(job_message(state.upper()))]).row_count == 1


def inspected(**found: int) -> str:
    report = _convert.job(inspected_message(**found)).dataset_report  # type: ignore[arg-type]
    assert report is not None
    text = shown(render_dataset.dataset(report, "/volumes/of/photographs/of/clothes"))
    assert max(map(len, text.splitlines())) <= 80
    return text


def test_a_dataset_is_shown_with_what_is_wrong_with_it() -> None:
    text = inspected()
    for line in (
        "/volumes/of/photographs/of/clothes: 19 pictures",
        "label 0 │     8 │          1 │   10 │  19",
        "smallest 40 x 30, median 80 x 60, largest 120 x 90 pixels; 18 JPEG, 1 PNG; 19 RGB",
        "  a/b.jpg: It is cut short.",
        "Few.",
        "14 pictures are copies of each other, in 2 groups; across labels 7, across splits 0.",
        "  near, across labels:\n    train/label 0/a.jpg  (label 0)\n",
        "    train/label 0/e.jpg  (label 0)\n    and 2 more\n  exact:\n    train/label 1/a.jpg\n",
        "3 of 1,900 labels look wrong, the most doubtful first. A hard picture is not a wrong one.",
        "train/[hat]/00.jpg │ hat   │ shoes  │        0.98",
    ):
        assert " ".join(line.split()) in " ".join(text.split()), line


def test_a_long_list_of_findings_is_cut_and_says_so() -> None:
    text = inspected(groups=25, suspects=50)
    assert text.count("  exact") + text.count("  near") == 10
    assert text.count("shoes") == 20
    assert "  and 15 more; see --json" in text
    assert "  and 30 more; see --json" in text


def test_a_clean_dataset_is_said_to_be_clean() -> None:
    text = inspected(groups=0, suspects=0)
    assert "No picture has an exact or near copy." in text
    assert "No label of the 1,900 pictures examined looks wrong." in text


def test_a_report_of_an_older_daemon_is_shown_as_far_as_it_goes() -> None:
    report = _convert.job(job_message()).dataset_report
    assert report is not None
    assert "copies" not in shown(render_dataset.dataset(report, "/photos"))


def test_a_leak_is_told_with_and_without_a_figure() -> None:
    scored = _evaluation.evaluation(evaluation_message())
    leaky = replace(scored, leaked_examples=3, accuracy_without_leaked=0.875)
    assert cautions(leaky)[0].plain == (
        "3 of them were seen in training, themselves or as near copies; accuracy on the others 0.8750."
    )
    assert cautions(replace(leaky, accuracy_without_leaked=None))[0].plain.endswith("or as near copies.")


def test_an_inspection_is_listed_with_its_size() -> None:
    text = shown(render_jobs.jobs([_convert.job(inspected_message()), _convert.job(inspected_message("RUNNING"))]), 120)
    assert "inspection" in text
    assert "19 pictures" in text


def test_one_is_no_plural() -> None:
    scored = replace(_evaluation.evaluation(evaluation_message()), examples=1, leaked_examples=1)
    text = shown(render_evaluation.evaluation(scored, "clothing/3"))
    assert "clothing/3: 1 picture " in text
    assert "1 file could not be read:" in text
    assert cautions(scored)[0].plain == "1 of them was seen in training, itself or as a near copy."
    text = inspected(groups=1, suspects=1)
    assert "in 1 group;" in text
    assert "1 of 1,900 labels looks wrong. A hard" in text
    assert [words.counted(count, "version") for count in (0, 1, 2000)] == ["0 versions", "1 version", "2,000 versions"]


def test_a_history_says_when_to_the_second_and_what_a_forced_move_lacked() -> None:
    moved = _convert.alias(alias_message(reason="in a hurry"))
    forced = replace(moved, forced=True, evidence=("accuracy is 0.9000, at least 0.95 is demanded",))
    lines = shown(render_models.history([forced, moved]), 160).splitlines()
    assert f"{moved.update_time.astimezone():%Y-%m-%d %H:%M:%S}" in lines[2]
    assert "forced (accuracy is 0.9000, at least 0.95 is demanded): in a hurry" in lines[2]
    assert "forced" not in lines[3]
