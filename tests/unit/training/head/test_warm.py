"""A warm start: the next version begins where another ended, whatever labels were added or removed."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load, load_file, save
from tests.unit.training.conftest import COLOURS, save_square
from tests.unit.training.tuning.colours import colours

from eyasd.core import document, jobdir
from eyasd.core.bundle import MANIFEST, WEIGHTS, Manifest, file_digests, read_manifest
from eyasd.core.errors import BrokenBundle, InvalidArgument
from eyasd.core.names import ModelRef
from eyasd.core.spec import Loss, TrainSpec
from eyasd.core.tasks import TrainingTask
from eyasd.training.head import warm
from eyasd.training.head.fold import fold
from eyasd.training.head.probe import Split
from eyasd.training.head.warm import Base, take_up
from eyasd.training.journal import FINE_TUNE_SHARES, Journal
from eyasd.training.network import Network, build_head, input_format
from eyasd.training.ranks import Ranks
from eyasd.training.recipe import resolve
from eyasd.training.train import train
from eyasd.training.tuning.average import State
from eyasd.training.tuning.validate import measure

TINY = TrainSpec(backbone="test_resnet", pretrained=False, image_size_px=32, batch_size=8, epochs=2)
REFERENCE = ModelRef("squares", version=3)


def run(folder: Path, dataset: Path, spec: TrainSpec, base: Path | None = None) -> Manifest:
    """Runs a training, from the bundle `base` where there is one; returns the manifest of what it made."""
    folder.mkdir(exist_ok=True)
    if base:
        (folder / jobdir.BASE).mkdir(exist_ok=True)
        for name in (MANIFEST, WEIGHTS):
            shutil.copy(base / name, folder / jobdir.BASE)
    task = TrainingTask(
        job="j1",
        attempt=1,
        model="squares",
        dataset=str(dataset),
        spec=spec,
        hub=False,
        base_version=REFERENCE if base else None,
    )
    train(task, folder, Journal(folder / jobdir.PROGRESS, FINE_TUNE_SHARES), Ranks())
    return read_manifest((folder / jobdir.BUNDLE / MANIFEST).read_bytes())


def said(folder: Path) -> str:
    lines = map(json.loads, (folder / jobdir.PROGRESS).read_text().splitlines())
    return "\n".join(line["message"] for line in lines if line.get("message"))


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of a version that knows red, green and blue, and what it was trained on beside it."""
    root = tmp_path_factory.mktemp("first")
    for label, colour in COLOURS.items():
        for seed in range(12):
            save_square(root / "data" / label / f"{seed:02}.png", colour, 100 * len(label) + seed)
    run(root / "job", root / "data", TINY)
    return root / "job" / jobdir.BUNDLE


class TestTraining:
    def test_a_label_may_come_and_another_go(self, tmp_path: Path, squares: Callable[..., Path], first: Path) -> None:
        data = squares({"red": 12, "violet": 12, "blue": 12}, name="other")
        folder = tmp_path / "second"
        manifest = run(folder, data, TrainSpec(epochs=0), first)
        assert manifest.labels == ("blue", "red", "violet")
        assert manifest.evaluation.accuracy > 0.9
        # Of what it was not told it is what it starts from; and it says what that is.
        assert (manifest.lineage.backbone, manifest.preprocess.crop_px) == ("test_resnet", 32)
        digest = file_digests(first)[WEIGHTS]
        assert (manifest.lineage.base_version, manifest.lineage.weights_source) == (REFERENCE, f"squares/3 (SHA-256 {digest})")
        assert f"squares/3 (SHA-256 {digest})" in (folder / jobdir.BUNDLE / "report.html").read_text()
        assert f"starts from squares/3 (SHA-256 {digest})" in said(folder)
        assert "The head was fitted anew: that of squares/3 is not for these labels" in said(folder)
        before, after = load_file(first / WEIGHTS), load_file(folder / jobdir.BUNDLE / WEIGHTS)
        backbone = [name for name in before if name.startswith("backbone.")]
        assert len(backbone) > 50
        assert all(torch.equal(before[name], after[name]) for name in backbone)
        assert not torch.equal(before["head.1.weight"], after["head.1.weight"])
        # What the first one has seen the second one has seen, and its own pictures, but for the test split's.
        assert (len(before["seen"]), len(after["seen"])) == (30, 60)
        assert set(before["seen"].tolist()) < set(after["seen"].tolist())

    def test_the_same_labels_go_on_where_it_ended(self, tmp_path: Path, first: Path) -> None:
        manifest = run(tmp_path / "second", first.parents[1] / "data", TrainSpec(epochs=1, batch_size=8), first)
        assert [epoch.epoch for epoch in manifest.history] == [0, 1]
        assert "The head of squares/3 was " in said(tmp_path / "second")
        # It begins no worse than the other ended, which was no worse than any of its epochs.
        assert manifest.evaluation.leaked_examples == 0
        then = read_manifest((first / MANIFEST).read_bytes()).history
        assert manifest.history[0].loss <= min(epoch.loss for epoch in then) + 1e-3

    def test_another_base_is_another_training(self, tmp_path: Path, squares: Callable[..., Path], first: Path) -> None:
        """What an earlier attempt computed from other weights is not used."""
        data, spec, folder = squares({"red": 12, "blue": 12}), TrainSpec(epochs=1, batch_size=8), tmp_path / "job"
        run(folder, data, spec, first)
        state = load_file(first / WEIGHTS)
        stem = next(name for name, value in state.items() if name.startswith("backbone.") and value.ndim == 4)
        state[stem] *= 1.5
        rewrite(first, tmp_path / "changed", state)
        run(folder, data, spec, tmp_path / "changed")
        assert "Took 24 of 24 decoded pictures from the cache" in said(folder)
        assert "Went on" not in said(folder)
        after = load_file(folder / jobdir.BUNDLE / WEIGHTS)
        assert torch.allclose(after[stem], state[stem], atol=0.02)

    def test_it_starts_from_folded_weights_too(self, tmp_path: Path, first: Path) -> None:
        """Those of pre-trained networks are: their batch normalisation is merged into the convolutions."""
        state = load_file(first / WEIGHTS)
        network = Network(resolve(TINY, 100, 160), input_format("test_resnet"), 3)
        network.backbone.load_state_dict({n.removeprefix("backbone."): v for n, v in state.items() if n.startswith("backbone.")})
        network.head.load_state_dict({n.removeprefix("head."): v for n, v in state.items() if n.startswith("head.")})
        assert fold(network.body, 32)
        folded = load(warm.dump(network, state["seen"].numpy()))
        rewrite(first, tmp_path / "folded", folded)
        manifest = run(tmp_path / "second", first.parents[1] / "data", TrainSpec(epochs=0), tmp_path / "folded")
        then = read_manifest((first / MANIFEST).read_bytes()).history
        assert manifest.history[0].loss <= min(epoch.loss for epoch in then) + 1e-3
        after = load_file(tmp_path / "second" / jobdir.BUNDLE / WEIGHTS)
        assert all(torch.equal(value, after[name]) for name, value in folded.items() if name.startswith("backbone."))


def rewrite(bundle: Path, place: Path, state: State) -> None:
    """Copies what a training gets of a bundle, with other weights that are its own."""
    place.mkdir()
    manifest = read_manifest((bundle / MANIFEST).read_bytes())
    for name in manifest.files:
        shutil.copy(bundle / name, place)
    (place / WEIGHTS).write_bytes(save(state))
    (place / MANIFEST).write_text(document.dump(replace(manifest, files=file_digests(place))))


SEEN = np.arange(5, 45)


def test_test_pictures_that_the_version_was_trained_on_count_as_leaked(tiny_bundle: Path) -> None:
    base = Base(REFERENCE, read_manifest((tiny_bundle / MANIFEST).read_bytes()), {}, {}, SEEN)
    _, data = colours(60)  # the last six are the test split
    files = np.arange(60) + 100
    assert base.with_leaks(data, files) is data
    files[[3, 55, 58]] = 7, 5, 44
    marked = base.with_leaks(replace(data, leaked=np.arange(60) == 56), files)
    assert np.flatnonzero(marked.leaked).tolist() == [55, 56, 58]
    assert marked.report.warnings == (
        "2 of the 6 test pictures are among those that squares/3 was trained on; the figures flatter the model as far as they do.",
    )


class TestReading:
    @pytest.fixture
    def task(self, tmp_path: Path, tiny_bundle: Path) -> TrainingTask:
        """Of a training whose folder is `tmp_path`; the version is of the network `test_resnet`."""
        manifest = read_manifest((tiny_bundle / MANIFEST).read_bytes())
        recipe = resolve(TINY, 100, 160)
        (tmp_path / jobdir.BASE).mkdir()
        (tmp_path / jobdir.BASE / WEIGHTS).write_bytes(warm.dump(Network(recipe, input_format("test_resnet"), 3), SEEN))
        self.describe(tmp_path, replace(manifest, lineage=replace(manifest.lineage, backbone="test_resnet")))
        return TrainingTask(job="j", attempt=1, model="m", dataset="/d", spec=TrainSpec(epochs=1), base_version=REFERENCE)

    def describe(self, folder: Path, manifest: Manifest) -> None:
        files = {**manifest.files, WEIGHTS: hashlib.sha256((folder / jobdir.BASE / WEIGHTS).read_bytes()).hexdigest()}
        (folder / jobdir.BASE / MANIFEST).write_text(document.dump(replace(manifest, files=files)))

    def test_without_a_base_nothing_is_read(self, tmp_path: Path, task: TrainingTask) -> None:
        shutil.rmtree(tmp_path / jobdir.BASE)
        plain = replace(task, base_version=None)
        assert take_up(plain, tmp_path) == (plain, None)

    def test_weights_survive_the_trip(self, tmp_path: Path, task: TrainingTask) -> None:
        told, base = take_up(task, tmp_path)
        assert base is not None
        assert told.spec == TrainSpec(epochs=1, backbone="test_resnet", image_size_px=32)
        torch.manual_seed(9)
        network = Network(resolve(TINY, 100, 160), input_format("test_resnet"), 3)
        assert base.give(network.backbone) == base.source
        network.head.load_state_dict(base.head)
        assert warm.dump(network, base.seen) == (tmp_path / jobdir.BASE / WEIGHTS).read_bytes()

    def test_weights_that_were_changed_are_refused(self, tmp_path: Path, task: TrainingTask) -> None:
        with (tmp_path / jobdir.BASE / WEIGHTS).open("ab") as file:
            file.write(b"\0")
        with pytest.raises(BrokenBundle, match=r"weights\.safetensors was changed after it was published"):
            take_up(task, tmp_path)

    def test_weights_without_what_was_seen_are_refused(self, tmp_path: Path, task: TrainingTask) -> None:
        manifest = read_manifest((tmp_path / jobdir.BASE / MANIFEST).read_bytes())
        state = load_file(tmp_path / jobdir.BASE / WEIGHTS)
        del state["seen"]
        (tmp_path / jobdir.BASE / WEIGHTS).write_bytes(save(state))
        self.describe(tmp_path, manifest)
        with pytest.raises(BrokenBundle, match=r"squares/3 is damaged: 'seen'"):
            take_up(task, tmp_path)

    def test_a_file_that_holds_no_weights_is_refused(self, tmp_path: Path, task: TrainingTask) -> None:
        manifest = read_manifest((tmp_path / jobdir.BASE / MANIFEST).read_bytes())
        (tmp_path / jobdir.BASE / WEIGHTS).write_bytes(b"no weights")
        self.describe(tmp_path, manifest)
        with pytest.raises(BrokenBundle, match=r"weights\.safetensors of squares/3 is damaged"):
            take_up(task, tmp_path)

    def test_a_contradiction_is_refused_here_too(self, tmp_path: Path, task: TrainingTask) -> None:
        with pytest.raises(InvalidArgument, match="that of squares/3 is test_resnet"):
            take_up(replace(task, spec=TrainSpec(backbone="resnet18")), tmp_path)

    def test_weights_of_another_network_are_refused(self, tmp_path: Path, task: TrainingTask) -> None:
        _, base = take_up(task, tmp_path)
        assert base is not None
        with pytest.raises(BrokenBundle, match=r"does not fit the test_resnet of timm .*: install that"):
            base.give(Network(resolve(replace(TINY, backbone="test_vit"), 100, 160), input_format("test_vit"), 3).backbone)


LABELS = ("blue", "green", "red")


class TestHead:
    """Features of six numbers; the version's own head is as good as can be, or as bad."""

    @pytest.fixture
    def base(self, tiny_bundle: Path) -> Callable[..., Base]:
        manifest = read_manifest((tiny_bundle / MANIFEST).read_bytes())

        def build(head: torch.nn.Sequential, loss: Loss = Loss.CROSS_ENTROPY) -> Base:
            lineage = replace(manifest.lineage, recipe={"loss": loss.value})
            return Base(REFERENCE, replace(manifest, labels=LABELS, lineage=lineage), {}, head.state_dict(), SEEN)

        return build

    def split(self, labels: tuple[str, ...]) -> Split:
        """Four pictures a label, each of which is known by the feature of its own name."""
        targets = torch.arange(4 * len(labels)) % len(labels)
        places = torch.tensor([("blue", "green", "red", "violet").index(label) for label in labels])
        return Split(torch.eye(6)[places[targets]] + 0.01 * torch.arange(len(targets))[:, None], targets)

    def head(self, gain: float, labels: int = 3, hidden: int = 0) -> torch.nn.Sequential:
        """Sees a label in the feature of its number."""
        torch.manual_seed(0)
        head = build_head(6, hidden, 0.3, labels).eval()
        with torch.no_grad():
            head[-1].bias.zero_()
            if not hidden:
                head[-1].weight.copy_(gain * torch.eye(labels, 6))
        return head

    def taken(
        self, base: Base, head: torch.nn.Sequential, labels: tuple[str, ...], loss: Loss = Loss.CROSS_ENTROPY
    ) -> tuple[Any, str]:
        split = self.split(labels)
        with torch.inference_mode():
            fitted = measure(0, 0.5, head(split.features).numpy(), split.targets.numpy(), loss)
        figures, message = base.keep_better_head(head, fitted, labels, loss, split, split)
        with torch.inference_mode():
            now = measure(0, figures.train_loss, head(split.features).numpy(), split.targets.numpy(), loss)
        assert now == figures  # the figures are those of the head as it is left
        return (figures, message)

    def test_the_better_one_is_taken(self, base: Callable[..., Base]) -> None:
        head, own = self.head(-1.0), self.head(8.0)
        figures, message = self.taken(base(own), head, LABELS)
        assert torch.equal(head[-1].weight, own[-1].weight)
        assert (figures.accuracy, message.startswith("The head of squares/3 was kept: its validation loss is 0.0")) == (1, True)
        figures, message = self.taken(base(self.head(-1.0)), head, LABELS)
        assert torch.equal(head[-1].weight, own[-1].weight)
        assert (figures.accuracy, message.startswith("The head of squares/3 was replaced: ")) == (1, True)

    def test_rows_follow_their_labels_and_a_removed_one_vanishes(self, base: Callable[..., Base]) -> None:
        own, head = self.head(8.0), self.head(-1.0, labels=2)
        figures, _ = self.taken(base(own), head, ("green", "red"))
        assert torch.equal(head[-1].weight, own[-1].weight[1:])
        assert figures.accuracy == 1

    @pytest.mark.parametrize(
        ("labels", "loss", "hidden"),
        [
            (("blue", "violet"), Loss.CROSS_ENTROPY, 0),
            (LABELS, Loss.BINARY_CROSS_ENTROPY, 0),
            (LABELS, Loss.CROSS_ENTROPY, 4),
        ],
        ids=["a new label", "another kind of loss", "a hidden layer"],
    )
    def test_where_it_does_not_fit_the_new_one_is_left(
        self, base: Callable[..., Base], labels: tuple[str, ...], loss: Loss, hidden: int
    ) -> None:
        head = self.head(1.0, len(labels), hidden)
        before = {name: value.clone() for name, value in head.state_dict().items()}
        figures, message = self.taken(base(self.head(8.0)), head, labels, loss)
        assert all(torch.equal(value, before[name]) for name, value in head.state_dict().items())
        assert "was fitted anew" in message
        assert figures.train_loss == 0.5

    def test_of_a_head_with_a_hidden_layer_the_last_layer_has_the_labels(self, base: Callable[..., Base]) -> None:
        own, head = self.head(1.0, hidden=4), self.head(1.0, labels=2, hidden=4)
        with torch.no_grad():
            head[-1].weight.zero_()
            own[0].weight.copy_(torch.eye(4, 6))
            own[0].bias.zero_()
            own[-1].weight.copy_(8 * torch.eye(3, 4))
        self.taken(base(own), head, ("green", "red"))
        assert torch.equal(head[0].weight, own[0].weight)
        assert torch.equal(head[-1].weight, own[-1].weight[1:])

    @pytest.mark.parametrize("focal", [Loss.FOCAL, Loss.CROSS_ENTROPY])
    def test_a_softmax_is_a_softmax_whatever_was_minimised(self, base: Callable[..., Base], focal: Loss) -> None:
        assert "was kept" in self.taken(base(self.head(8.0), focal), self.head(-1.0), LABELS)[1]
