"""What a step goes by: in parts where memory is small, compiled, and of a bounded norm."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import torch

from eyasd.training.network import Network
from eyasd.training.tuning import gradients
from eyasd.training.tuning.gradients import Gradients

from .colours import EVERY_CHANGE, Tuning, recipe_of


def test_a_batch_that_does_not_fit_is_taken_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = recipe_of(batch_size=8, epochs=2, dropout=0.0)  # a small batch: normalised by the kept statistics
    whole = Tuning(tmp_path / "whole", recipe)
    history = whole.run()
    forward = Network.forward

    def small_memory(self: Network, pixels: torch.Tensor) -> torch.Tensor:
        if self.training and len(pixels) > 3:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return forward(self, pixels)

    monkeypatch.setattr(Network, "forward", small_memory)
    parts = Tuning(tmp_path / "parts", recipe)
    found = parts.run()
    assert [epoch.train_loss for epoch in found] == pytest.approx([epoch.train_loss for epoch in history], rel=1e-3)
    assert [message for message in parts.messages() if "memory" in message] == [
        f"The memory was too small: each step now takes {pictures} pictures at a time." for pictures in (4, 2)
    ]


def test_micro_batches_take_less_memory_and_learn_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = recipe_of(batch_size=8, epochs=3, dropout=0.3, **EVERY_CHANGE)
    largest, forward = 0, Network.forward

    def watched(self: Network, pixels: torch.Tensor) -> torch.Tensor:
        nonlocal largest
        largest = max(largest, len(pixels)) if self.training else largest
        return forward(self, pixels)

    monkeypatch.setattr(Network, "forward", watched)
    histories = []
    for parts, most in ((1, 8), (2, 4), (4, 2)):
        largest = 0
        histories.append(Tuning(tmp_path / str(parts), recipe, micro_batches=parts).run())
        assert largest == most
    for found in histories[1:]:
        for field in ("train_loss", "loss"):
            expected = [getattr(epoch, field) for epoch in histories[0]]
            assert [getattr(epoch, field) for epoch in found] == pytest.approx(expected, rel=1e-5)


def test_memory_for_not_even_one_picture_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_memory(self: Network, pixels: torch.Tensor) -> torch.Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    tuning = Tuning(tmp_path, recipe_of())
    monkeypatch.setattr(Gradients, "_of_part", lambda self, pixels, targets, size: no_memory(self._network, pixels))
    with pytest.raises(torch.OutOfMemoryError):
        tuning.run()


def test_a_compiled_network_learns_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = recipe_of(epochs=2, dropout=0.0)
    history = Tuning(tmp_path / "plain", recipe).run()
    monkeypatch.setattr(gradients, "pays_to_compile", lambda samples, device: True)
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))  # all but the machine code
    compiled = Tuning(tmp_path / "compiled", recipe)
    found = compiled.run()
    assert [epoch.train_loss for epoch in found] == pytest.approx([epoch.train_loss for epoch in history], rel=1e-4)
    assert [epoch.loss for epoch in found] == pytest.approx([epoch.loss for epoch in history], rel=1e-4)
    again = Tuning(tmp_path / "compiled", recipe)  # its checkpoint has the plain names
    assert again.run() == found


@pytest.mark.parametrize(("largest", "clipped"), [(0.0, False), (1e3, False), (1e-3, True)])
def test_gradients_are_scaled_down_to_the_largest_norm(tmp_path: Path, largest: float, clipped: bool) -> None:
    tuning = Tuning(tmp_path, recipe_of(epochs=1, max_gradient_norm=largest))
    tuning.run()
    norm = torch.stack([p.grad.norm() for p in tuning.network.parameters() if p.grad is not None]).norm()
    assert float(norm) == pytest.approx(1e-3, rel=1e-2) if clipped else float(norm) > 1e-2
