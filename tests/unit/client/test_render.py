"""What a person sees, in a terminal of 80 columns."""

from __future__ import annotations

import io
from datetime import timedelta
from typing import Any

import pytest
from rich.console import Console

import eyas
from eyas import _convert, _render
from eyas.v1.classification_service_pb2 import ClassifyRequest, Image
from fake_server import classified, evaluation_message, job_message, model_message, progress_message, version_message


def shown(renderable: Any, width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width, highlight=False)
    console.print(renderable)
    return console.file.getvalue()  # type: ignore[attr-defined]


@pytest.mark.parametrize("labels", [2, 6, 10, 14])
def test_a_confusion_matrix_fits_80_columns(labels: int) -> None:
    text = shown(_render.evaluation(_convert.evaluation(evaluation_message(labels)), "clothing/3"))
    assert max(map(len, text.splitlines())) <= 80
    assert "…" not in text
    rows = [line for line in text.splitlines() if "label 1" in line and ("9" in line.split())]
    assert rows, text
    assert "accuracy 0.9000 (95 % interval 0.744 to 0.965), macro F1 0.9300" in " ".join(text.split())
    assert "a/b.jpg: It is cut short." in text


def test_a_label_is_text_and_no_markup() -> None:
    message = evaluation_message(2)
    message.labels[0].label = "[red]hot[/]"
    assert "[red]hot[/]" in shown(_render.evaluation(_convert.evaluation(message), "m/1"))


def test_many_labels_do_not_break_the_table() -> None:
    text = shown(_render.evaluation(_convert.evaluation(evaluation_message(100)), "clothing/3"))
    assert max(map(len, text.splitlines())) <= 80
    assert "label 99" in text


def test_pictures_and_their_errors() -> None:
    answers = _convert.classifications(classified(ClassifyRequest(images=[Image(content=b"shirt"), Image(content=b"bad")])))
    text = shown(_render.classifications(zip(["a.jpg", "b.jpg"], answers, strict=True)))
    assert "shirt" in text
    assert "0.750" in text
    assert "The picture is cut short." in " ".join(text.split())


def test_jobs_and_models() -> None:
    failed = job_message("FAILED", job="def")
    failed.error.message = "There are too few pictures in 'shoes': 1."
    text = shown(_render.jobs([_convert.job(job_message()), _convert.job(failed), _convert.job(job_message("QUEUED"))]))
    assert "0.9000" in text
    assert "1:30" in text
    model = _convert.model(model_message())
    assert "production -> 3" in shown(_render.models([model]))
    broken = version_message(2, "FAILED")
    broken.serving_error.message = "model.onnx was changed."
    text = shown(_render.model(model, [_convert.model_version(version_message()), _convert.model_version(broken)]))
    assert "2026-03-01" in text
    assert "clothing/2 cannot be served: model.onnx was changed." in text
    assert max(map(len, text.splitlines())) <= 80


def test_a_line_of_progress() -> None:
    line = _render.progress_line(_convert.progress(progress_message()))
    assert line == " 40%, fine-tune, epoch 2/5, loss 0.500, validation accuracy 0.875, 120 pictures/s, 1:15 left"


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (-3, "0:00"), (75, "1:15"), (3661, "1:01:01")])
def test_a_clock(seconds: int, text: str) -> None:
    assert _render.clock(timedelta(seconds=seconds)) == text


def test_every_state_has_a_row() -> None:
    for state in eyas.JobState:
        assert _render.jobs([_convert.job(job_message(state.upper()))]).row_count == 1
