"""core.bundle: manifests and golden answers, whole and damaged."""

from __future__ import annotations

import json
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest

from builders import golden
from eyasd.core import bundle
from eyasd.core.bundle import Golden
from eyasd.core.errors import BrokenBundle
from eyasd.core.variants import Precision


def test_golden_answers_survive_the_trip() -> None:
    read = Golden.from_bytes(golden().to_bytes())
    assert np.array_equal(read.images, golden().images)
    assert np.array_equal(read.probabilities, golden().probabilities)
    assert read.variants == {}
    rows = golden().probabilities / 2
    read = Golden.from_bytes(replace(golden(), variants={Precision.INT8: rows}).to_bytes())
    assert list(read.variants) == [Precision.INT8]
    assert np.array_equal(read.variants[Precision.INT8], rows)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", golden().to_bytes()[:100]])
def test_damaged_golden_answers_are_told_of(content: bytes) -> None:
    with pytest.raises(BrokenBundle, match=r"golden\.npz is damaged"):
        Golden.from_bytes(content)


@pytest.mark.parametrize(
    "text", [b"", b"\0", b"[" * 100_000, b"null", b"[]", b"7", b'"x"', b'{"format_version": ' + b"9" * 5000 + b"}"]
)
def test_what_is_no_manifest_is_told_of(text: bytes) -> None:
    with pytest.raises(BrokenBundle, match=r"^manifest\.json [^\n]{1,400}$"):
        bundle.read_manifest(text)


def test_a_manifest_of_very_many_bytes_is_not_read(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (tiny_bundle / bundle.MANIFEST).read_bytes()
    monkeypatch.setattr(bundle, "_MOST_MANIFEST_BYTES", len(text) - 1)
    with pytest.raises(BrokenBundle, match="are read"):
        bundle.read_manifest(text)


def test_a_manifest_of_very_many_parts_is_not_parsed(tiny_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """128 MB of brackets would take gigabytes of a server."""
    monkeypatch.setattr(bundle, "_MOST_PARTS", 5)
    with pytest.raises(BrokenBundle, match="more than 5 lists and objects"):
        bundle.read_manifest((tiny_bundle / bundle.MANIFEST).read_bytes())


@pytest.mark.parametrize("costly", [b'"x"', b"1.5", b"1e5", b"1E5", b"257", b"-9"])
def test_a_manifest_of_very_many_texts_and_numbers_is_not_parsed(costly: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """120 MB of them took 1.2 GB of a server."""
    monkeypatch.setattr(bundle, "_MOST_COSTLY", 1_000)
    with pytest.raises(BrokenBundle, match="over 1,000 quotes and numbers that are not small"):
        bundle.read_manifest(b"[" + b",".join([costly] * 1_001) + b"]")
    with pytest.raises(BrokenBundle, match="is damaged"):  # as what was taken for what, of thousands of labels
        bundle.read_manifest(b"[" + b",".join([b"12"] * 100_000) + b"]")


def test_what_a_manifest_says_is_told_shortly() -> None:
    for text in ({"format_version": "9" * 10_000}, {f"{number:08d}": number for number in range(10_000)}):
        with pytest.raises(BrokenBundle) as told:
            bundle.read_manifest(json.dumps(text).encode())
        assert len(str(told.value)) < 400


def test_arrays_far_larger_than_their_file_are_not_made() -> None:
    buffer = BytesIO()
    np.savez_compressed(buffer, images=np.zeros(65 * 1024 * 1024, np.uint8), probabilities=np.zeros((1, 3), np.float32))
    with pytest.raises(BrokenBundle, match=r"golden\.npz is damaged: .* bytes would become"):
        Golden.from_bytes(buffer.getvalue())


def test_a_manifest_of_one_label_a_picture_needs_none_of_what_several_need(tiny_bundle: Path) -> None:
    text = (tiny_bundle / bundle.MANIFEST).read_bytes()
    assert not {b"thresholds", b"micro_f1", b"split_sizes"} & set(text.replace(b'"', b" ").split())
    assert bundle.read_manifest(text).thresholds is None


def test_a_variant_in_the_folder_is_one_of_its_files(tiny_bundle: Path) -> None:
    before = bundle.file_digests(tiny_bundle).keys()
    (tiny_bundle / Precision.INT8.file).write_bytes(b"int8")
    assert bundle.file_digests(tiny_bundle).keys() - before == {"model.int8.onnx"}


def test_a_changed_file_is_told_of(tiny_bundle: Path) -> None:
    manifest = bundle.read_manifest((tiny_bundle / bundle.MANIFEST).read_bytes())
    content = (tiny_bundle / bundle.MODEL).read_bytes()
    assert bundle.verified(manifest, bundle.MODEL, content) == content
    with pytest.raises(BrokenBundle, match=r"model\.onnx was changed"):
        bundle.verified(manifest, bundle.MODEL, content + b"\0")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"format_version": 99, "and": "more"}, "format version 99"),
        ({"and": "more"}, "newer Eyas"),
        ({"labels": "x"}, "must be a list"),
        ({"labels": []}, "it has no labels, or one twice"),
        ({"labels": ["red", "red", "blue"]}, "it has no labels, or one twice"),
        ({"thresholds": [0.5]}, "it has 1 thresholds for 3 labels"),
        ({"thresholds": [0.5, 0.5, 1e999]}, "Infinity is no number"),
        ({"files": {}}, "does not name golden.npz"),
        ({"files": {"model.onnx": "0" * 64, "golden.npz": "0" * 64, "../../x": "0" * 64}}, "'../../x' is no name of a file"),
        ({"files": {"model.onnx": "0" * 64, "golden.npz": "0" * 64, "/etc/x": "0" * 64}}, "'/etc/x' is no name of a file"),
        ({"files": {"model.onnx": "0" * 64, "golden.npz": "0" * 64, "..": "0" * 64}}, "'..' is no name of a file"),
        ({"files": {"model.onnx": "0" * 64, "golden.npz": "x"}}, "'x' no SHA-256"),
        ({"model_bytes": 10**30}, "a number of 64 bits"),
        ({"preprocess": {"crop_px": 10**6}}, "out of range"),
    ],
)
def test_a_foreign_manifest_is_told_of(tiny_bundle: Path, change: dict[str, object], says: str) -> None:
    data = json.loads((tiny_bundle / bundle.MANIFEST).read_text()) | change
    with pytest.raises(BrokenBundle, match=says):
        bundle.read_manifest(json.dumps(data).encode())
