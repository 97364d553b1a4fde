"""serving.fleet: an alias leads to a version that answers, at every moment."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import structlog

from builders import SIDE, colour_network, golden, write_bundle
from eyasd.core import bundle
from eyasd.core.activation import HeadWeights
from eyasd.core.device import Transport
from eyasd.core.errors import AliasNotFound, BrokenBundle, ModelNotFound, StorageFailed, Unavailable, VersionNotFound
from eyasd.core.names import ModelRef
from eyasd.core.traffic import Bounds, Canary, Pointers, Shadow
from eyasd.core.variants import Precision, Variant
from eyasd.registry.models import Models
from eyasd.serving import shown
from eyasd.serving.catalog import FleetOptions, ServingState
from eyasd.serving.engine.loading import EngineOptions, LoadedVersion, Loader
from eyasd.serving.fleet import Fleet
from eyasd.serving.network.providers import CPU
from eyasd.telemetry.metrics import Metrics

OPTIONS = FleetOptions(
    engine=EngineOptions(
        provider=CPU, precision="auto", threads=1, max_batch_size=4, max_delay_seconds=0, slots=16, transport=Transport.THREAD
    ),
    poll_interval_seconds=0.01,
    retry_interval_seconds=3600,
    memory_bytes=3_000_000,
)
PRODUCTION = ModelRef("colours", alias="production")


@pytest.fixture
async def fleet(models: Models, metrics: Metrics, log: structlog.typing.FilteringBoundLogger) -> AsyncIterator[Fleet]:
    made = Fleet(models, OPTIONS, metrics, log)
    yield made
    await made.close()


def publish(models: Models, folder: Path, alias: str | None = "production", **options: object) -> int:
    number = len(models.versions("colours")) + 1 if "colours" in models.names() else 1
    version = models.publish("colours", write_bundle(folder / f"b{number}", job=f"job{number}", **options), f"job{number}")  # type: ignore[arg-type]
    if alias:
        models.aliases.set("colours", alias, version, actor="test", reason="")
    return version


def version(number: int) -> ModelRef:
    return ModelRef("colours", version=number)


async def look(fleet: Fleet) -> None:
    await fleet.refresh()
    await fleet.settle()


async def test_an_alias_is_followed_and_the_old_version_is_unloaded(
    fleet: Fleet, models: Models, tmp_path: Path, metrics: Metrics
) -> None:
    publish(models, tmp_path)
    await look(fleet)
    first = await fleet.find(PRODUCTION)
    assert (first.version, fleet.readiness) == (1, {"colours": True})
    publish(models, tmp_path)
    await fleet.refresh()
    assert (await fleet.find(PRODUCTION)) is first  # the new one is not ready yet
    await fleet.settle()
    assert (await fleet.find(PRODUCTION)).version == 2
    assert fleet.state("colours", 1) == (ServingState.NOT_LOADED, None)
    assert metrics.registry.get_sample_value("eyas_loaded_version_info", {"model": "colours", "version": "2"}) == 1
    assert metrics.registry.get_sample_value("eyas_loaded_version_info", {"model": "colours", "version": "1"}) is None
    assert metrics.registry.get_sample_value("eyas_version_swap_seconds_count", {"model": "colours"}) == 1
    assert (fleet.knows("colours"), fleet.knows("made-up")) == (True, False)


async def test_what_a_version_did_is_forgotten_when_it_was_unloaded_long_ago(
    fleet: Fleet, models: Models, tmp_path: Path, metrics: Metrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answered(number: int) -> float | None:
        return metrics.registry.get_sample_value("eyas_requests_total", {"model": "colours", "version": str(number), "code": "OK"})

    publish(models, tmp_path)
    await look(fleet)
    publish(models, tmp_path)
    await look(fleet)
    for number in (1, 2):
        metrics.requests.labels("colours", str(number), "OK").inc()
    metrics.requests.labels("gone", "7", "OK").inc()  # feedback may speak of what was never loaded here
    await look(fleet)
    assert (answered(1), answered(2)) == (1, 1)
    monkeypatch.setattr(shown, "RETAINED_SECONDS", -1.0)
    await look(fleet)
    assert (answered(1), answered(2)) == (None, 1)
    assert metrics.registry.names.versions == {("colours", "2")}


def wrong_labels() -> bytes:
    return colour_network(gain=0.01)


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:-1]), "was changed"),
        (lambda path: path.unlink(), "missing"),
    ],
    ids=["cut", "gone"],
)
async def test_a_broken_version_is_reported_and_the_old_one_keeps_serving(
    fleet: Fleet, models: Models, tmp_path: Path, metrics: Metrics, damage: object, says: str
) -> None:
    publish(models, tmp_path)
    await look(fleet)
    publish(models, tmp_path)
    damage(tmp_path / "models/colours/2" / bundle.MODEL)  # type: ignore[operator]
    await look(fleet)
    assert (await fleet.find(PRODUCTION)).version == 1
    state, error = fleet.state("colours", 2)
    assert state is ServingState.FAILED
    assert isinstance(error, BrokenBundle)
    assert says in error.message
    assert metrics.registry.get_sample_value("eyas_version_load_failures_total", {"model": "colours"}) == 1
    await look(fleet)  # within the retry interval it is not tried again
    assert metrics.registry.get_sample_value("eyas_version_load_failures_total", {"model": "colours"}) == 1


async def test_the_weights_for_trainings_are_never_fetched(fleet: Fleet, models: Models, tmp_path: Path) -> None:
    publish(models, tmp_path)
    (tmp_path / "models/colours/1" / bundle.WEIGHTS).unlink()
    await look(fleet)
    assert fleet.state("colours", 1) == (ServingState.READY, None)


async def test_a_version_that_gives_other_answers_than_recorded_is_refused(fleet: Fleet, models: Models, tmp_path: Path) -> None:
    publish(models, tmp_path, network=colour_network(gain=0.01))
    await look(fleet)
    assert fleet.readiness == {"colours": False}
    with pytest.raises(Unavailable, match="colours/1 cannot be served: .* does not give its recorded answers"):
        await fleet.find(PRODUCTION)


async def test_weights_that_do_not_fit_the_network_are_refused(fleet: Fleet, models: Models, tmp_path: Path) -> None:
    publish(models, tmp_path, explainable=True)
    await look(fleet)
    head = (await fleet.find(PRODUCTION)).head
    assert head is not None
    assert head.weights.shape == (3, 3)
    (tmp_path / "b2").mkdir()
    (tmp_path / "b2" / bundle.EXPLAIN).write_bytes(HeadWeights(np.ones((3, 2), np.float32)).to_bytes())
    publish(models, tmp_path, network=colour_network(maps=True), feature_map=(3, SIDE, SIDE))
    publish(models, tmp_path, explainable=True, network=colour_network())
    await look(fleet)
    assert (await fleet.find(PRODUCTION)).version == 1
    for version, says in (
        (2, r"explain\.npz has weights of shape \(3, 2\), which does not fit"),
        (3, r"model\.onnx gives a feature map of the sizes None; \(3, 32, 32\) was recorded"),
    ):
        with pytest.raises(Unavailable, match=says):
            await fleet.find(ModelRef("colours", version=version))


async def test_a_variant_answers_for_its_version_and_a_damaged_one_is_left_alone(
    models: Models, tmp_path: Path, metrics: Metrics, log: structlog.typing.FilteringBoundLogger
) -> None:
    def shown(version: int, precision: Precision) -> float | None:
        labels = {"model": "colours", "version": str(version), "precision": precision}
        return metrics.registry.get_sample_value("eyas_loaded_version_precision_info", labels)

    fleet = Fleet(models, replace(OPTIONS, engine=replace(OPTIONS.engine, precision=Precision.INT8)), metrics, log)
    for _ in range(2):
        publish(models, tmp_path, variants=(Variant(precision=Precision.INT8, size_bytes=9),))
    damaged = tmp_path / "models/colours/2" / Precision.INT8.file
    damaged.write_bytes(damaged.read_bytes()[:-1])
    assert (await fleet.find(ModelRef("colours", version=1))).precision is Precision.INT8
    assert (fleet.precision("colours", 1), fleet.precision("colours", 2)) == (Precision.INT8, None)
    assert (shown(1, Precision.INT8), shown(1, Precision.FP32)) == (1, None)
    ratio = metrics.registry.get_sample_value("eyas_variant_speed_ratio", {"model": "colours", "version": "1"})
    assert ratio is not None
    assert ratio > 0
    loaded = await fleet.find(ModelRef("colours", version=2))
    assert (loaded.precision, fleet.state("colours", 2)) == (Precision.FP32, (ServingState.READY, None))
    assert (shown(1, Precision.INT8), shown(2, Precision.FP32)) == (1, 1)
    await fleet.close()


@pytest.fixture
def a_megabyte(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets every loaded version take 1 MB: what a thread of this process takes cannot be told from what its neighbours do."""
    load = Loader.load

    async def loaded(*args: Any) -> LoadedVersion:
        return replace(await load(*args), memory_bytes=10**6)

    monkeypatch.setattr(Loader, "load", loaded)


@pytest.mark.usefixtures("a_megabyte")
async def test_a_version_named_by_its_number_is_loaded_on_demand_and_makes_room(
    fleet: Fleet, models: Models, tmp_path: Path
) -> None:
    publish(models, tmp_path)
    for _ in range(4):
        publish(models, tmp_path, alias=None)
    await look(fleet)
    for number in (2, 3, 2, 4):  # the third was not named for longest when the fourth needs room
        assert (await fleet.find(version(number))).version == number
    assert [n for n in range(1, 6) if fleet.state("colours", n)[0] is ServingState.READY] == [1, 2, 4]
    models.aliases.set("colours", "next", 5, actor="test", reason="")
    await look(fleet)  # what an alias points to makes room for itself
    assert [n for n in range(1, 6) if fleet.state("colours", n)[0] is ServingState.READY] == [1, 4, 5]
    models.set_traffic("colours", None, Shadow(version(4), 1.0), actor="test", reason="")
    await look(fleet)
    says = (
        r"colours/2 cannot be served: it takes about 1 MB, which does not fit into the 3 MB of serving\.memory_bytes beside "
        r"colours/1 \(1 MB\), colours/4 \(1 MB\), colours/5 \(1 MB\): point aliases, canaries and shadows to fewer versions"
    )
    with pytest.raises(Unavailable, match=says):
        await fleet.find(version(2))
    models.aliases.set("colours", "next", 1, actor="test", reason="")
    await look(fleet)
    assert (await fleet.find(version(2))).version == 2


@pytest.mark.usefixtures("a_megabyte")
async def test_callers_of_a_version_that_is_not_loaded_share_its_room(fleet: Fleet, models: Models, tmp_path: Path) -> None:
    for _ in range(2):
        publish(models, tmp_path, alias=None)
    both = [fleet.find(version(number)) for number in (1, 2, 1, 2, 1, 2)]
    loaded = await asyncio.gather(*both)
    assert [one.version for one in loaded] == [1, 2, 1, 2, 1, 2]
    assert len({id(one) for one in loaded}) == 2


async def test_a_new_alias_answers_before_the_next_look(fleet: Fleet, models: Models, tmp_path: Path) -> None:
    publish(models, tmp_path)
    assert (await fleet.find(PRODUCTION)).version == 1


async def test_callers_share_one_load_and_may_leave(
    fleet: Fleet, models: Models, tmp_path: Path, metrics: Metrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(models, tmp_path)
    load, load_now = fleet._load, fleet._load_now
    waiting, everyone_waits = asyncio.Semaphore(0), asyncio.Event()

    def joined(model: str, version: int) -> asyncio.Task[LoadedVersion]:
        waiting.release()
        return load(model, version)

    async def held(model: str, version: int) -> LoadedVersion:
        await everyone_waits.wait()
        return await load_now(model, version)

    monkeypatch.setattr(fleet, "_load", joined)
    monkeypatch.setattr(fleet, "_load_now", held)
    impatient = asyncio.create_task(fleet.find(PRODUCTION))
    await waiting.acquire()
    others = [asyncio.create_task(fleet.find(PRODUCTION)) for _ in range(5)]
    for _ in others:
        await waiting.acquire()
    impatient.cancel()
    everyone_waits.set()
    loaded: list[LoadedVersion] = await asyncio.gather(*others)
    assert impatient.cancelled()
    assert len({id(one) for one in loaded}) == 1
    assert metrics.registry.get_sample_value("eyas_version_load_seconds_count", {"model": "colours"}) == 1


@pytest.mark.parametrize(
    ("ref", "error"),
    [
        (ModelRef("nothing", alias="production"), ModelNotFound),
        (ModelRef("colours", alias="canary"), AliasNotFound),
        (ModelRef("colours", version=9), VersionNotFound),
    ],
)
async def test_what_does_not_exist(fleet: Fleet, models: Models, tmp_path: Path, ref: ModelRef, error: type[Exception]) -> None:
    publish(models, tmp_path)
    await look(fleet)
    with pytest.raises(error):
        await fleet.find(ref)


class UnreachablePointers(Models):
    """A registry whose disk has gone."""

    def pointers(self) -> dict[str, Pointers]:
        raise StorageFailed("Input/output error")


async def test_a_registry_that_cannot_be_read_changes_nothing(
    models: Models, metrics: Metrics, log: structlog.typing.FilteringBoundLogger, tmp_path: Path
) -> None:
    publish(models, tmp_path)
    fleet = Fleet(models, OPTIONS, metrics, log)
    await look(fleet)
    models.__class__ = UnreachablePointers
    following = asyncio.create_task(fleet.run())
    await asyncio.sleep(0.05)
    assert not following.done()
    assert (await fleet.find(PRODUCTION)).version == 1
    following.cancel()
    await fleet.close()


async def test_no_request_fails_while_versions_change(fleet: Fleet, models: Models, tmp_path: Path) -> None:
    publish(models, tmp_path)
    await look(fleet)
    following = asyncio.create_task(fleet.run())
    seen: set[int] = set()

    async def ask() -> None:
        while len(seen) < 4:
            loaded = await fleet.find(PRODUCTION)
            with loaded.engine.hold():
                await asyncio.sleep(0.002)  # long enough for the version to be replaced meanwhile
                async with loaded.engine.slot(math.inf) as slot:
                    slot.pixels[:] = golden().images[0]
                    answer = await slot.infer(math.inf)
            assert np.allclose(answer.probabilities, golden().probabilities[0], atol=1e-6)
            seen.add(loaded.version)

    callers = asyncio.gather(*(ask() for _ in range(8)))
    for version in (1, 2, 3):
        while version not in seen:
            await asyncio.sleep(0.005)
        publish(models, tmp_path)
    await asyncio.wait_for(callers, 60)
    following.cancel()


async def test_a_canary_answers_requests_for_production_alone(fleet: Fleet, models: Models, tmp_path: Path) -> None:
    for _ in range(2):
        publish(models, tmp_path, alias=None)
    models.aliases.set("colours", "production", 1, actor="test", reason="")
    models.aliases.set("colours", "stable", 1, actor="test", reason="")
    models.set_traffic("colours", Canary(version(2), 100.0), None, actor="test", reason="")
    await look(fleet)
    assert (await fleet.find(PRODUCTION, "ann")).version == 2
    assert (await fleet.find(PRODUCTION, "")).version == 2
    assert (await fleet.find(PRODUCTION)).version == 1
    assert (await fleet.find(ModelRef("colours", alias="stable"), "ann")).version == 1
    assert (await fleet.find(version(1), "ann")).version == 1
    models.promote("colours", "production", 2, actor="test", reason="")
    await look(fleet)
    assert (await fleet.find(PRODUCTION)).version == 2
    assert not fleet.router.is_canary("colours", 2)


async def test_where_the_canary_cannot_be_served_production_answers(fleet: Fleet, models: Models, tmp_path: Path) -> None:
    publish(models, tmp_path)
    publish(models, tmp_path, alias=None)
    (tmp_path / "models/colours/2" / bundle.MODEL).unlink()
    models.set_traffic("colours", Canary(version(2), 100.0), None, actor="test", reason="")
    await look(fleet)
    assert fleet.state("colours", 2)[0] is ServingState.FAILED
    assert (await fleet.find(PRODUCTION, "ann")).version == 1


async def test_a_canary_and_a_shadow_stay_loaded_for_as_long_as_they_are_in_force(
    fleet: Fleet, models: Models, tmp_path: Path
) -> None:
    publish(models, tmp_path)
    for _ in range(2):
        publish(models, tmp_path, alias=None)
    models.aliases.set("colours", "next", 3, actor="test", reason="")
    canary, shadow = Canary(version(2), 0.01, Bounds()), Shadow(ModelRef("colours", alias="next"), 1.0)
    models.set_traffic("colours", canary, shadow, actor="test", reason="")
    await look(fleet)
    await look(fleet)
    assert [fleet.state("colours", number)[0] for number in (1, 2, 3)] == [ServingState.READY] * 3
    models.set_traffic("colours", None, None, actor="test", reason="")
    await look(fleet)
    assert fleet.state("colours", 2)[0] is ServingState.NOT_LOADED


async def test_readiness_is_told_when_it_changes(fleet: Fleet, models: Models, tmp_path: Path) -> None:
    told: list[object] = []
    fleet.on_change = told.append
    publish(models, tmp_path)
    await look(fleet)
    await look(fleet)
    assert told == [{"colours": False}, {"colours": True}]
