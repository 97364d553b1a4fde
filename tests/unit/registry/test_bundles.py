"""What is read of a version is what was published, or is named and not returned."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from builders import write_bundle
from eyasd.core import bundle, document
from eyasd.core.bundle import GOLDEN, MANIFEST, MODEL, REPORT, WEIGHTS
from eyasd.core.errors import BrokenBundle, PromotionRefused, VersionNotFound
from eyasd.core.promotion import Policy
from eyasd.registry.models import Models
from eyasd.storage.local import LocalStore
from hostile.networks import refused

FILES = (MODEL, GOLDEN, WEIGHTS, REPORT, *bundle._OPTIONAL)
DAMAGES = {
    "one bit": lambda path: path.write_bytes(bytes([path.read_bytes()[0] ^ 1]) + path.read_bytes()[1:]),
    "cut short": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "empty": lambda path: path.write_bytes(b""),
    "gone": Path.unlink,
}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The store, with colours/1 in it, which has every file that a version can have."""
    (tmp_path / "bundle").mkdir()
    for name in bundle._OPTIONAL:
        (tmp_path / "bundle" / name).write_text(name)
    Models(LocalStore(tmp_path / "models")).publish("colours", write_bundle(tmp_path / "bundle"), "job1")
    return tmp_path / "models"


def test_a_sound_version_is_whole(root: Path) -> None:
    models, manifest = Models(LocalStore(root)), (root / "colours/1" / MANIFEST).read_bytes()
    files = {file.name: file for file in models.check("colours", 1)}
    assert set(files) == {MANIFEST, *FILES}
    assert not any(file.problem for file in files.values())
    assert files[MANIFEST].sha256 == hashlib.sha256(manifest).hexdigest()
    assert (root / "colours/1/manifest.sha256").read_text() == f"{files[MANIFEST].sha256}  {MANIFEST}\n"


def test_a_version_that_no_server_would_load_is_not_published(tmp_path: Path) -> None:
    models = Models(LocalStore(tmp_path / "models"))
    folder = write_bundle(tmp_path / "bundle", network=refused()["a loop without an end"])
    with pytest.raises(BrokenBundle, match="it has the operator 'Loop'"):
        models.publish("colours", folder, "job1")
    assert models.names() == []


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
@pytest.mark.parametrize("name", FILES)
def test_a_damaged_file_is_named_and_not_returned(root: Path, name: str, damage: Callable[[Path], None]) -> None:
    models = Models(LocalStore(root))
    damage(root / "colours/1" / name)
    with pytest.raises(BrokenBundle, match=f"{name} of colours/1 (was changed|is missing)"):
        models.fetch("colours", 1, name)
    assert [file.name for file in models.check("colours", 1) if file.problem] == [name]


@pytest.mark.parametrize("kind", ["one bit", "cut short", "empty"])
def test_a_damaged_manifest_is_named_and_not_read(root: Path, kind: str) -> None:
    remembers = Models(LocalStore(root))
    assert remembers.manifest("colours", 1).labels
    DAMAGES[kind](root / "colours/1" / MANIFEST)
    for read in (Models(LocalStore(root)).manifest, Models(LocalStore(root)).check):
        with pytest.raises(BrokenBundle, match=r"manifest\.json of colours/1, or manifest\.sha256 beside it, was changed"):
            read("colours", 1)
    (manifest, *others) = remembers.check("colours", 1)
    assert (manifest.name, "was changed after it was published" in manifest.problem) == (MANIFEST, True)
    assert not any(file.problem for file in others)


def test_a_manifest_that_still_makes_sense_is_no_less_damaged(root: Path) -> None:
    path = root / "colours/1" / MANIFEST
    manifest = bundle.read_manifest(path.read_bytes())
    path.write_text(document.dump(replace(manifest, labels=("red", "green", "blue"))))
    with pytest.raises(BrokenBundle, match=r"manifest\.json of colours/1"):
        Models(LocalStore(root)).manifest("colours", 1)


def test_a_manifest_without_a_digest_is_read_as_before(root: Path) -> None:
    (root / "colours/1/manifest.sha256").unlink()
    assert Models(LocalStore(root)).check("colours", 1)[0] == bundle.CheckedFile(MANIFEST, "", "")
    (root / "colours/1" / MANIFEST).write_text("{")
    with pytest.raises(BrokenBundle, match=r"colours/1: manifest\.json is damaged"):
        Models(LocalStore(root)).manifest("colours", 1)


def test_damage_refuses_a_promotion_and_can_be_overruled(root: Path, tmp_path: Path) -> None:
    models, asked = Models(LocalStore(root)), {"actor": "ann", "reason": ""}
    models.publish("colours", write_bundle(tmp_path / "second", job="job2"), "job2")
    models.promote("colours", "production", 1, **asked)
    models.policies.set("colours", Policy(aliases=("production",), at_least={}, at_most={}, max_label_drop=0.1), actor="ann")
    (root / "colours/1" / MANIFEST).write_text("{")
    damaged = Models(LocalStore(root))
    with pytest.raises(PromotionRefused, match=r"cannot be judged: manifest\.json of colours/1, or .* restore it\."):
        damaged.promote("colours", "production", 2, **asked)
    assert damaged.promote("colours", "production", 2, force=True, **asked).forced


def test_a_version_with_a_damaged_manifest_can_be_deleted(root: Path) -> None:
    (root / "colours/1" / MANIFEST).write_text("{")
    models = Models(LocalStore(root))
    models.delete("colours", 1, timedelta(days=30))
    assert sorted(path.name for path in (root / "colours/1").iterdir()) == ["claim", "deleted"]
    with pytest.raises(VersionNotFound):
        models.manifest("colours", 1)
