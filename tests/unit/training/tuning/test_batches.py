"""Batches: each picture with its label, and as the step alone decides."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from .colours import UNMOVED, Tuning, recipe_of


def test_steps_between_two_places_are_those_of_their_epoch(tmp_path: Path) -> None:
    found = Tuning(tmp_path, recipe_of(batch_size=4)).tuning._batches
    epoch = [batch.pixels for batch in found.of_epoch(2)]
    assert len(epoch) == 8
    for first, last in ((8, 16), (10, 15), (15, 16)):
        between = [batch.pixels for batch in found.between(first, last)]
        assert all(torch.equal(one, other) for one, other in zip(between, epoch[first - 8 : last - 8], strict=True))
    assert list(found.between(8, 8)) == []


def test_in_any_two_epochs_a_picture_is_seen_from_both_sides(tmp_path: Path) -> None:
    recipe = replace(recipe_of(), **UNMOVED)
    tuning = Tuning(tmp_path, recipe)
    seen = [
        {
            tuple(image.flatten().round().int().tolist())
            for batch in tuning.tuning._batches.of_epoch(epoch)
            for image in batch.pixels
        }
        for epoch in (1, 2)
    ]
    pictures = torch.from_numpy(tuning.images[tuning.data.rows["train"]]).permute(0, 3, 1, 2).int()
    for picture in pictures:
        sides = {tuple(picture.flatten().tolist()), tuple(picture.flip(2).flatten().tolist())}
        assert [len(sides & epoch) for epoch in seen] == [1, 1]
        assert sides <= seen[0] | seen[1]


def test_labels_stay_with_their_pictures(tmp_path: Path) -> None:
    tuning = Tuning(tmp_path, replace(recipe_of(horizontal_flip=False), **UNMOVED))
    for batch in tuning.tuning._batches.of_epoch(1):
        assert torch.equal(batch.pixels.mean((2, 3)).argmax(1), batch.targets)
