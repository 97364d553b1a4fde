"""What makes a GPU quick; decided by arithmetic, so none is needed."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from timm.optim import create_optimizer_v2

from eyasd.core.spec import Optimizer
from eyasd.training.device import layout, pays_to_compile
from eyasd.training.tuning.optimizer import kernels_of

CPU, GPU = torch.device("cpu"), torch.device("cuda")


@pytest.fixture
def compiler(tmp_path: Path) -> Path:
    program = tmp_path / "gcc"
    program.touch(mode=0o755)
    return program


@pytest.mark.parametrize(
    ("backbone", "device", "expected"),
    [
        ("resnet50", GPU, torch.channels_last),
        ("vit_small_patch16_224", GPU, torch.channels_last),
        ("regnety_032", GPU, torch.contiguous_format),
        ("regnety_032", CPU, torch.channels_last),
    ],
)
def test_grouped_convolutions_have_their_channels_first_on_a_gpu(
    backbone: str, device: torch.device, expected: torch.memory_format
) -> None:
    assert layout(backbone, device) is expected


@pytest.mark.parametrize(
    ("samples", "device", "pays"), [(30_680, GPU, False), (1_999_999, GPU, False), (2_000_000, GPU, True), (10**9, CPU, False)]
)
def test_only_a_long_training_on_a_gpu_pays_for_being_compiled(
    samples: int, device: torch.device, pays: bool, compiler: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CC", str(compiler))
    assert pays_to_compile(samples, device) is pays


def test_nothing_is_compiled_where_there_is_no_compiler(compiler: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CC", raising=False)
    monkeypatch.setenv("PATH", str(compiler.parent))
    assert pays_to_compile(2_000_000, GPU)
    compiler.unlink()
    assert not pays_to_compile(2_000_000, GPU)


@pytest.mark.parametrize("optimizer", [Optimizer.ADAMW, Optimizer.ADAM, Optimizer.SGD])
def test_a_fused_optimizer_makes_the_same_steps(optimizer: Optimizer) -> None:
    def after_three_steps(device: torch.device) -> torch.Tensor:
        weights = torch.nn.Parameter(torch.linspace(-1, 1, 12).view(3, 4))
        stepping = create_optimizer_v2([weights], optimizer, lr=0.1, **kernels_of(optimizer, device))
        assert bool(stepping.defaults["fused"]) == (device == GPU)
        for _ in range(3):
            weights.grad = weights.detach().square()
            stepping.step()
        return weights.detach()

    assert torch.allclose(after_three_steps(CPU), after_three_steps(GPU), atol=1e-6)


@pytest.mark.parametrize("optimizer", sorted({*Optimizer} - {Optimizer.ADAMW, Optimizer.ADAM, Optimizer.SGD}))
def test_the_others_have_no_fused_form(optimizer: Optimizer) -> None:
    assert kernels_of(optimizer, GPU) == {}
