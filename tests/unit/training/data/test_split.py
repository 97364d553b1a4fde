"""The split is stratified, seeded, and blind to order and to copies."""

from __future__ import annotations

from collections import Counter, defaultdict
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eyasd.core.errors import BadDataset
from eyasd.training.data.split import carve

FRACTIONS = {"validation": 0.15, "test": 0.15}
# 3 to 40 distinct files a label, some of them copied.
datasets = st.dictionaries(st.sampled_from("abcde"), st.integers(3, 40), min_size=2).flatmap(
    lambda counts: st.tuples(st.just(counts), st.lists(st.sampled_from(sorted(counts)), max_size=10))
)


def files_of(counts: dict[str, int], copied: list[str]) -> tuple[list[str], list[str]]:
    pairs = [(f"{label}{i}", label) for label, count in counts.items() for i in range(count)] + [(f"{c}0", c) for c in copied]
    return [digest for digest, _ in pairs], [label for _, label in pairs]


@given(datasets, st.integers(0, 99))
def test_every_label_is_in_every_split(dataset: tuple[dict[str, int], list[str]], seed: int) -> None:
    digests, labels = files_of(*dataset)
    found = {(label, split) for label, split in zip(labels, carve(digests, labels, FRACTIONS, seed), strict=True)}
    assert found == {(label, split) for label in set(labels) for split in ("train", "validation", "test")}


@given(datasets, st.integers(0, 99))
def test_identical_files_stay_together(dataset: tuple[dict[str, int], list[str]], seed: int) -> None:
    digests, labels = files_of(*dataset)
    splits = defaultdict(set)
    for digest, split in zip(digests, carve(digests, labels, FRACTIONS, seed), strict=True):
        splits[digest].add(split)
    assert all(len(found) == 1 for found in splits.values())


@given(datasets, st.randoms(use_true_random=False))
def test_the_order_of_the_files_changes_nothing(dataset: tuple[dict[str, int], list[str]], random) -> None:
    digests, labels = files_of(*dataset)
    before = dict(zip(digests, carve(digests, labels, FRACTIONS, 7), strict=True))
    pairs = list(zip(digests, labels, strict=True))
    random.shuffle(pairs)
    shuffled = [digest for digest, _ in pairs]
    assert dict(zip(shuffled, carve(shuffled, [label for _, label in pairs], FRACTIONS, 7), strict=True)) == before


def test_fractions_are_kept_and_a_seed_decides() -> None:
    digests, labels = files_of({"a": 100, "b": 200}, [])
    one = carve(digests, labels, {"validation": 0.2, "test": 0.1}, 0)
    assert Counter(zip(labels, one, strict=True)) == {
        ("a", "train"): 70, ("a", "validation"): 20, ("a", "test"): 10,
        ("b", "train"): 140, ("b", "validation"): 40, ("b", "test"): 20,
    }  # fmt: skip
    assert carve(digests, labels, {"validation": 0.2, "test": 0.1}, 1) != one


def test_half_and_half_still_leaves_something_to_train_on() -> None:
    digests, labels = files_of({"a": 6, "b": 6}, [])
    splits = carve(digests, labels, {"validation": 0.5, "test": 0.5}, 0)
    assert Counter(zip(labels, splits, strict=True))["a", "train"] == 1


def test_a_file_under_two_labels_goes_to_one_split() -> None:
    digests, labels = files_of({"a": 9, "b": 9}, [])
    digests, labels = [*digests, "a3"], [*labels, "b"]
    splits = carve(digests, labels, FRACTIONS, 0)
    assert splits[-1] == splits[digests.index("a3")]


# Units of 1 to 9 files, each file of any of three labels.
grouped = st.lists(st.lists(st.sampled_from("abc"), min_size=1, max_size=9), min_size=1, max_size=60)


@given(grouped, st.integers(0, 99), st.randoms(use_true_random=False))
def test_units_of_many_labels_stay_together_or_are_refused(held: list[list[str]], seed: int, random) -> None:
    pairs = [(f"unit {number}", label) for number, labels in enumerate(held) for label in labels]
    random.shuffle(pairs)
    units, labels = [unit for unit, _ in pairs], [label for _, label in pairs]
    try:
        splits = carve(units, labels, FRACTIONS, seed)
    except BadDataset:
        return
    assert len(set(zip(units, splits, strict=True))) == len(held)
    assert len(set(zip(labels, splits, strict=True))) == 3 * len(set(labels))
    assert splits == [dict(zip(units, splits, strict=True))[unit] for unit in units]


def test_units_of_all_labels_are_shared_out_by_their_files() -> None:
    held = {f"session {number}": 2 + number % 5 for number in range(60)}
    pairs = [(unit, label) for unit, size in held.items() for label in "abc" for _ in range(size)]
    splits = carve([unit for unit, _ in pairs], [label for _, label in pairs], FRACTIONS, 0)
    counts = Counter(zip([label for _, label in pairs], splits, strict=True))
    for label in "abc":
        assert [counts[label, split] for split in ("train", "validation", "test")] == pytest.approx([168, 36, 36], abs=3)


def test_large_units_are_still_shared_out() -> None:
    pairs = [(f"{label}{unit}", label) for label in "ab" for unit in range(3) for _ in range(20)]
    splits = carve([unit for unit, _ in pairs], [label for _, label in pairs], FRACTIONS, 0)
    assert Counter(splits) == {"train": 40, "validation": 40, "test": 40}


def test_units_that_cannot_be_shared_out_are_refused() -> None:
    pairs = [(unit, label) for unit in ("ab", "bc", "ac", "abc") for label in unit]  # each label in three units, but not apart
    with pytest.raises(BadDataset, match="The pictures of '[abc]' are in groups that cannot be divided over 3 splits"):
        carve([unit for unit, _ in pairs], [label for _, label in pairs], FRACTIONS, 0)


def test_of_several_labels_each_is_shared_out() -> None:
    shares = {"a": 0.5, "b": 0.3, "c": 0.1, "d": 0.03, "e": 0.01}
    borne = np.random.default_rng(0).random((1000, 5)) < list(shares.values())
    sets = [[label for label, bears in zip(shares, row, strict=True) if bears] for row in borne]
    splits = carve([f"{number}" for number in range(1000)], sets, FRACTIONS, 0)
    counts = Counter((label, split) for labels, split in zip(sets, splits, strict=True) for label in labels or [""])
    for label in ("", *shares):
        total = sum(counts[label, split] for split in ("train", "validation", "test"))
        assert [counts[label, split] for split in ("validation", "test")] == pytest.approx([0.15 * total] * 2, rel=0.1, abs=1.5)


@given(st.lists(st.sets(st.sampled_from("abcd")), min_size=1, max_size=60), st.randoms(use_true_random=False))
def test_several_labels_in_any_order_give_the_same_split_or_are_refused(sets: list[set[str]], random: Random) -> None:
    files = [(f"{number}", sorted(labels)) for number, labels in enumerate(sets)]
    try:
        before = dict(zip([unit for unit, _ in files], carve(*map(list, zip(*files, strict=True)), FRACTIONS, 7), strict=True))
    except BadDataset:
        return
    held = {(label, before[unit]) for unit, labels in files for label in labels}
    assert len(held) == 3 * len({label for label, _ in held})
    random.shuffle(files)
    after = carve([unit for unit, _ in files], [labels for _, labels in files], FRACTIONS, 7)
    assert dict(zip([unit for unit, _ in files], after, strict=True)) == before


def test_too_few_distinct_files_are_refused_by_name() -> None:
    with pytest.raises(BadDataset, match=r"'b' has 2 distinct readable pictures; it needs at least 3"):
        carve(["1", "2", "3", "4", "5", "5"], ["a", "a", "a", "b", "b", "b"], FRACTIONS, 0)
