"""registry.models: publication is atomic, repeatable and one to a job; the layout is one that Triton serves."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from itertools import count
from pathlib import Path

import onnx
import pytest

from builders import colour_network, write_bundle
from eyasd.core import bundle
from eyasd.core.errors import AliasNotFound, BrokenBundle, LeaseLost, ModelNotFound, StorageFailed, VersionNotFound
from eyasd.core.names import ModelRef
from eyasd.core.unknown import DistributionRule, UnknownRules
from eyasd.registry.models import Models
from eyasd.storage.local import LocalStore


class FailingStore(LocalStore):
    """A store whose disk fills up after some writes."""

    def __init__(self, root: Path, writes: int) -> None:
        super().__init__(root)
        self.writes = writes

    def _spend(self) -> None:
        if self.writes == 0:
            raise StorageFailed("No space left on device.")
        self.writes -= 1

    def write(self, key: str, content: bytes) -> None:
        self._spend()
        super().write(key, content)

    def write_file(self, key: str, path: Path) -> None:
        self._spend()
        super().write_file(key, path)

    def create(self, key: str, content: bytes) -> bool:
        self._spend()
        return super().create(key, content)


def test_versions_are_numbered_from_one(models: Models, tmp_path: Path) -> None:
    for number in (1, 2, 3):
        assert models.publish("colours", write_bundle(tmp_path / str(number), job=f"job{number}"), f"job{number}") == number
    assert models.names() == ["colours"]
    assert models.versions("colours") == [1, 2, 3]
    assert models.manifest("colours", 2).lineage.job == "job2"


def test_a_job_has_one_version_however_often_it_publishes(models: Models, tiny_bundle: Path) -> None:
    assert models.publish("colours", tiny_bundle, "job1") == models.publish("colours", tiny_bundle, "job1") == 1
    assert models.versions("colours") == [1]


@pytest.mark.parametrize("writes", range(7))
def test_a_publication_cut_short_is_invisible_and_can_be_taken_up(tmp_path: Path, tiny_bundle: Path, writes: int) -> None:
    store = FailingStore(tmp_path / "models", writes)
    with pytest.raises(StorageFailed):
        Models(store).publish("colours", tiny_bundle, "job1")
    assert Models(store).names() == []
    store.writes = -1  # the disk has room again
    other = write_bundle(tmp_path / "other", job="job2")
    taken = {Models(store).publish("colours", other, "job2"), Models(store).publish("colours", tiny_bundle, "job1")}
    assert taken == {1, 2}
    assert Models(store).versions("colours") == [1, 2]
    for version in (1, 2):
        assert Models(store).fetch("colours", version, bundle.MODEL) == (tiny_bundle / bundle.MODEL).read_bytes()


class SharedStore(LocalStore):
    """A store in which somebody else acts at a moment, once."""

    def __init__(self, root: Path, moment: int, act: Callable[[], object]) -> None:
        super().__init__(root)
        self._moment, self._act, self.calls = moment, act, 0

    def _pass(self) -> None:
        self.calls += 1
        if self.calls == self._moment:
            self._act()

    def exists(self, key: str) -> bool:
        self._pass()
        return super().exists(key)

    def read(self, key: str) -> bytes:
        self._pass()
        return super().read(key)

    def write_file(self, key: str, path: Path) -> None:
        self._pass()
        super().write_file(key, path)

    def create(self, key: str, content: bytes) -> bool:
        self._pass()
        return super().create(key, content)

    def delete(self, key: str) -> None:
        self._pass()
        super().delete(key)


@pytest.mark.parametrize("stale_first", [True, False])
def test_of_the_attempts_of_a_job_one_publishes_whenever_a_later_one_takes_over(tmp_path: Path, *, stale_first: bool) -> None:
    for moment in count(1):
        folder, found = tmp_path / str(moment), list[int]()
        first, second = (1, 2) if stale_first else (2, 1)

        def act(folder: Path = folder, found: list[int] = found, attempt: int = second) -> None:
            with suppress(LeaseLost):
                found.append(Models(LocalStore(folder)).publish("m", write_bundle(folder / "other", job="job1"), "job1", attempt))

        store = SharedStore(folder, moment, act)
        kept = [0]
        try:
            kept = [Models(store).publish("m", write_bundle(folder / "one", job="job1"), "job1", first)]
        except LeaseLost:
            assert stale_first
        if store.calls < moment:
            break
        (version,) = Models(LocalStore(folder)).versions("m")
        assert version in (found if stale_first else kept)  # the later attempt's, or what it found published
    assert moment > 10


def test_a_damaged_bundle_is_not_published(models: Models, tiny_bundle: Path) -> None:
    (tiny_bundle / bundle.MODEL).write_bytes(b"damaged")
    with pytest.raises(BrokenBundle, match=r"model\.onnx was changed"):
        models.publish("colours", tiny_bundle, "job1")
    assert models.names() == []


def test_references(models: Models, tiny_bundle: Path) -> None:
    models.publish("colours", tiny_bundle, "job1")
    models.aliases.set("colours", "production", 1, actor="ann", reason="")
    assert models.resolve(ModelRef("colours", alias="production")) == models.resolve(ModelRef("colours", version=1)) == 1
    with pytest.raises(VersionNotFound, match="has no version 7; its newest is 1"):
        models.resolve(ModelRef("colours", version=7))
    with pytest.raises(AliasNotFound, match="no alias 'canary'; its aliases are: production"):
        models.resolve(ModelRef("colours", alias="canary"))
    for ref in (ModelRef("nothing", alias="production"), ModelRef("nothing", version=1)):
        with pytest.raises(ModelNotFound, match="no model 'nothing'; the models are: colours"):
            models.resolve(ref)


@pytest.mark.parametrize("content", [None, b"changed"])
def test_a_file_that_is_missing_or_changed_is_not_fetched(
    models: Models, tiny_bundle: Path, tmp_path: Path, content: bytes | None
) -> None:
    models.publish("colours", tiny_bundle, "job1")
    path = tmp_path / "models/colours/1/model.onnx"
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(BrokenBundle, match=r"model\.onnx"):
        models.fetch("colours", 1, bundle.MODEL)


@pytest.mark.parametrize("explainable", [False, True])
def test_triton_finds_the_network_and_a_configuration_that_fits_it(models: Models, tmp_path: Path, *, explainable: bool) -> None:
    network = colour_network(ood_score=True, maps=explainable)
    unknown = UnknownRules(DistributionRule("largest", 225.0, 0.99))
    models.publish("colours", write_bundle(tmp_path / "bundle", explainable=explainable, network=network, unknown=unknown), "job1")
    root = tmp_path / "models/colours"
    graph = onnx.load(root / "1/model.onnx").graph
    config = (root / "config.pbtxt").read_text()
    dims = {
        name: [int(d) for d in text.split(",")]
        for name, text in re.findall(r'name: "(\w+)", data_type: \w+, dims: \[ ([\d, ]+) \]', config)
    }
    shapes = {v.name: [d.dim_value for d in v.type.tensor_type.shape.dim][1:] for v in (*graph.input, *graph.output)}
    assert dims == shapes | {"ood_score": [1]}
    assert 'name: "ood_score", data_type: TYPE_FP32, dims: [ 1 ], reshape: { shape: [ ] }' in config
    assert 'name: "colours"' in config
    # Triton reads folders whose names are numbers as versions, and no others.
    assert {p.name for p in root.iterdir() if p.is_dir()} == {"1"}
