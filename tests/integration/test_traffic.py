"""A canary and a shadow through a real daemon: who answers, what is counted, and that a bad canary goes by itself."""

from __future__ import annotations

import asyncio
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from nvidia import nvimgcodec

import eyas
from builders import COLOURS, colour_network, picture, write_bundle
from eyasd import machine
from eyasd.core.errors import StorageFailed
from eyasd.core.names import ModelRef
from eyasd.core.traffic import Bounds, Canary
from eyasd.registry.models import Models
from eyasd.serving.nvjpeg import GpuDecoder
from eyasd.serving.traffic.routing import is_in
from eyasd.storage.local import LocalStore

WHITE = (255, 255, 255)


async def test_a_canary_answers_its_keys_and_is_rolled_back_when_it_fails(daemon: Any, published: Models, tmp_path: Path) -> None:
    brittle = write_bundle(tmp_path / "brittle", job="job2", network=colour_network(brittle=True))
    assert published.publish("colours", brittle, "job2") == 2
    async with daemon(serving={"poll_interval_seconds": 0.05}) as app, eyas.aio.Client(f"127.0.0.1:{app.port}") as client:
        # By errors alone: how long a dozen requests take on a busy machine says nothing of a version.
        canary = eyas.Canary("colours/2", 50, min_requests=10, max_latency_ratio=1000)
        begun = await client.set_traffic("colours", canary=canary, reason="try it", expected_record=0)
        assert (begun.record, begun.canary.version if begun.canary else None) == (1, "colours/2")
        keys = [f"user {number}" for number in range(40)]
        inside = {key for key in keys if is_in("colours", key, 50, lambda: 0.0)}
        while (await client.classify("colours", picture(), routing_key=min(inside))).version != "colours/2":
            await asyncio.sleep(0.02)
        answers = {key: await client.classify("colours", picture(), routing_key=key) for key in keys}
        assert {key for key, answer in answers.items() if answer.version == "colours/2"} == inside
        assert (await client.classify("colours/1", picture(), routing_key=min(inside))).version == "colours/1"

        versions: Counter[str] = Counter()
        while (await client.get_traffic("colours")).canary:
            answer = await client.classify("colours", picture(WHITE), routing_key=min(inside))
            versions[answer.version] += 1  # what the canary failed at, production answered
            await client.classify("colours", picture(WHITE), routing_key=min(set(keys) - inside))
        assert set(versions) == {"colours/1"}
        newest, first = [record async for record in client.list_traffic_records("colours")]
        assert (first.actor, first.reason) == (begun.actor, "try it")
        assert (newest.canary, newest.actor) == (None, "eyasd")
        assert newest.reason.startswith("colours/2 was rolled back: ")
        assert " requests failed, and 0 of " in newest.reason
        sample = app._metrics.registry.get_sample_value
        assert sample("eyas_canary_rollbacks_total", {"model": "colours", "cause": "errors"}) == 1
        # The last of them came while the record was being written, and no more went to the canary.
        assert 0 < (sample("eyas_canary_fallbacks_total", {"model": "colours"}) or 0) <= sum(versions.values())


async def test_a_canary_that_is_wrong_is_rolled_back_by_feedback_alone(daemon: Any, published: Models, tmp_path: Path) -> None:
    # Red and blue are the other way round, and it is as quick and as sound as production.
    swapped = write_bundle(tmp_path / "swapped", job="job2", labels=tuple(reversed(COLOURS)))
    published.publish("colours", swapped, "job2")
    async with daemon(serving={"poll_interval_seconds": 0.05}) as app, eyas.aio.Client(f"127.0.0.1:{app.port}") as client:
        early = await client.classify("colours", picture())
        canary = eyas.Canary("colours/2", 50, min_requests=10, max_latency_ratio=1000)
        await client.set_traffic("colours", canary=canary)
        while (await client.classify("colours", picture())).version != "colours/2":
            await asyncio.sleep(0.02)
        # Of another version, whoever asks for it.
        named = await client.classify_many("colours/2", [picture()] * 40)
        results = await client.report_feedback_many(
            [(answer, "red") for answer in named if isinstance(answer, eyas.Classification)]
        )
        assert {result.outcome for result in results} == {eyas.FeedbackOutcome.WRONG}
        assert (await client.get_traffic("colours")).canary is not None

        outcomes: Counter[tuple[str, str]] = Counter()
        while (await client.get_traffic("colours")).canary:
            answers = [await client.classify("colours", picture()) for _ in range(8)]
            for result in await client.report_feedback_many((answer, "red") for answer in answers):
                outcomes[result.version, result.outcome] += 1
        assert set(outcomes) == {("colours/1", "right"), ("colours/2", "wrong")}
        record = await anext(aiter(client.list_traffic_records("colours")))
        assert (record.canary, record.actor) == (None, "eyasd")
        assert " judged answers are wrong, and 0 of " in record.reason
        sample = app._metrics.registry.get_sample_value
        assert sample("eyas_canary_rollbacks_total", {"model": "colours", "cause": "accuracy"}) == 1
        wrong = {"model": "colours", "version": "2", "predicted": "blue", "label": "red"}
        assert sample("eyas_feedback_confusions_total", wrong) == 40 + outcomes["colours/2", "wrong"]
        assert sample("eyas_version_accuracy_ratio", {"model": "colours", "version": "1"}) == 0.9
        assert (await client.report_feedback(early, 2)).outcome == "right"
        assert (await client.report_feedback(early.prediction_id[:-1] + "!", "red")).outcome == "forged"


async def test_where_the_repository_cannot_be_written_the_server_says_so(
    daemon: Any, published: Models, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    brittle = write_bundle(tmp_path / "brittle", job="job2", network=colour_network(brittle=True))
    published.publish("colours", brittle, "job2")
    canary = Canary(ModelRef("colours", version=2), 100.0, Bounds(min_requests=10))
    published.set_traffic("colours", canary, None, actor="test", reason="")

    def read_only(*_: object) -> bool:
        raise StorageFailed("Read-only file system")

    monkeypatch.setattr(LocalStore, "create", read_only)
    async with daemon() as app, eyas.aio.Client(f"127.0.0.1:{app.port}") as client:
        for _ in range(10):
            assert (await client.classify("colours", picture(WHITE))).version == "colours/1"
        assert (await client.classify("colours", picture())).version == "colours/1"
        found = (await client.get_traffic("colours")).canary
        assert found is not None
        assert found.stopped == "colours/2 was rolled back: 10 of its 10 requests failed, and 0 of 9 of production's"


async def test_a_shadow_sees_what_production_answered_and_answers_nobody(daemon: Any, published: Models, tmp_path: Path) -> None:
    swapped = write_bundle(tmp_path / "swapped", job="job2", labels=tuple(reversed(COLOURS)))
    published.publish("colours", swapped, "job2")
    async with daemon(serving={"poll_interval_seconds": 0.05}) as app, eyas.aio.Client(f"127.0.0.1:{app.port}") as client:
        await client.set_traffic("colours", shadow=eyas.Shadow("colours/2", 100))

        def seen(label: str) -> float:
            labels = {"model": "colours", "version": "2", "label": label}
            return app._metrics.registry.get_sample_value("eyas_shadow_images_total", labels) or 0

        while not (seen("same") and seen("different")):
            red, green = [await client.classify("colours", picture(COLOURS[colour])) for colour in ("red", "green")]
            assert (red.version, red.label, green.version, green.label) == ("colours/1", "red", "colours/1", "green")
        flip = {"model": "colours", "version": "2", "production_label": "red", "shadow_label": "blue"}
        assert app._metrics.registry.get_sample_value("eyas_shadow_flips_total", flip) == seen("different")


async def test_the_same_picture_is_run_once(daemon: Any, published: Models, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "GpuDecoder", partial(GpuDecoder, device=nvimgcodec.NVIMGCODEC_DEVICE_CPU_ONLY))
    async with (
        daemon(serving={"cache_bytes": 100_000, "decoder": "gpu"}) as app,
        eyas.aio.Client(f"127.0.0.1:{app.port}") as client,
    ):

        def looked(result: str) -> float:
            labels = {"model": "colours", "result": result}
            return app._metrics.registry.get_sample_value("eyas_cache_lookups_total", labels) or 0

        answers = await client.classify_many("colours", [picture()] * 8 + [b"no picture"], top_k=2)
        assert (looked("miss"), looked("hit")) == (1, 7)
        all_three = await client.classify("colours/1", picture(), top_k=3)
        assert looked("hit") == 8
        for answer in answers[:8]:
            assert isinstance(answer, eyas.Classification)
            assert answer.predictions == all_three.predictions[:2]
        assert isinstance(answers[8], eyas.UndecodableImage)
        assert app._metrics.registry.get_sample_value("eyas_cache_bytes") == 712
        for colour in ("red", "green", "red"):  # too large for the event loop, too small to be decoded at a part
            assert (await client.classify("colours", picture(COLOURS[colour], (120, 70), "JPEG"))).label == colour
        assert app._metrics.registry.get_sample_value("eyas_gpu_decodes_total", {"outcome": "done"}) == 2
        assert (await client.classify("colours", picture(COLOURS["blue"]))).label == "blue"
