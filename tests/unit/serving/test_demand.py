"""Which versions have to go: the least recently named, none that must stay, and no more than need be."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from builders import write_bundle
from eyasd.core import bundle
from eyasd.core.device import Transport
from eyasd.core.errors import Unavailable
from eyasd.serving.demand import Demand, estimate_bytes
from eyasd.serving.engine.loading import EngineOptions
from eyasd.serving.network.session import CPU

A, B, C, D = (("colours", number) for number in range(1, 5))


@pytest.fixture
def demand() -> Demand:
    made = Demand(100)
    for version in (A, B, C, A):
        made.name(version)
    return made


def test_nothing_goes_while_all_fits(demand: Demand) -> None:
    assert demand.excess({A: 50, B: 50}, ()) == []
    assert demand.room(C, 0, {A: 50, B: 50}, ()) == []


def test_the_least_recently_named_goes_first_and_no_more_than_need_be(demand: Demand) -> None:
    assert demand.excess({A: 40, B: 40, C: 40}, ()) == [B]
    assert demand.room(D, 50, {A: 30, B: 30, C: 40}, ()) == [B, C]


def test_what_must_stay_stays(demand: Demand) -> None:
    assert demand.excess({A: 60, B: 60, C: 60}, {B, C}) == [A]
    assert demand.excess({A: 60, D: 200}, {A}) == []  # D was never named


def test_what_does_not_fit_is_refused_and_nothing_goes_for_it(demand: Demand) -> None:
    with pytest.raises(Unavailable, match=r"takes about 0 MB, .* beside colours/2 \(0 MB\), colours/1 \(0 MB\)"):
        demand.room(D, 50, {A: 30, B: 40, C: 30}, {A, B})
    with pytest.raises(Unavailable, match="beside nothing"):
        demand.room(D, 101, {}, ())


def test_of_many_holders_the_largest_are_named() -> None:
    held = {("colours", number): number * 10**6 for number in range(1, 9)}
    says = r"beside colours/8 \(8 MB\), colours/7 .*, colours/4 \(4 MB\) and 3 more: "
    with pytest.raises(Unavailable, match=says):
        Demand(10**6).room(("other", 1), 1, held, held)


def test_what_is_gone_is_forgotten(demand: Demand) -> None:
    demand.forget({A})
    assert (A in demand, B in demand) == (True, False)


def test_the_estimate_grows_with_file_picture_and_batch(tmp_path: Path) -> None:
    manifest = bundle.read_manifest((write_bundle(tmp_path) / bundle.MANIFEST).read_bytes())
    options = EngineOptions(
        provider=CPU, precision="auto", threads=1, max_batch_size=1, max_delay_seconds=0, slots=1, transport=Transport.THREAD
    )
    one, eight = estimate_bytes(manifest, options), estimate_bytes(manifest, replace(options, max_batch_size=8))
    assert eight - one == 7 * 240 * 32 * 32
    assert one > 2 * manifest.model_bytes
    assert estimate_bytes(manifest, replace(options, transport=Transport.PROCESS, count=2)) == 2 * (one + 36_000_000)
