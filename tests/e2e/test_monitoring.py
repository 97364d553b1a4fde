"""Every query of every dashboard and rule, asked of a real Prometheus that scrapes a daemon at work."""

from __future__ import annotations

import math
import os
import re
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import eyas
from builders import COLOURS, colour_network, noise, picture, write_bundle, write_pictures
from eyasd.core.reference import Reference, Signal, summarise
from eyasd.core.unknown import ConfidenceRule, DistributionRule, UnknownRules
from eyasd.registry.models import Models
from eyasd.storage.local import LocalStore
from ports import free_port
from prometheus import PROGRAM, Prometheus
from queries import EMPTY, alerts, asked, hastened, names
from waits import wait_until

from .conftest import House

pytestmark = [
    pytest.mark.skipif(PROGRAM is None, reason="Prometheus is not installed"),
    pytest.mark.timeout(300),
]
# Of a network that knows nothing, and without end.
LONG = ("--backbone", "test_resnet", "--set", "pretrained=false", "--set", "epochs=1000", "--set", "image_size_px=32")
WHITE = (255, 255, 255)
CALLERS = count()


@pytest.fixture
def seen(tmp_path: Path, house: House) -> Iterator[Prometheus]:
    """A Prometheus that has seen a daemon at work: with a canary, a shadow, feedback, a training, and what goes wrong."""
    _publish(Models(LocalStore(house.data_dir / "models")), tmp_path)
    house.start(
        EYASD_SERVING__POLL_INTERVAL_SECONDS="0.1",
        EYASD_SERVING__MAX_QUEUE_IMAGES="16",
        EYASD_SERVING__CACHE_BYTES="1000000",
        # Spans are made, and go nowhere.
        EYASD_TELEMETRY__OTLP_ENDPOINT=f"http://127.0.0.1:{free_port()}",
        EYASD_TELEMETRY__TRACE_RATIO="1",
    )
    with Prometheus(tmp_path / "prometheus", {"eyas": house.metrics}, hastened(tmp_path / "rules")) as prometheus:
        wait_until(lambda: prometheus.query("eyas_loaded_version_info"))
        _begin_jobs(house, tmp_path)
        wait_until(lambda: prometheus.query("eyas_training_loss and eyas_training_accuracy_ratio"))
        _play(house, prometheus)
        wait_until(lambda: prometheus.query('eyas_loaded_version_info{model="colours",version="4"}'))
        # Rules and rates have seen all of it.
        time.sleep(3)
        yield prometheus


def _reference() -> Reference:
    """Returns what some pictures were like."""
    random = np.random.default_rng(0)
    values = {signal: random.normal(100, 20, 120) for signal in Signal if signal not in (Signal.LABEL, Signal.OOD_SCORE)}
    return summarise(tuple(COLOURS), np.repeat([0, 1, 2], 40), values, split="test", unknown=1)


def _bundle(folder: Path, **more: Any) -> Path:
    """Writes a version that knows what is unlike what it was tested on."""
    rules = UnknownRules(DistributionRule("largest", 225.0, 0.99, 0.02), ConfidenceRule(0.98, (0.9, 0.9, 0.9)))
    return write_bundle(folder, network=colour_network(ood_score=True), unknown=rules, reference=_reference(), **more)


def _publish(models: Models, folder: Path) -> None:
    for model in ("colours", "paints"):
        models.publish(model, _bundle(folder / model), "job1")
        models.aliases.set(model, "production", 1, actor="test", reason="")
    for job, bundle in (
        ("job2", _bundle(folder / "second", job="job2")),
        ("job3", write_bundle(folder / "reversed", job="job3", labels=tuple(reversed(COLOURS)))),
        ("job4", write_bundle(folder / "newest", job="job4")),
    ):
        models.publish("colours", bundle, job)
    models.aliases.set("colours", "next", 1, actor="test", reason="")
    models.publish("paints", write_bundle(folder / "brittle", job="job5", network=colour_network(brittle=True)), "job5")
    models.publish("paints", write_bundle(folder / "damaged", job="job6"), "job6")


def _begin_jobs(house: House, folder: Path) -> None:
    """Lets a job fail, one succeed, and one go on."""
    pictures = write_pictures(folder / "pictures", dict.fromkeys(COLOURS, 30))
    house.eyas("train", write_pictures(folder / "few", {"red": 3}), "--model", "few", "--no-wait", *LONG)
    house.eyas("inspect", pictures, "--no-wait")
    house.eyas("train", pictures, "--model", "trained", "--no-wait", *LONG)


def _play(house: House, prometheus: Prometheus) -> None:
    """Lets everything else happen that is to be seen."""
    models = Models(LocalStore(house.data_dir / "models"))
    (house.data_dir / "models/paints/3/model.onnx").write_bytes(b"damaged")
    models.aliases.set("paints", "next", 3, actor="test", reason="it cannot be loaded")
    models.aliases.set("colours", "next", 4, actor="test", reason="it is newer")
    house.eyas("capture", "colours", "--on", "--percent", "100")
    with eyas.Client(house.address) as client, ThreadPoolExecutor(4) as pool:
        # By errors alone: how long requests take on a busy machine says nothing of a version.
        canary = eyas.Canary("colours/2", 30, max_latency_ratio=1000)
        client.set_traffic("colours", canary=canary, shadow=eyas.Shadow("colours/3", 100))
        client.set_traffic("paints", canary=eyas.Canary("paints/2", 50, min_requests=10, max_latency_ratio=1000))
        # One version is loaded at a time, and what is asked before is answered by production and seen by nobody.
        wait_until(
            lambda: len(prometheus.query("eyas_canary_percent")) == 2 and prometheus.query('eyas_loaded_version_info{version="3"}')
        )
        for moment in range(20):
            asked_for = [(label, tuple(min(255, part + moment) for part in colour)) for label, colour in COLOURS.items()] * 6
            for answer, label in pool.map(lambda pair: (_ask(client, "colours", picture(pair[1])), pair[0]), asked_for):
                client.report_feedback(answer, "red" if label == "blue" else label)
            _paint(client, pool)
            if moment == 5:
                os.kill(house.engines()[0], signal.SIGKILL)
            time.sleep(0.1)
        wait_until(lambda: _paint(client, pool) or not client.get_traffic("paints").canary)
        for model, content in (("colours", b"no picture"), ("none", picture())):
            with suppress(eyas.EyasError):
                client.classify(model, content)
        list(pool.map(lambda seed: _refused(client, seed), range(8)))


def _ask(client: eyas.Client, model: str, content: bytes) -> eyas.Classification:
    return client.classify(model, content, routing_key=str(next(CALLERS)))


def _paint(client: eyas.Client, pool: ThreadPoolExecutor) -> None:
    """Asks for what the canary of the paints fails at, and for what it can do; production answers the one."""
    list(pool.map(lambda content: _ask(client, "paints", content), [picture(WHITE), picture()] * 3))


def _refused(client: eyas.Client, seed: int) -> None:
    """Asks for more than the queue has room for, and sooner than can be."""
    with suppress(eyas.EyasError):
        list(client.classify_many("colours", [noise(100 * seed + number) for number in range(64)], timeout=0.5))


def _is_empty(name: str) -> bool:
    return any(re.fullmatch(pattern, re.sub(r"_(bucket|sum|count)$", "", name)) for pattern in EMPTY)


def _has_value(found: list[dict[str, Any]]) -> bool:
    return any(not math.isnan(float(series["value"][1])) for series in found)


def _unanswered(seen: Prometheus) -> list[str]:
    without = []
    for query in asked():
        series = names(query.expression)
        # An alert has no value while all is well; what it reads has.
        expressions = sorted(series) if query.where.removeprefix("rule ") in alerts() else [query.expression]
        if not any(map(_is_empty, series)) and not all(_has_value(seen.query(expression)) for expression in expressions):
            without.append(f"{query.where}: {query.expression}")
    return without


def test_every_query_has_an_answer(seen: Prometheus) -> None:
    deadline = time.monotonic() + 60
    while without := _unanswered(seen):  # rules and rates have not seen all of it yet
        assert time.monotonic() < deadline, without
    read = set[str]().union(*(names(query.expression) for query in asked()))
    assert [rule for rule in seen.rules() if rule["health"] != "ok"] == []
    assert [name for name in read if _is_empty(name) and _has_value(seen.query(name))] == []
    assert [pattern for pattern in EMPTY if not any(re.fullmatch(pattern, name) for name in read)] == []

    traced = seen.exemplars('eyas_stage_seconds_bucket{stage="total"}', time.time() - 300, time.time())
    assert traced
    assert all(len(exemplar["labels"]["trace_id"]) == 32 for found in traced for exemplar in found["exemplars"])
