"""What a version was made of arrives as it was noted."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from eyas.v1 import lineage_pb2
from eyasd.api.messages import lineage, specification, versions
from eyasd.core import bundle
from eyasd.core.bundle import CheckedFile, Manifest
from eyasd.core.errors import BrokenBundle
from eyasd.core.findings import SplitSizes
from eyasd.core.spec import Preset, TrainSpec
from eyasd.core.tasks import Conditions

ASKED = TrainSpec(preset=Preset.FAST, budget=timedelta(minutes=10), horizontal_flip=False)


@pytest.fixture
def manifest(tiny_bundle: Path) -> Manifest:
    return bundle.read_manifest((tiny_bundle / bundle.MANIFEST).read_bytes())


def message_of(manifest: Manifest) -> lineage_pb2.Lineage:
    return versions.version_message("m", 1, manifest, None, None).lineage


def test_a_lineage_is_told_whole(manifest: Manifest) -> None:
    lineage = replace(
        manifest.lineage, recipe={"epochs": "3"}, packages={"torch": "2"}, seed=7, spec=ASKED, weights_source="x", attempt=2
    )
    report = replace(manifest.dataset_report, split_sizes=SplitSizes(30, 10, 5))
    message = message_of(replace(manifest, lineage=lineage, dataset_report=report))
    assert (message.dataset, message.seed, message.attempt) == ("/photos", 7, 2)
    assert message.duration.ToTimedelta() == timedelta(seconds=1)
    assert (dict(message.recipe), dict(message.conditions.packages)) == ({"epochs": "3"}, {"torch": "2"})
    assert (message.conditions.code_version, message.conditions.device, message.conditions.weights_source) == ("0", "cpu", "x")
    assert (message.split_sizes.train, message.split_sizes.validation, message.split_sizes.test) == (30, 10, 5)
    assert {field.name for field, _ in message.spec.ListFields()} == {"preset", "budget", "horizontal_flip"}
    assert specification.train_spec(message.spec) == ASKED


def test_what_was_not_noted_is_not_set(manifest: Manifest) -> None:
    message = message_of(manifest)
    assert not message.HasField("spec")
    assert not message.HasField("split_sizes")
    assert message.conditions.HasField("weights_source")
    unknown = lineage.conditions_message(Conditions("1", {}, "the CPU", None))
    assert not unknown.HasField("weights_source")


def test_files_have_digests_and_once_read_problems(manifest: Manifest) -> None:
    listed = versions.version_message("m", 1, manifest, None, None).files
    assert {file.name: (file.sha256, file.problem) for file in listed} == {name: (d, "") for name, d in manifest.files.items()}
    (read,) = versions.version_message("m", 1, manifest, None, None, checked=(CheckedFile("a", "ab", "It is gone."),)).files
    assert (read.name, read.sha256, read.problem) == ("a", "ab", "It is gone.")


def test_of_a_damaged_version_the_name_and_the_damage_are_told() -> None:
    message = versions.damaged_version_message("m", 3, BrokenBundle("manifest.json is damaged."))
    assert (message.name, message.serving_error.message) == ("models/m/versions/3", "manifest.json is damaged.")
    assert not message.labels
