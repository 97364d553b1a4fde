"""Who gets the canary, who keeps it, and that it is taken off at once, here and everywhere."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime

import pytest
import structlog

from eyasd.core.errors import StorageFailed
from eyasd.core.names import ModelRef
from eyasd.core.traffic import Bounds, Canary, TrafficRecord
from eyasd.registry.models import Models
from eyasd.serving.traffic.routing import BUCKETS, Router, bucket_of, is_in
from eyasd.telemetry.metrics import Metrics

SINCE = datetime(2026, 11, 26, tzinfo=UTC)
KEYS = [f"user {number}" for number in range(20_000)]


def record(percent: float = 20.0, version: int = 2, number: int = 1) -> TrafficRecord:
    canary = Canary(ModelRef("colours", version=version), percent, Bounds(min_requests=10))
    return TrafficRecord(number, canary, None, SINCE, "ann", "")


class Records:
    """A registry that takes down who ended a canary, or fails."""

    def __init__(self, *, writable: bool = True, won: bool = True) -> None:
        self.ended: list[tuple[str, int, str]] = []
        self.writable, self.won = writable, won

    def end_canary(self, model: str, record: TrafficRecord, reason: str) -> bool:
        if not self.writable:
            raise StorageFailed("Read-only file system")
        self.ended.append((model, record.record, reason))
        return self.won


def follow(router: Router, found: TrafficRecord | None, production: int = 1) -> None:
    """Lets the router know what is in force."""
    assert found is None or found.canary is not None
    if found is None:
        router.follow({})
    else:
        assert found.canary is not None
        router.follow({"colours": (found, found.canary, production, found.canary.target.version or 0)})


@pytest.fixture
def records() -> Records:
    return Records()


@pytest.fixture
def router(records: Records, metrics: Metrics, log: structlog.typing.FilteringBoundLogger) -> Router:
    made = Router(records, metrics, log)
    follow(made, record())
    return made


def fail(router: Router) -> None:
    """Lets ten requests of the canary fail, which production answers."""
    for _ in range(20):
        router.observe("colours", 1, images=1, seconds=0.01, failed=False)
    for _ in range(10):
        router.observe("colours", 2, images=1, seconds=0.01, failed=True)


def test_a_key_has_its_bucket_for_ever() -> None:
    # Written down once: another hash would send everybody elsewhere when a server is replaced.
    assert [bucket_of("colours", key) for key in ("ann", "bob", "")] == [9405, 901, 9691]
    assert bucket_of("clothing", "ann") != bucket_of("colours", "ann")


def test_keys_are_spread_evenly() -> None:
    counts = Counter(bucket_of("colours", key) * 10 // BUCKETS for key in KEYS)
    assert all(abs(count - 2000) < 200 for count in counts.values())


@pytest.mark.parametrize("percent", [0.01, 1, 5, 50, 100])
def test_the_share_is_kept_and_whoever_is_in_stays_in(percent: float) -> None:
    inside = {key for key in KEYS if is_in("colours", key, percent, lambda: 0.0)}
    assert len(inside) == pytest.approx(len(KEYS) * percent / 100, rel=0.1, abs=4)
    assert inside <= {key for key in KEYS if is_in("colours", key, min(100, 1.5 * percent), lambda: 0.0)}


def test_without_a_key_it_is_chance() -> None:
    assert is_in("colours", "", 20, lambda: 0.1999)
    assert not is_in("colours", "", 20, lambda: 0.2)
    assert is_in("colours", "", 100, lambda: 0.9999)


def test_the_canary_answers_its_share(router: Router) -> None:
    chosen = Counter(router.choose("colours", key) for key in KEYS)
    assert chosen[2] == pytest.approx(4000, rel=0.1)
    assert chosen[None] == len(KEYS) - chosen[2]
    assert router.choose("clothing", "ann") is None
    assert router.is_canary("colours", 2)
    assert not router.is_canary("colours", 1)
    follow(router, None)
    assert {router.choose("colours", key) for key in KEYS} == {None}


async def test_a_canary_that_fails_is_off_from_the_next_request_on(router: Router, records: Records, metrics: Metrics) -> None:
    fail(router)
    assert {router.choose("colours", key) for key in KEYS} == {None}  # nothing was written yet
    await router.close()
    ((model, number, reason),) = records.ended
    assert (model, number) == ("colours", 1)
    assert reason == "colours/2 was rolled back: 10 of its 10 requests failed, and 0 of 20 of production's"
    assert router.stopped("colours") == reason
    assert metrics.registry.get_sample_value("eyas_canary_rollbacks_total", {"model": "colours", "cause": "errors"}) == 1
    assert metrics.registry.get_sample_value("eyas_canary_percent", {"model": "colours", "version": "2"}) == 0
    follow(router, None)
    assert router.stopped("colours") == ""
    assert metrics.registry.get_sample_value("eyas_canary_percent", {"model": "colours", "version": "2"}) is None


async def test_answers_judged_wrong_end_it_too(router: Router, records: Records) -> None:
    for number in range(100):
        router.observe_answer("colours", 1 + number % 2, time=SINCE.timestamp() - 1, right=False)  # of before the canary
        router.observe_answer("colours", 1 + number % 2, time=SINCE.timestamp() + number, right=number % 2 == 0)
    await router.close()
    ((_, _, reason),) = records.ended
    assert reason.endswith("judged answers are wrong, and 0 of 10 of production's")


@pytest.mark.parametrize("records", [Records(writable=False), Records(won=False)], ids=["read only", "somebody was quicker"])
async def test_what_cannot_be_written_holds_here(
    records: Records, metrics: Metrics, log: structlog.typing.FilteringBoundLogger
) -> None:
    router = Router(records, metrics, log)
    follow(router, record())
    fail(router)
    await router.close()
    follow(router, record())  # as the registry still says
    follow(router, record(number=2))  # somebody changed the shadow
    assert {router.choose("colours", key) for key in KEYS} == {None}
    assert "was rolled back" in router.stopped("colours")
    follow(router, record(percent=30, number=3))  # somebody wants it again
    assert 2 in {router.choose("colours", key) for key in KEYS}


async def test_what_was_seen_counts_on_until_the_canary_or_production_is_another(router: Router, records: Records) -> None:
    for _ in range(9):
        router.observe("colours", 2, images=1, seconds=0.01, failed=True)
    follow(router, record(number=2))
    router.observe("colours", 2, images=1, seconds=0.01, failed=True)
    await router.close()
    assert len(records.ended) == 1
    assert records.ended[0][1] == 2
    follow(router, record(number=3), production=3)
    assert router.stopped("colours") == ""


async def test_of_several_servers_that_find_it_at_once_one_writes_and_none_fails(
    models: Models, metrics: Metrics, log: structlog.typing.FilteringBoundLogger
) -> None:
    models.traffic.set("colours", record().canary, None, actor="ann", reason="")
    found = models.traffic.get("colours")
    assert found is not None
    routers = [Router(models, metrics, log) for _ in range(8)]
    for router in routers:
        follow(router, found)
        fail(router)
    for router in routers:
        await router.close()
        assert "was rolled back" in router.stopped("colours")
    first, second = models.traffic.history("colours")
    assert (first, second.canary, second.actor) == (found, None, "eyasd")


def test_other_versions_say_nothing_of_a_canary(router: Router) -> None:
    for _ in range(100):
        router.observe("colours", 7, images=1, seconds=0.01, failed=True)
        router.observe("clothing", 2, images=1, seconds=0.01, failed=True)
    assert router.stopped("colours") == ""
