"""A version goes for good; one that an alias holds, or held not long ago, does not."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from builders import write_bundle
from eyasd.core import bundle
from eyasd.core.errors import StorageFailed, VersionInUse, VersionNotFound
from eyasd.core.names import ModelRef
from eyasd.registry.models import Models
from eyasd.storage.local import LocalStore

ANN: dict[str, Any] = {"actor": "ann", "reason": ""}
NOW, MONTH = timedelta(0), timedelta(days=30)


@pytest.fixture
def three(models: Models, tmp_path: Path) -> Models:
    """A model of three versions."""
    for number in (1, 2, 3):
        models.publish("colours", write_bundle(tmp_path / str(number), job=f"job{number}"), f"job{number}")
    return models


def test_a_deleted_version_is_gone_and_its_number_is_not_given_again(three: Models, tmp_path: Path) -> None:
    three.delete("colours", 3, MONTH)
    assert three.versions("colours") == [1, 2]
    with pytest.raises(VersionNotFound, match="has no version 3; its newest is 2"):
        three.resolve(ModelRef("colours", version=3))
    with pytest.raises(VersionNotFound):
        three.manifest("colours", 3)
    with pytest.raises(VersionNotFound):
        three.delete("colours", 3, MONTH)
    assert sorted(path.name for path in (tmp_path / "models/colours/3").iterdir()) == ["claim", "deleted"]
    assert three.publish("colours", write_bundle(tmp_path / "4", job="job4"), "job4") == 4


def test_a_job_that_publishes_again_does_not_bring_it_back(three: Models, tmp_path: Path) -> None:
    three.delete("colours", 3, MONTH)
    assert three.publish("colours", tmp_path / "3", "job3") == 3
    assert three.versions("colours") == [1, 2]


def test_the_version_of_an_alias_stays(three: Models) -> None:
    three.aliases.set("colours", "canary", 2, **ANN)
    with pytest.raises(VersionInUse, match="colours@canary points to version 2: point it elsewhere first"):
        three.delete("colours", 2, NOW)
    assert three.versions("colours") == [1, 2, 3]
    assert three.promote("colours", "production", 2, **ANN).version == 2  # no mark is left


def test_the_version_that_an_alias_has_left_stays_for_a_while(three: Models) -> None:
    for version in (1, 2, 3, 2):
        three.aliases.set("colours", "production", version, **ANN)
    with pytest.raises(VersionInUse, match="colours@production pointed to version 3 until .* UTC; it is kept for a rollback until"):
        three.delete("colours", 3, MONTH)
    three.delete("colours", 3, NOW)
    assert three.versions("colours") == [1, 2]


def test_no_alias_is_rolled_back_to_a_deleted_version(three: Models) -> None:
    for version in (1, 2):
        three.aliases.set("colours", "production", version, **ANN)
    three.delete("colours", 1, NOW)
    with pytest.raises(VersionNotFound, match="pointed to version 1 before, which was deleted since"):
        three.rollback("colours", "production", **ANN)
    assert three.resolve(ModelRef("colours", alias="production")) == 2


def test_a_promotion_during_a_deletion_is_taken_back(three: Models, tmp_path: Path) -> None:
    three.aliases.set("colours", "production", 1, **ANN)

    class Meanwhile(LocalStore):
        """A store in which the deletion of version 3 has begun when the record is written."""

        def create(self, key: str, content: bytes) -> bool:
            if "aliases" in key:
                super().create("colours/3/deleted", b"")
            return super().create(key, content)

    racing = Models(Meanwhile(tmp_path / "models"))
    with pytest.raises(VersionNotFound, match="colours/3 was deleted at the same moment"):
        racing.promote("colours", "production", 3, **ANN)
    assert [record.version for record in three.aliases.history("colours", "production")] == [1, 3, 1]


def test_a_deletion_that_is_cut_short_has_ended_the_version(three: Models, tmp_path: Path) -> None:
    class Failing(LocalStore):
        """A store that fails once the manifest is gone."""

        def delete(self, key: str) -> None:
            super().delete(key)
            if key.endswith(bundle.MANIFEST):
                raise StorageFailed("The disk is gone.")

    with pytest.raises(StorageFailed):
        Models(Failing(tmp_path / "models")).delete("colours", 3, MONTH)
    assert three.versions("colours") == [1, 2]  # it ended with its manifest; what is left is no version
    assert (tmp_path / "models/colours/3/model.onnx").exists()
    three.tidy(MONTH)
    assert sorted(path.name for path in (tmp_path / "models/colours/3").iterdir()) == ["claim", "deleted"]


def test_a_deletion_that_had_only_begun_is_ended_unless_an_alias_holds_the_version(three: Models, tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "models")
    three.aliases.set("colours", "production", 2, **ANN)
    for version in (2, 3):
        store.create(f"colours/{version}/deleted", b"")
    three.tidy(MONTH)
    assert three.versions("colours") == [1, 2]


def test_who_is_killed_in_a_deletion_that_is_refused_leaves_no_mark(three: Models, tmp_path: Path) -> None:
    class Killed(LocalStore):
        """A store that lets nothing be taken back."""

        def delete(self, key: str) -> None:
            raise StorageFailed("The process is gone.")

    three.aliases.set("colours", "production", 3, **ANN)
    with pytest.raises(VersionInUse):
        Models(Killed(tmp_path / "models")).delete("colours", 3, MONTH)
    assert three.promote("colours", "canary", 3, **ANN).version == 3
