"""A version arrives with its state, its variants and its rules."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import pytest

from builders import write_bundle
from eyas.v1 import variant_pb2
from eyasd.api.messages.versions import version_message
from eyasd.core import bundle, document
from eyasd.core.errors import BrokenBundle
from eyasd.core.names import ModelRef
from eyasd.core.unknown import NEVER, ConfidenceRule, DistributionRule, UnknownRules
from eyasd.core.variants import Fidelity, Precision, Variant
from eyasd.serving.catalog import ServingState


def test_a_version_that_could_not_be_loaded(tiny_bundle: Path) -> None:
    manifest = bundle.read_manifest((tiny_bundle / bundle.MANIFEST).read_bytes())
    message = version_message("m", 1, manifest, ServingState.FAILED, BrokenBundle("damaged"))
    assert (message.serving_error.message, list(message.labels)) == ("damaged", ["blue", "green", "red"])
    assert message.sha256 == manifest.files["model.onnx"]
    assert message.base_version == ""


def test_a_manifest_with_a_number_that_no_message_holds_is_damaged(tiny_bundle: Path) -> None:
    manifest = bundle.read_manifest((tiny_bundle / bundle.MANIFEST).read_bytes())
    odd = replace(manifest, parity=replace(manifest.parity, batch_sizes=(2**31,)))
    with pytest.raises(BrokenBundle, match=r"The manifest of m/1 says what cannot be told \(Value out of range: 2147483648\)"):
        version_message("m", 1, odd, None, None)


def test_the_variants_of_a_version_survive_the_manifest_and_the_trip(tiny_bundle: Path) -> None:
    judged = Fidelity(
        examples=60,
        agreement=0.95,
        accuracy=0.9,
        accuracy_lost=0.0,
        log_loss=0.5,
        calibration_error=0.03,
        calibration_error_grown=-0.01,
    )
    made = Variant(precision=Precision.INT8, size_bytes=9, validation=judged, test=judged, speed=1.5, device="the CPU")
    refused = Variant(precision=Precision.FP16, refusal="it overflows")
    manifest = bundle.read_manifest((tiny_bundle / bundle.MANIFEST).read_bytes())
    written = document.dump(replace(manifest, variants=(made, refused))).encode()
    read = bundle.read_manifest(written)
    assert read.variants == (made, refused)
    assert read.accepted() == (Precision.INT8,)
    message = version_message("m", 1, read, ServingState.READY, None, Precision.INT8)
    assert message.serving_precision == variant_pb2.PRECISION_INT8
    first, second = message.variants
    assert (first.precision, first.size_bytes, first.speed) == (variant_pb2.PRECISION_INT8, 9, 1.5)
    assert all(getattr(first.test, field.name) == getattr(judged, field.name) for field in fields(Fidelity))
    assert (second.refusal, second.HasField("validation"), second.HasField("speed")) == ("it overflows", False, False)
    assert version_message("m", 1, manifest, None, None).serving_precision == variant_pb2.PRECISION_UNSPECIFIED


def test_a_version_that_started_from_another(tiny_bundle: Path) -> None:
    manifest = bundle.read_manifest((tiny_bundle / bundle.MANIFEST).read_bytes())
    lineage = replace(manifest.lineage, base_version=ModelRef("other", version=3))
    written = document.dump(replace(manifest, lineage=lineage)).encode()
    message = version_message("m", 1, bundle.read_manifest(written), None, None)
    assert message.base_version == "models/other/versions/3"


def test_a_version_says_whether_its_answers_can_be_explained(tmp_path: Path) -> None:
    for explainable in (True, False):
        folder = write_bundle(tmp_path / str(explainable), explainable=explainable)
        manifest = bundle.read_manifest((folder / bundle.MANIFEST).read_bytes())
        assert (bundle.EXPLAIN in manifest.files) is explainable
        assert version_message("m", 1, manifest, None, None).explainable is explainable


def test_a_version_says_what_is_unknown_to_it(tiny_bundle: Path) -> None:
    manifest = bundle.read_manifest((tiny_bundle / bundle.MANIFEST).read_bytes())
    assert not version_message("m", 1, manifest, None, None).HasField("unknown")
    distribution, confidence = DistributionRule("far", 3.5, 0.99, 0.02), ConfidenceRule(0.98, (0.9, 0.8, NEVER))
    one = version_message("m", 1, replace(manifest, unknown=UnknownRules(distribution)), None, None).unknown
    found = one.distribution
    assert (found.method, found.threshold, found.known_share, found.refused) == ("far", 3.5, 0.99, 0.02)
    assert not one.HasField("confidence")
    other = version_message("m", 1, replace(manifest, unknown=UnknownRules(confidence=confidence)), None, None).unknown
    assert not other.HasField("distribution")
    assert other.confidence.min_precision == 0.98
    assert [(row.label, row.threshold) for row in other.confidence.thresholds] == [("blue", 0.9), ("green", 0.8), ("red", NEVER)]
