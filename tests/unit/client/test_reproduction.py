"""What is said of a version's chances to come out the same, for everything that can have changed."""

from __future__ import annotations

import io
import shlex
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from rich.console import Console

import eyas
from eyas import _convert, _settings
from eyas._command import main, render_version, reproduction
from eyas._command.reproduction import Check, Verdict, checks, command_of, compared, conclusion, notes_of
from replies import retraced_message, version_message

VERSION = _convert.model_version(version_message(lineage=True))
RETRACED = _convert.job(retraced_message())
BASE = _convert.model_version(version_message(2, lineage=True))
assert VERSION.lineage is not None
LINEAGE = VERSION.lineage


def verdicts(
    version: eyas.ModelVersion = VERSION,
    retraced: eyas.Job | eyas.EyasError = RETRACED,
    base: eyas.ModelVersion | eyas.EyasError | None = None,
) -> dict[str, tuple[Verdict, str]]:
    assert version.lineage is not None
    return {check.name: (check.verdict, check.detail) for check in checks(version, version.lineage, retraced, base)}


def now(**changes: Any) -> eyas.Job:
    """The retracing of a training on a machine that has changed."""
    assert RETRACED.conditions is not None
    return replace(RETRACED, conditions=replace(RETRACED.conditions, **changes))


def test_a_version_of_which_nothing_has_changed() -> None:
    found = verdicts()
    assert list(found) == ["dataset", "split", "files", "code", "device", "packages", "weights"]
    assert {verdict for verdict, _ in found.values()} == {Verdict.OK}
    assert found["split"][1] == "The digest covers it: 24 train, 6 validation, 6 test."
    assert found["files"][1] == "model.onnx and weights.safetensors are what was published."
    assert conclusion("clothing/3", checks(VERSION, LINEAGE, RETRACED, None)) == (
        "clothing/3 can be reproduced: nothing that decides it has changed."
    )


@pytest.mark.parametrize(
    ("retraced", "name", "says"),
    [
        (lambda: now(code_version="2"), "code", "It was Eyas 1; it is Eyas 2."),
        (lambda: now(device="an abacus"), "device", "It was the CPU (2 threads); it is an abacus."),
        (
            lambda: now(packages={"torch": "3", "timm": "1"}),
            "packages",
            "numpy was 2, is absent; timm was absent, is 1; torch was 2, is 3.",
        ),
        (lambda: now(weights_source=None), "weights", "They came from package x (SHA-256 12ab); there are none now."),
        (
            lambda: now(weights_source="package x (SHA-256 34cd)"),
            "weights",
            "They came from package x (SHA-256 12ab); they would come from package x (SHA-256 34cd).",
        ),
    ],
)
def test_what_differs_is_named_with_both_values(retraced: Callable[[], eyas.Job], name: str, says: str) -> None:
    found = verdicts(retraced=retraced())
    assert found.pop(name) == (Verdict.DIFFERS, says)
    assert {verdict for verdict, _ in found.values()} == {Verdict.OK}


def test_another_digest_is_of_the_dataset_or_of_its_split() -> None:
    report = RETRACED.dataset_report
    assert report is not None
    other = replace(report, digest="e" * 64)
    found = verdicts(retraced=replace(RETRACED, dataset_report=other))
    assert found["dataset"] == (Verdict.DIFFERS, "Its digest was d1..., it is eeeeeeeeeeee... now.")
    assert found["split"][0] is Verdict.UNKNOWN
    more = replace(other, split_sizes=eyas.SplitSizes(25, 6, 6))
    assert verdicts(retraced=replace(RETRACED, dataset_report=more))["split"] == (
        Verdict.DIFFERS,
        "It was 24 train, 6 validation, 6 test; it is 25 train, 6 validation, 6 test.",
    )


@pytest.mark.parametrize(
    ("error", "verdict"),
    [
        (eyas.NotFound("There is no folder.", reason="DATASET_NOT_FOUND"), Verdict.DIFFERS),
        (eyas.JobFailed("There are too few pictures.", reason="BAD_DATASET"), Verdict.DIFFERS),
        (eyas.JobFailed("It crashed.", reason="TRAINER_FAILED"), Verdict.UNKNOWN),
        (eyas.Unsupported("This daemon does not train."), Verdict.UNKNOWN),
    ],
)
def test_a_dataset_that_cannot_be_read_is_gone_or_unknown(error: eyas.EyasError, verdict: Verdict) -> None:
    found = verdicts(retraced=error)
    assert found["dataset"] == (verdict, error.message)
    assert {found[name][0] for name in ("split", "code", "packages", "device", "weights")} == {Verdict.UNKNOWN}
    said = conclusion("clothing/3", checks(VERSION, LINEAGE, error, None))
    assert ("cannot be reproduced" in said) is (verdict is Verdict.DIFFERS)
    assert ("As far as can be told" in said) is (verdict is Verdict.UNKNOWN)
    assert "It could not be told of" in said


def test_a_damaged_file_is_named() -> None:
    whole, damaged = VERSION.files[0], replace(VERSION.files[1], problem="weights.safetensors of clothing/3 was changed.")
    found = verdicts(replace(VERSION, files=(whole, damaged)))
    assert found["weights.safetensors"] == (Verdict.DIFFERS, damaged.problem)
    assert "files" not in found


def test_weights_without_a_digest_and_without_a_source() -> None:
    assert verdicts(replace(VERSION, weights_source="hub x"), now(weights_source="hub x"))["weights"][0] is Verdict.UNKNOWN
    assert verdicts(replace(VERSION, weights_source=""), now(weights_source=""))["weights"][0] is Verdict.OK


def test_the_version_that_it_started_from_is_there_with_the_same_weights() -> None:
    warm = replace(VERSION, base_version="garments/2", weights_source=f"garments/2 (SHA-256 {BASE.files[1].sha256})")
    found = verdicts(warm, base=BASE)
    assert found["base version garments/2"] == (Verdict.OK, "It is still there, with the same weights.")
    assert "weights" not in found
    gone = eyas.NotFound("Model 'garments' has no version 2.")
    changed = replace(BASE, files=(replace(BASE.files[1], sha256="0" * 64),))
    damaged = replace(BASE, files=(replace(BASE.files[1], problem="It is missing."),))
    for base, says in (
        (gone, gone.message),
        (changed, "other weights"),
        (damaged, "missing"),
        (replace(BASE, files=()), "no weights"),
    ):
        verdict, detail = verdicts(warm, base=base)["base version garments/2"]
        assert (verdict, says in detail) == (Verdict.DIFFERS, True)


def parsed(command: str) -> dict[str, Any]:
    """Returns what `eyas train` understands of a command."""
    name, *words = shlex.split(command)
    assert name == "train"
    options: dict[str, Any] = main.eyas.commands[name].make_context(name, words).params
    return options


def test_the_command_asks_for_what_was_asked_for() -> None:
    asked = {"preset": "best", "budget": timedelta(minutes=90), "epochs": 3, "horizontal_flip": False, "learning_rate": 1e-4}
    lineage = replace(LINEAGE, settings=asked, seed=7)
    command = command_of(replace(VERSION, base_version="garments/2"), lineage, "/my photos/$x")
    assert command == (
        "train '/my photos/$x' --model clothing --preset best --budget 1h30m --seed 7 --from garments/2 "
        "--set epochs=3 --set horizontal_flip=false --set learning_rate=0.0001"
    )
    options = parsed(command)
    assert (str(options["dataset"]), options["model"], options["base_version"]) == ("/my photos/$x", "clothing", "garments/2")
    named = {name: options[name] for name in ("preset", "budget", "seed")}
    assert _settings.training_spec(named | options["settings"]) == _settings.training_spec(asked | {"seed": 7})
    assert any("time budget" in note for note in notes_of(lineage))


def test_where_it_was_not_noted_what_was_asked_for_the_recipe_is_asked_for() -> None:
    lineage = replace(LINEAGE, settings=None, recipe={"preset": "fast", "epochs": "0.5", "samples": "20", "seed": "7", "pace": "x"})
    command = command_of(VERSION, lineage, "/photos")
    assert command == "train /photos --model clothing --preset fast --seed 7 --set samples=20"
    assert parsed(command)["settings"] == {"samples": "20"}
    assert "was not noted" in notes_of(lineage)[0]


def test_a_training_without_a_budget_on_the_cpu_needs_no_note() -> None:
    plain = replace(LINEAGE, settings={"epochs": 3})
    assert notes_of(plain) == []
    gpu = replace(plain, conditions=replace(LINEAGE.conditions, device="NVIDIA H100"))
    assert "A GPU does not add" in notes_of(gpu)[0]


def test_another_training_is_compared_by_its_file_and_then_by_its_figures() -> None:
    again = replace(VERSION, name="clothing/4")
    assert compared(VERSION, again) == Check("result", Verdict.OK, "model.onnx of clothing/4 is the same, byte for byte.")
    close = replace(again, sha256="0", evaluation=replace(again.evaluation, log_loss=again.evaluation.log_loss + 1e-3))
    assert compared(VERSION, close).verdict is Verdict.OK
    assert compared(VERSION, close).detail == (
        "clothing/4 is another file with the same figures for every label; log loss 0.2500 then, 0.2510 now."
    )
    rows = tuple(replace(row, f1=0.8) for row in again.evaluation.labels)
    other = replace(again, sha256="0", evaluation=replace(again.evaluation, accuracy=0.8, labels=rows))
    assert compared(VERSION, other) == Check(
        "result",
        Verdict.DIFFERS,
        "clothing/4 answers otherwise: test accuracy 0.9000 then, 0.8000 now; log loss 0.2500 then, 0.2500 now.",
    )


def shown(renderable: Any, width: int = 100) -> str:
    console = Console(file=io.StringIO(), width=width, highlight=False)
    console.print(renderable)
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_a_version_is_shown_with_its_lineage() -> None:
    text = shown(render_version.version(VERSION))
    for words in (
        "clothing/3",
        "label 0, label 1",
        "package x (SHA-256 12ab)",
        "/photos",
        "24 train, 6 validation, 6 test",
        "abc, 1:30 on the CPU (2 threads)",
        "preset=fast, budget=10m",
        "dropout=0.2, epochs=0",
        "numpy 2, torch 2",
        "accuracy 0.9000",
    ):
        assert words in text, words
    unknown = replace(VERSION, lineage=replace(LINEAGE, settings=None, split_sizes=None))
    assert "not noted" in shown(render_version.version(unknown))
    assert "dataset" not in shown(render_version.version(replace(VERSION, lineage=None)))


def test_a_check_is_a_line() -> None:
    found = [Check("dataset", Verdict.OK, "Its digest is [d1]."), Check("code", Verdict.DIFFERS, "It was Eyas 1; it is Eyas 2.")]
    lines = [" ".join(line.split()) for line in shown(render_version.checks(found, ["A note."], "No.")).splitlines()]
    assert lines == ["dataset ok Its digest is [d1].", "code differs It was Eyas 1; it is Eyas 2.", "A note.", "No."]


def test_every_reason_of_a_lost_dataset_is_one_of_the_daemon() -> None:
    from eyasd.core.errors import all_errors, reason_of

    assert {reason_of(error) for error in all_errors()} >= reproduction._GONE
