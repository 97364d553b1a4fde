"""serving.network.precision: the quickest of what is allowed, and model.onnx whenever a variant is in doubt."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import structlog
from structlog.testing import capture_logs

from builders import SIDE, colour_network, golden, write_bundle
from eyasd.core import bundle
from eyasd.core.bundle import Golden, Manifest
from eyasd.core.errors import BrokenBundle, StartupFailed
from eyasd.core.variants import Precision, Variant
from eyasd.serving.network import precision as room
from eyasd.serving.network.precision import Chosen, Wish, check_wish, choose
from eyasd.serving.network.providers import CPU, CUDA
from eyasd.serving.network.session import Session

INT8 = Variant(precision=Precision.INT8, size_bytes=9)
GOLDEN = replace(golden(), variants={Precision.INT8: golden().probabilities})
Clock = Callable[..., None]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Says how quick the variant is: of one picture, and of a full batch, where model.onnx takes a second."""

    def set_to(*ratios: float) -> None:
        left = list(ratios)

        def quickest(runs: Sequence[Callable[[], object]], rounds: int) -> list[float]:
            for run in runs:
                run()
            return [1.0, 1 / left.pop(0)]

        monkeypatch.setattr(room, "quickest", quickest)

    set_to(2.0, 2.0)
    return set_to


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    """Of a version with an int8 variant."""
    folder = write_bundle(tmp_path / "bundle", variants=(INT8,))
    return bundle.read_manifest((folder / bundle.MANIFEST).read_bytes())


def pick(
    manifest: Manifest, wish: Wish = "auto", golden: Golden = GOLDEN, provider: str = CPU, **networks: bytes
) -> tuple[Chosen, list[Precision], list[Any]]:
    """Returns what was chosen, what was opened for it, and what was logged."""
    opened: list[Precision] = []

    def open_session(precision: Precision) -> Session:
        opened.append(precision)
        return Session(networks.get(precision, colour_network()), provider=CPU, threads=1, max_batch_size=4, precision=precision)

    with capture_logs() as logs:
        chosen = choose(open_session, manifest, golden, wish, provider, 4, structlog.get_logger())
    return chosen, opened, logs


@pytest.mark.parametrize(
    ("ratios", "precision", "speed"),
    [
        ((1.5, 1.4), Precision.INT8, 1.4),
        ((1.05, 2.0), Precision.INT8, 1.05),
        ((1.04, 2.0), Precision.FP32, 1.04),
        ((2.0, 0.8), Precision.FP32, 0.8),
    ],
)
def test_the_variant_serves_if_it_is_faster_one_by_one_and_in_batches(
    manifest: Manifest, clock: Clock, ratios: tuple[float, float], precision: Precision, speed: float
) -> None:
    clock(*ratios)
    chosen, _, logs = pick(manifest)
    assert (chosen.precision, chosen.speed) == (precision, speed)
    assert logs[-1]["speed"] == speed
    assert logs[-1]["taken"] is (precision is Precision.INT8)


def test_who_asks_for_it_gets_it_even_if_it_is_slower(manifest: Manifest, clock: Clock) -> None:
    clock(0.5, 0.5)
    assert pick(manifest, Precision.INT8)[0].precision is Precision.INT8


def test_who_asks_for_fp32_never_opens_another(manifest: Manifest, clock: Clock) -> None:
    chosen, opened, _ = pick(manifest, Precision.FP32)
    assert (chosen.precision, chosen.speed, opened) == (Precision.FP32, None, [Precision.FP32])


@pytest.mark.parametrize("wish", ["auto", Precision.INT8])
def test_a_version_without_one_is_served_as_it_is(manifest: Manifest, clock: Clock, wish: Wish) -> None:
    for variants in ((), (replace(INT8, refusal="it agrees on half"),)):
        chosen, opened, logs = pick(replace(manifest, variants=variants), wish)
        assert (chosen.precision, opened) == (Precision.FP32, [Precision.FP32])
        assert [line["event"] for line in logs] == ["the version has no such variant; it is served in fp32"] * (wish != "auto")


def test_int8_is_never_run_on_cuda(manifest: Manifest, clock: Clock) -> None:
    assert pick(manifest, provider=CUDA)[1] == [Precision.FP32]


@pytest.mark.parametrize(
    ("golden", "network", "says"),
    [
        (GOLDEN, colour_network(gain=0.01), "model.int8.onnx does not give its recorded answers on this machine"),
        (GOLDEN, b"nothing", "model.int8.onnx cannot be loaded"),
        (golden(), colour_network(), "golden.npz has no answers of model.int8.onnx"),
    ],
    ids=["other answers", "damaged", "no record"],
)
def test_a_variant_in_doubt_costs_speed_and_nothing_else(
    manifest: Manifest, clock: Clock, golden: Golden, network: bytes, says: str
) -> None:
    chosen, _, logs = pick(manifest, golden=golden, int8=network)
    assert chosen.precision is Precision.FP32
    assert np.allclose(chosen.session.run(golden.images).probabilities, golden.probabilities, atol=1e-6)
    assert says in logs[-1]["error"]


def test_a_variant_that_cannot_explain_does_not_serve_a_version_that_can(manifest: Manifest, clock: Clock) -> None:
    explainable = replace(manifest, feature_map=(3, SIDE, SIDE))
    maps = colour_network(maps=True)
    assert pick(explainable, fp32=maps, int8=maps)[0].precision is Precision.INT8
    chosen, _, logs = pick(explainable, fp32=maps)
    assert chosen.precision is Precision.FP32
    assert "model.int8.onnx gives a feature map of the sizes None" in logs[-1]["error"]


def test_a_broken_model_is_not_saved_by_its_variant(manifest: Manifest, clock: Clock) -> None:
    with pytest.raises(BrokenBundle, match="model.onnx does not give its recorded answers"):
        pick(manifest, Precision.INT8, fp32=colour_network(gain=0.01))


@pytest.mark.parametrize(("wish", "provider"), [(Precision.INT8, CUDA), (Precision.FP16, CPU)])
def test_a_precision_that_the_device_never_runs_stops_the_start(wish: Wish, provider: str) -> None:
    with pytest.raises(StartupFailed, match=f"serving.precision is {wish}, which {provider} does not run"):
        check_wish(wish, provider)


@pytest.mark.parametrize("provider", [CPU, CUDA])
def test_every_other_one_does_not(provider: str) -> None:
    for wish in ("auto", Precision.FP32, room.VARIANTS[provider]):
        check_wish(wish, provider)
