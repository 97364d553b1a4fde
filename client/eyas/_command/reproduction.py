"""Whether a version would come out the same if it were trained again: the command, and what has changed since. Sends nothing."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Final

from eyas._errors import EyasError
from eyas._findings import SplitSizes
from eyas._lineage import Conditions, Lineage
from eyas._settings import SettingValue, format_duration
from eyas._types import Job, ModelVersion
from eyas.v1 import training_spec_pb2

# Options of `eyas train` with names of their own; every other setting is a --set.
_OPTIONS: Final = ("preset", "backbone", "budget", "seed")
# By how much the log loss of a training of the same may differ, in nats: parity allows 1e-3 on a logit, and sums that are taken in
# another order add to it.
_SAME_LOG_LOSS: Final = 5e-3
# The reasons of errors that say that the dataset is not what it was, rather than that it could not be looked at.
_GONE: Final = frozenset({"DATASET_NOT_FOUND", "BAD_DATASET", "INVALID_ARGUMENT"})


class Verdict(StrEnum):
    """What became of a comparison."""

    OK = "ok"
    DIFFERS = "differs"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that decides a version, whether it is as it was, and a few words on that."""

    name: str
    verdict: Verdict
    detail: str


def settings_of(lineage: Lineage) -> dict[str, SettingValue]:
    """Returns the settings with which to train again; where it was not noted what was asked for, every one as it was used."""
    if lineage.settings is not None:
        return {**lineage.settings, "seed": lineage.seed}
    known = training_spec_pb2.TrainingSpec.DESCRIPTOR.fields_by_name
    return {name: value for name, value in lineage.recipe.items() if name in known and name != "epochs"}  # `samples` says it, too


def command_of(version: ModelVersion, lineage: Lineage, dataset: str) -> str:
    """Returns the command, after `eyas `, that trains a version again."""
    settings = {name: _text(value) for name, value in settings_of(lineage).items()}
    words = ["train", dataset, "--model", version.name.partition("/")[0]]
    for name in _OPTIONS:
        if name in settings:
            words += [f"--{name}", settings.pop(name)]
    if version.base_version:
        words += ["--from", version.base_version]
    for name, value in settings.items():
        words += ["--set", f"{name}={value}"]
    return shlex.join(words)


def notes_of(lineage: Lineage) -> list[str]:
    """Returns what else to know before one trains it again."""
    notes = []
    if lineage.settings is None:
        notes.append(
            "What was asked for was not noted when it was made: the command names every hyper-parameter as it was used, but "
            "neither a time budget nor a search."
        )
    elif "budget" in lineage.settings:
        notes.append(
            "It had a time budget: how many steps fit into one depends on the machine and on what else that does, so another "
            "training may end with other weights."
        )
    if not lineage.conditions.device.startswith("the CPU"):
        notes.append("A GPU does not add in the same order every time: expect the same figures but for small differences.")
    return notes


def checks(
    version: ModelVersion, lineage: Lineage, retraced: Job | EyasError, base: ModelVersion | EyasError | None
) -> list[Check]:
    """Compares a version with what there is now.

    Args:
        version: with its files read.
        lineage: its own.
        retraced: the job that went the way of its training up to the split, or why there is none.
        base: the version that it started from, with its files read, or why it is gone; None where it started from none.
    """
    found = [*_dataset(version, lineage, retraced), *_files(version)]
    now = retraced.conditions if isinstance(retraced, Job) else None
    if now is None:
        found += [Check(name, Verdict.UNKNOWN, "No trainer has said.") for name in ("code", "packages", "device")]
    else:
        found += _conditions(lineage.conditions, now)
    if version.base_version is not None:
        return [*found, _base(version, base)]
    return [*found, _weights(version.weights_source, now)]


def compared(version: ModelVersion, again: ModelVersion) -> Check:
    """Compares a version with another one that was trained by its command."""
    if again.sha256 == version.sha256:
        return Check("result", Verdict.OK, f"model.onnx of {again.name} is the same, byte for byte.")
    then, now = version.evaluation, again.evaluation
    losses = f"log loss {then.log_loss:.4f} then, {now.log_loss:.4f} now"
    if then.labels == now.labels and abs(then.log_loss - now.log_loss) <= _SAME_LOG_LOSS:
        return Check("result", Verdict.OK, f"{again.name} is another file with the same figures for every label; {losses}.")
    accuracies = f"test accuracy {then.accuracy:.4f} then, {now.accuracy:.4f} now"
    return Check("result", Verdict.DIFFERS, f"{again.name} answers otherwise: {accuracies}; {losses}.")


def conclusion(version: str, found: list[Check]) -> str:
    """Returns what all checks come to, in a sentence."""
    differ, unknown = ([check.name for check in found if check.verdict is v] for v in (Verdict.DIFFERS, Verdict.UNKNOWN))
    doubt = f" It could not be told of {_listed(unknown)}." if unknown else ""
    if differ:
        return f"{version} cannot be reproduced as it was; changed since then: {_listed(differ)}.{doubt}"
    if unknown:
        return f"As far as can be told, nothing that decides {version} has changed.{doubt}"
    return f"{version} can be reproduced: nothing that decides it has changed."


def _dataset(version: ModelVersion, lineage: Lineage, retraced: Job | EyasError) -> Iterator[Check]:
    if isinstance(retraced, EyasError):
        verdict = Verdict.DIFFERS if retraced.reason in _GONE else Verdict.UNKNOWN
        yield Check("dataset", verdict, retraced.message)
        yield Check("split", Verdict.UNKNOWN, "Without the dataset there is none.")
        return
    report = retraced.dataset_report
    digest = report.digest if report else ""
    sizes = _sizes(report.sizes) if report else ""
    if digest == version.dataset_digest:
        yield Check("dataset", Verdict.OK, f"Its digest is {digest[:12]}..., as it was.")
        yield Check("split", Verdict.OK, f"The digest covers it: {sizes}.")
        return
    yield Check("dataset", Verdict.DIFFERS, f"Its digest was {version.dataset_digest[:12]}..., it is {digest[:12]}... now.")
    before = _sizes(lineage.split_sizes) if lineage.split_sizes else ""
    if before and before != sizes:
        yield Check("split", Verdict.DIFFERS, f"It was {before}; it is {sizes}.")
    else:
        yield Check("split", Verdict.UNKNOWN, "One digest covers the pictures, their labels and their split.")


def _files(version: ModelVersion) -> Iterator[Check]:
    for file in version.files:
        if file.problem:
            yield Check(file.name, Verdict.DIFFERS, file.problem)
    if not any(file.problem for file in version.files):
        yield Check("files", Verdict.OK, f"{_listed([file.name for file in version.files])} are what was published.")


def _conditions(then: Conditions, now: Conditions) -> Iterator[Check]:
    code = f"Eyas {then.code_version}", f"Eyas {now.code_version}"
    for name, (was, is_now) in (("code", code), ("device", (then.device, now.device))):
        if was == is_now:
            yield Check(name, Verdict.OK, f"{was}, as it was.")
        else:
            yield Check(name, Verdict.DIFFERS, f"It was {was}; it is {is_now}.")
    before, after = then.packages, now.packages
    changed = [
        f"{name} was {before.get(name, 'absent')}, is {after.get(name, 'absent')}"
        for name in sorted({*before, *after})
        if before.get(name) != after.get(name)
    ]
    verdict = Verdict.DIFFERS if changed else Verdict.OK
    yield Check("packages", verdict, f"{'; '.join(changed)}." if changed else f"{_versions(then.packages)}, as they were.")


def _weights(then: str, now: Conditions | None) -> Check:
    if not then:
        return Check("weights", Verdict.OK, "It started from random ones, which follow from the seed.")
    if now is None:
        return Check("weights", Verdict.UNKNOWN, "No trainer has said.")
    if now.weights_source is None:
        return Check("weights", Verdict.DIFFERS, f"They came from {then}; there are none now.")
    if now.weights_source != then:
        return Check("weights", Verdict.DIFFERS, f"They came from {then}; they would come from {now.weights_source}.")
    if "SHA-256" not in then:
        return Check("weights", Verdict.UNKNOWN, f"They came from {then}, and no digest of them was noted.")
    return Check("weights", Verdict.OK, f"{then}, as it was.")


def _base(version: ModelVersion, base: ModelVersion | EyasError | None) -> Check:
    name = f"base version {version.base_version}"
    if not isinstance(base, ModelVersion):
        return Check(name, Verdict.DIFFERS, base.message if base else "It is gone.")
    weights = next((file for file in base.files if file.name == "weights.safetensors"), None)
    if weights is None or weights.problem:
        return Check(name, Verdict.DIFFERS, weights.problem if weights else "It has no weights to start from.")
    if weights.sha256 not in version.weights_source:
        return Check(name, Verdict.DIFFERS, f"It has other weights than {version.weights_source}.")
    return Check(name, Verdict.OK, "It is still there, with the same weights.")


def _sizes(sizes: SplitSizes) -> str:
    return f"{sizes.train:,} train, {sizes.validation:,} validation, {sizes.test:,} test"


def _versions(packages: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in packages.items()) or "None were noted"


def _listed(names: list[str]) -> str:
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _text(value: SettingValue) -> str:
    """Returns a setting as the command line takes it."""
    if isinstance(value, timedelta):
        return format_duration(value)
    return str(value).lower() if isinstance(value, bool) else str(value)
