"""What strangers send is read rightly or refused: what the generators write, what hypothesis makes of it, and a look by atheris."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fuzz.__main__ import fuzz
from fuzz.plants import PLANTS
from fuzz.target import names, target_of, varied

_TRIES = 3_000


@pytest.fixture(scope="module", autouse=True)
def _daemon() -> Iterator[None]:
    yield
    import_module("fuzz.targets.calls").close()


@pytest.mark.parametrize("name", names())
def test_what_the_generators_write(name: str) -> None:
    target = target_of(name)
    for content in target.seeds():
        target.check(content)


@pytest.mark.parametrize("name", names())
def test_what_is_made_of_it(name: str) -> None:
    target = target_of(name)
    seeds = list(target.seeds())
    made = st.builds(lambda seed, number: varied(target, seed, Random(number)), st.sampled_from(seeds), st.integers(0, 2**32))

    @settings(max_examples=40)
    @given(made | st.binary(max_size=200))
    def check(content: bytes) -> None:
        target.check(content)

    check()


@pytest.mark.parametrize("name", [name for name in PLANTS if name != "sizes"])  # which takes gigabytes to be seen
def test_a_planted_bug_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plant = PLANTS[name]
    target, random = target_of(plant.target), Random(0)
    seeds = list(target.seeds())
    monkeypatch.setattr(import_module(plant.module), plant.name, plant.value)
    with pytest.raises(Exception) as found:  # noqa: PT011 - whichever invariant it breaks
        for number in range(_TRIES):
            target.check(seeds[number] if number < len(seeds) else varied(target, random.choice(seeds), random))
    assert not isinstance(found.value, pytest.fail.Exception)


@pytest.mark.skipif(find_spec("atheris") is None, reason="atheris has no wheels for this machine")
def test_atheris_finds_what_is_planted_and_nothing_else(tmp_path: Path) -> None:
    assert len(b"x" * 300_000_000) == 300_000_000  # which the fuzzer takes for its own process's, if that is begun as a child is
    sound = fuzz("names.names", tmp_path, runs=3_000, seed=1)
    assert (sound.found, sound.tried) == (None, 3_000)
    assert sound.peak_mb < 250
    assert sound.edges > 50
    planted = fuzz("names.names", tmp_path, runs=1_000_000, seed=1, plant="dots")
    assert planted.found is not None
    text = planted.found.read_bytes()
    target_of("names.names").check(text)  # without the bug it is read, or refused
