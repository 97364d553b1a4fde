"""Five mistakes that a tutorial of fine-tuning makes, and that no training of Eyas shall make."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import timm
import torch
from hypothesis import given
from hypothesis import strategies as st

from builders import write_bundle
from eyas import _evaluation
from eyas._command import render_evaluation
from eyasd.api.messages.evaluation import evaluation_message
from eyasd.core.bundle import INPUT, LOGITS, MANIFEST, PROBABILITIES, read_manifest
from eyasd.core.findings import LabelCounts
from eyasd.core.spec import Loss, TrainSpec
from eyasd.training.data.split import carve
from eyasd.training.head.features import extract
from eyasd.training.head.probe import Split, fit_head
from eyasd.training.network import Network, Servable, input_format
from eyasd.training.outcome.evaluate import score
from eyasd.training.outcome.export import to_onnx
from eyasd.training.outcome.report.page import render
from eyasd.training.recipe import resolve

from .tuning.colours import Tuning, recipe_of

EVERY_CHANGE = {
    "rotation_degrees": 90.0,
    "shift_fraction": 0.4,
    "zoom_fraction": 0.5,
    "min_crop_fraction": 0.3,
    "color_fraction": 0.8,
    "erasing_probability": 1.0,
    "mixup_alpha": 1.0,
    "cutmix_alpha": 1.0,
    "horizontal_flip": True,
}


class TestNormalisationIsThatOfTheWeights:
    """Not ImageNet's for every network."""

    @pytest.mark.parametrize("backbone", ["tf_efficientnet_lite0", "resnet18", "vit_tiny_patch16_224"])
    def test_the_first_layer_of_the_exported_file_is_fed_what_the_weights_were_trained_on(
        self, backbone: str, tmp_path: Path
    ) -> None:
        form = input_format(backbone)
        recipe = resolve(TrainSpec(backbone=backbone, pretrained=False, image_size_px=32), 100, form.native_px)
        servable = Servable(Network(recipe, form, 3), Loss.CROSS_ENTROPY, 1.5).eval()
        example = torch.zeros(1, 32, 32, 3, dtype=torch.uint8)
        to_onnx(servable, example, tmp_path / "model.onnx", [PROBABILITIES, LOGITS], {})
        model = onnx.load(str(tmp_path / "model.onnx"))
        fed = next(node.input[0] for node in model.graph.node if node.op_type == "Conv")
        model.graph.output.append(onnx.helper.make_tensor_value_info(fed, onnx.TensorProto.FLOAT, None))
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        session = onnxruntime.InferenceSession(model.SerializeToString(), options)
        config = timm.get_pretrained_cfg(backbone)
        mean, std = (np.array(values) for values in (config.mean, config.std))
        # Red, green and blue differ, so that swapped channels show, too.
        for colour in ((0, 0, 0), (255, 255, 255), (10, 100, 200)):
            pictures = np.full((2, 32, 32, 3), colour, np.uint8)
            (found,) = session.run([fed], {INPUT: pictures})
            inside = found[:, :, 8:-8, 8:-8]  # a layer may pad its picture before its convolution
            wanted = ((np.array(colour) / 255 - mean) / std).reshape(1, 3, 1, 1)
            assert np.allclose(inside, np.broadcast_to(wanted, inside.shape), atol=1e-5)

    def test_the_families_above_do_not_agree(self) -> None:
        assert timm.get_pretrained_cfg("resnet18").mean != timm.get_pretrained_cfg("tf_efficientnet_lite0").mean


class TestValidationPicturesAreNotAugmented:
    """Figures of pictures that were changed are of no use, and chosen by them the weights are the wrong ones."""

    def test_they_reach_the_network_bit_for_bit_in_every_epoch(self, tmp_path: Path) -> None:
        tuning = Tuning(tmp_path, recipe_of(epochs=3, **EVERY_CHANGE))
        seen: dict[bool, list[list[bytes]]] = {True: [], False: []}

        def look(network: torch.nn.Module, given: tuple[torch.Tensor]) -> None:
            pictures = given[0].permute(0, 2, 3, 1).contiguous().numpy()
            seen[network.training].append([picture.tobytes() for picture in pictures])

        with tuning.network.register_forward_pre_hook(look):
            tuning.run()
        pictures = {
            name: [image.astype(np.float32).tobytes() for image in tuning.images[rows]] for name, rows in tuning.data.rows.items()
        }
        validated = Counter(picture for batch in seen[False] for picture in batch)
        assert validated.keys() == set(pictures["validation"])
        assert min(validated.values()) >= 3  # once an epoch
        trained = {picture for batch in seen[True] for picture in batch}
        assert len(trained) >= 3 * len(pictures["train"])  # each time another
        assert not trained & {picture for split in pictures.values() for picture in split}


class TestSplitsAreStratified:
    """A split by chance alone may leave a rare label without a single test picture."""

    @given(
        st.dictionaries(st.sampled_from("abcde"), st.integers(4, 300), min_size=2),
        st.sampled_from([(0.15, 0.15), (0.2, 0.1), (0.1, 0.3)]),
        st.integers(0, 999),
    )
    def test_each_label_has_its_share_of_each_split_within_one_picture(
        self, counts: dict[str, int], shares: tuple[float, float], seed: int
    ) -> None:
        labels = [label for label, count in counts.items() for _ in range(count)]
        units = [f"{seed} {number}" for number in range(len(labels))]
        fractions = {"validation": shares[0], "test": shares[1]}
        found = Counter(zip(labels, carve(units, labels, fractions, seed), strict=True))
        for label, count in counts.items():
            for split, share in {**fractions, "train": 1 - sum(shares)}.items():
                assert abs(found[label, split] - share * count) <= 1 + 1e-9


class TestTheWholeNetworkIsTuned:
    """Not the head alone, and not the last block alone; but the head first, before its gradients can spoil what lies below."""

    def parts(self, network: Network) -> dict[str, list[torch.Tensor]]:
        """The kernels and matrices of the early, the middle and the late layers, and of the head."""
        own = [parameter.detach().clone() for parameter in network.backbone.parameters() if parameter.ndim > 1]
        third = len(own) // 3
        head = [parameter.detach().clone() for parameter in network.head.parameters() if parameter.ndim > 1]
        return {"early": own[:third], "middle": own[third:-third], "late": own[-third:], "head": head}

    @pytest.mark.parametrize("backbone", ["test_resnet", "test_vit"])
    @pytest.mark.parametrize(("ratio", "moves"), [(0.3, {"early", "middle", "late", "head"}), (0.0, {"head"})])
    def test_every_layer_moves_while_fine_tuning(self, tmp_path: Path, backbone: str, ratio: float, moves: set[str]) -> None:
        tuning = Tuning(tmp_path, recipe_of(backbone=backbone, epochs=1, pretrained=True, backbone_learning_rate_ratio=ratio))
        before = self.parts(tuning.network)
        tuning.run()
        after = self.parts(tuning.network)
        assert {part for part in before if self.moved(before[part], after[part])} == moves

    def test_none_moves_while_the_head_is_fitted(self, tmp_path: Path) -> None:
        tuning = Tuning(tmp_path, recipe_of())
        network, data, rows = tuning.network, tuning.data, np.arange(60)
        before, state = self.parts(network), {name: value.clone() for name, value in network.body.state_dict().items()}
        tuning.journal.stage("fine-tune")
        seen = torch.from_numpy(extract(network.body, tuning.images, rows, tmp_path, "key", tuning.journal))
        splits = [Split(seen[data.rows[name]], torch.from_numpy(data.targets[data.rows[name]])) for name in ("train", "validation")]
        fit_head(network.head, *splits, Loss.CROSS_ENTROPY, 0)
        assert self.moved(before["head"], self.parts(network)["head"])
        assert all(torch.equal(value, state[name]) for name, value in network.body.state_dict().items())

    def moved(self, before: list[torch.Tensor], after: list[torch.Tensor]) -> bool:
        """Whether all of them did; none or all, nothing in between."""
        different = {not torch.equal(one, other) for one, other in zip(before, after, strict=True)}
        assert len(different) == 1
        return different.pop()


class TestAccuracyIsNotTheOnlyFigure:
    """Of 95 shirts and 5 hats, who says shirt to everything is right 95 times."""

    def test_who_always_answers_the_commonest_label_is_found_out(self, tmp_path: Path) -> None:
        targets = np.array([0] * 95 + [1] * 5)
        found = score(np.tile(np.array([[0.95, 0.05]], np.float32), (100, 1)), targets, ["shirt", "hat"])
        assert found.accuracy == 0.95
        assert (found.macro_recall, found.macro_precision) == (0.5, pytest.approx(0.475))
        assert found.macro_f1 == pytest.approx(0.4872, abs=1e-4)
        assert [(row.label, row.recall, row.f1, row.predicted_counts) for row in found.labels][1] == ("hat", 0.0, 0.0, (5, 0))

        # And whoever looks at the figures sees it: in the version's report and on the command line.
        manifest = read_manifest((write_bundle(tmp_path / "bundle") / MANIFEST).read_bytes())
        labels = (LabelCounts("shirt", 1, 1, 95), LabelCounts("hat", 1, 1, 5))
        manifest = replace(manifest, evaluation=found, dataset_report=replace(manifest.dataset_report, labels=labels))
        page = render("clothing", manifest)
        for figure in ("<dt>Macro recall</dt><dd>0.500</dd>", "<dt>Macro F1</dt><dd>0.487</dd>"):
            assert figure in page
        assert "macro F1 0.4872" in render_evaluation.headline(_evaluation.evaluation(evaluation_message(found))).plain
