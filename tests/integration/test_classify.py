"""Classify over a real socket: labels, errors, deadlines, overload, changes of version."""

from __future__ import annotations

import asyncio
import struct
import urllib.request
import zlib
from importlib.metadata import version
from io import BytesIO
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from google.rpc import code_pb2, error_details_pb2, status_pb2
from PIL import Image

from builders import COLOURS, colour_network, noise, picture, write_bundle
from clock import Spent
from eyas.v1 import classification_service_pb2 as pb
from eyas.v1.classification_service_pb2_grpc import ClassificationServiceStub
from eyasd.app import App
from eyasd.core import bundle
from eyasd.core.reference import Histogram, Reference
from eyasd.core.unknown import ConfidenceRule, DistributionRule, UnknownRules
from eyasd.registry.models import Models
from eyasd.serving.drift.watcher import Drift
from waits import until, until_told


def request(*images: bytes, model: str = "models/colours", **options: Any) -> pb.ClassifyRequest:
    return pb.ClassifyRequest(model=model, images=[pb.Image(content=image) for image in images], **options)


def huge() -> bytes:
    """Returns a PNG that says it has 200 megapixels, and holds none."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 20_000, 10_000, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


def details(error: grpc.aio.AioRpcError) -> status_pb2.Status:
    trailing = dict(error.trailing_metadata() or ())
    return status_pb2.Status.FromString(trailing["grpc-status-details-bin"])  # type: ignore[arg-type]


def reason_of(error: grpc.aio.AioRpcError) -> str:
    info = error_details_pb2.ErrorInfo()
    assert details(error).details[0].Unpack(info)
    return info.reason


@pytest.fixture
def stub(channel: grpc.aio.Channel) -> Any:
    return ClassificationServiceStub(channel)


async def test_pictures_get_labels_probabilities_and_timings(stub: Any) -> None:
    response = await stub.Classify(request(*(picture(colour) for colour in COLOURS.values()), top_k=2))
    assert response.model_version == "models/colours/versions/1"
    tops = [[p.label for p in result.classification.predictions] for result in response.results]
    assert [top[0] for top in tops] == list(COLOURS)
    assert {len(top) for top in tops} == {2}
    best = response.results[0].classification.predictions[0]
    assert 0.9 < best.probability <= 1
    assert best.class_index == 0
    assert response.timing.preprocessing.ToTimedelta().total_seconds() > 0
    assert response.timing.inference.ToTimedelta().total_seconds() > 0


async def test_one_label_is_the_default_and_all_are_the_most(stub: Any) -> None:
    one, all_ = await stub.Classify(request(picture())), await stub.Classify(request(picture(), top_k=99))
    assert len(one.results[0].classification.predictions) == 1
    probabilities = [p.probability for p in all_.results[0].classification.predictions]
    assert len(probabilities) == 3
    assert probabilities == sorted(probabilities, reverse=True)
    assert sum(probabilities) == pytest.approx(1, abs=1e-5)


async def test_of_several_labels_those_apply_that_reach_their_thresholds(stub: Any, published: Models, tmp_path: Path) -> None:
    # A yellow picture is red and green alike, at 0.5 each; blue has next to nothing, but not nothing.
    published.publish("colours", write_bundle(tmp_path / "b2", job="job2", thresholds=(1e-9, 0.2, 0.9)), "job2")
    yellow, white = picture((220, 220, 20)), picture((100, 100, 100))

    async def said(image: bytes, top_k: int = 0) -> list[tuple[str, bool]]:
        response = await stub.Classify(request(image, model="models/colours/versions/2", top_k=top_k))
        assert response.multi_label
        return [(p.label, p.applies) for p in response.results[0].classification.predictions]

    assert await said(yellow) == [("green", True), ("blue", True)]
    assert await said(yellow, top_k=3) == [("green", True), ("red", False), ("blue", True)]
    published.publish("colours", write_bundle(tmp_path / "b3", job="job3", thresholds=(0.9, 0.9, 0.9)), "job3")
    response = await stub.Classify(request(white, model="models/colours/versions/3"))
    assert [(p.label, p.applies) for p in response.results[0].classification.predictions] == [("blue", False)]
    single = await stub.Classify(request(yellow, top_k=2))
    assert not single.multi_label
    assert [(p.label, p.applies) for p in single.results[0].classification.predictions] == [("green", True), ("red", False)]


async def test_a_picture_may_be_unknown(app: App, stub: Any, published: Models, tmp_path: Path) -> None:
    # The score of this network is the largest value of the picture; of a yellow picture red and green have 0.5 each.
    rules = UnknownRules(DistributionRule("largest", 225.0, 0.99, 0.02), ConfidenceRule(0.98, (0.9, 0.9, 0.9)))
    network = colour_network(ood_score=True)
    brightness = {"brightness": Histogram((80.0, 160.0), (5, 90, 5), 60.0, 170.0)}
    reference = Reference(100, "test", 1, {"green": 50, "other": 50}, brightness)
    bundle = write_bundle(tmp_path / "b2", job="job2", network=network, unknown=rules, reference=reference)
    published.publish("colours", bundle, "job2")
    images = [picture(colour) for colour in (COLOURS["red"], (220, 220, 20), (255, 0, 0))]

    async def said(**options: Any) -> list[pb.Classification]:
        response = await stub.Classify(request(*images, model="models/colours/versions/2", top_k=2, **options))
        answers = [result.classification for result in response.results]
        for answer in answers:  # no two have the same
            answer.ClearField("prediction_id")
        return answers

    plain = await said()
    assert [one.ood_score for one in plain] == [220, 220, 255]
    assert [[p.applies for p in one.predictions] for one in plain] == [[True, False]] * 3
    assert not any(one.HasField("unknown") for one in plain)
    known, doubtful, foreign = await said(allow_unknown=True)
    assert known == plain[0]
    assert doubtful.unknown.reason == pb.UNKNOWN_REASON_LOW_CONFIDENCE
    assert (doubtful.unknown.score, doubtful.unknown.threshold, doubtful.unknown.share) == (pytest.approx(0.5, abs=1e-3), 0.9, 0.98)
    assert foreign.unknown == pb.Unknown(reason="UNKNOWN_REASON_OUT_OF_DISTRIBUTION", score=255, threshold=225, share=0.99)
    for before, after in zip(plain[1:], (doubtful, foreign), strict=True):
        assert [(p.label, p.probability) for p in after.predictions] == [(p.label, p.probability) for p in before.predictions]
        assert not any(p.applies for p in after.predictions)
        assert after.ood_score == before.ood_score
    counted = app._metrics.registry.get_sample_value
    assert counted("eyas_images_total", {"model": "colours", "outcome": "OUT_OF_DISTRIBUTION"}) == 1
    assert counted("eyas_images_total", {"model": "colours", "outcome": "OK"}) == 4
    # Drift is counted of all of them, whether or not they were allowed to be unknown.
    assert app._classifier
    [drift] = [watcher for watcher in app._classifier._watchers if isinstance(watcher, Drift)]
    drift.count()
    await drift.settle()
    of = {"model": "colours", "version": "2"}
    assert counted("eyas_drift_unknown_total", of) == 4
    assert counted("eyas_drift_images_total", {**of, "signal": "label", "bin": "other"}) == 4
    assert counted("eyas_drift_images_total", {**of, "signal": "brightness", "bin": "1: 80 to 160"}) == 2
    assert counted("eyas_drift_images_total", {**of, "signal": "brightness", "bin": "2: over 160"}) == 2


async def test_an_answer_is_explained_by_a_picture_of_what_the_network_saw(stub: Any, published: Models, tmp_path: Path) -> None:
    published.publish("colours", write_bundle(tmp_path / "b2", job="job2", explainable=True), "job2")
    half = Image.new("RGB", (40, 30), (0, 0, 60))
    half.paste((220, 0, 60), (20, 0, 40, 30))
    encoded = BytesIO()
    half.save(encoded, "PNG")
    asked = request(encoded.getvalue(), b"no picture", model="models/colours/versions/2")
    asked.explain = True
    explained, unreadable = (await stub.Classify(asked)).results
    assert unreadable.HasField("error")
    explanation = explained.classification.explanation
    assert explanation.label == explained.classification.predictions[0].label == "red"
    drawn = Image.open(BytesIO(explanation.png))
    assert (drawn.format, drawn.size) == ("PNG", (32, 32))
    assert drawn.getpixel((4, 16)) == (7, 7, 7)  # the blue half in grey: nothing speaks for red
    assert np.asarray(drawn)[16, 28, 1] > 100  # yellow
    asked.explain = False
    assert not (await stub.Classify(asked)).results[0].classification.HasField("explanation")
    asked.model, asked.explain = "models/colours", True
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.Classify(asked)
    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert "colours/1 cannot explain its answers: its network (colours) does not end in the mean" in str(caught.value.details())
    assert reason_of(caught.value) == "NOT_EXPLAINABLE"


async def test_a_picture_that_cannot_be_read_fails_alone(stub: Any) -> None:
    response = await stub.Classify(request(picture(), b"no picture", noise(1, form="JPEG")[:300], huge(), picture()))
    kinds = [result.WhichOneof("outcome") for result in response.results]
    assert kinds == ["classification", "error", "error", "error", "classification"]
    errors = [result.error for result in response.results[1:4]]
    assert {error.code for error in errors} == {code_pb2.INVALID_ARGUMENT}
    for error, says in zip(errors, ("not a picture", "cut short", "20000 x 10000 pixels"), strict=True):
        assert says in error.message
    info = error_details_pb2.ErrorInfo()
    assert errors[2].details[0].Unpack(info)
    assert info.reason == "IMAGE_TOO_LARGE"


@pytest.mark.parametrize(
    ("sent", "code", "says", "reason"),
    [
        (request(picture(), model="models/nothing"), "NOT_FOUND", "no model 'nothing'; the models are: colours", "MODEL_NOT_FOUND"),
        (request(picture(), model="models/colours/aliases/canary"), "NOT_FOUND", "no alias 'canary'", "ALIAS_NOT_FOUND"),
        (request(picture(), model="models/colours/versions/9"), "NOT_FOUND", "no version 9", "VERSION_NOT_FOUND"),
        (request(picture(), model="../../etc/passwd"), "INVALID_ARGUMENT", "does not name a model version", "INVALID_ARGUMENT"),
        (request(), "INVALID_ARGUMENT", "holds no picture: send 1 to 64", "INVALID_ARGUMENT"),
        (request(*[picture()] * 65), "INVALID_ARGUMENT", "holds 65 pictures: send at most 64", "INVALID_ARGUMENT"),
        (request(picture(), top_k=-1), "INVALID_ARGUMENT", "top_k is -1", "INVALID_ARGUMENT"),
        (request(picture(), priority=9), "INVALID_ARGUMENT", "priority is 9; it must be HIGH", "INVALID_ARGUMENT"),
        (request(picture(), routing_key="k" * 257), "INVALID_ARGUMENT", "routing_key has 257 characters", "INVALID_ARGUMENT"),
        (request(*[picture()] * 9, explain=True), "INVALID_ARGUMENT", "9 pictures to explain: send at most 8", "INVALID_ARGUMENT"),
        (request(picture(), allow_unknown=True), "FAILED_PRECONDITION", "colours/1 was trained by an Eyas", "NO_UNKNOWN_RULE"),
    ],
    ids=["model", "alias", "version", "name", "empty", "many", "top-k", "priority", "key", "explain", "unknown"],
)
async def test_a_request_that_cannot_be_answered(stub: Any, sent: pb.ClassifyRequest, code: str, says: str, reason: str) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.Classify(sent)
    assert caught.value.code().name == code
    assert says in str(caught.value.details())
    assert reason_of(caught.value) == reason


async def test_a_message_over_the_limit_is_refused(stub: Any) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.Classify(request(b"\0" * (33 * 1024 * 1024)))
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "larger than max" in str(caught.value.details())


@pytest.mark.parametrize("method", ["eyas.v1.ClassificationService/Classify", "grpc.health.v1.Health/Check"])
async def test_what_is_no_message_is_a_bad_argument(channel: grpc.aio.Channel, method: str) -> None:
    call = channel.unary_unary(f"/{method}")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call(b"\xff\xff\xff\xff")
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert "not a message of this method" in str(caught.value.details())


async def test_an_unforeseen_error_keeps_its_secrets(app: App, stub: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def explode(*_: object, **__: object) -> None:
        raise RuntimeError("/srv/secret/path?token=abc")

    monkeypatch.setattr("eyasd.serving.classifier.Classifier.classify", explode)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.Classify(request(picture()))
    assert caught.value.code() is grpc.StatusCode.INTERNAL
    assert "secret" not in str(caught.value.details())
    assert "under the id" in str(caught.value.details())


async def test_a_full_queue_says_when_to_come_back(daemon: Any, published: Models, standstill: Any) -> None:
    async with (
        daemon(serving={"max_queue_images": 4, "max_batch_size": 1}) as app,
        grpc.aio.insecure_channel(f"127.0.0.1:{app.port}") as channel,
    ):
        stub = ClassificationServiceStub(channel)
        with standstill():
            calls = [asyncio.ensure_future(stub.Classify(request(picture()))) for _ in range(12)]
            while sum(call.done() for call in calls) < 6:
                await asyncio.wait([call for call in calls if not call.done()], return_when=asyncio.FIRST_COMPLETED)
        outcomes = await asyncio.gather(*calls, return_exceptions=True)
    refused = [o for o in outcomes if isinstance(o, grpc.aio.AioRpcError)]
    assert 6 <= len(refused) <= 8
    assert {error.code() for error in refused} == {grpc.StatusCode.RESOURCE_EXHAUSTED}
    retry = error_details_pb2.RetryInfo()
    assert details(refused[0]).details[1].Unpack(retry)
    assert retry.retry_delay.ToTimedelta().total_seconds() > 0
    pauses = dict(refused[0].trailing_metadata())  # which gRPC itself heeds
    assert int(pauses["grpc-retry-pushback-ms"]) >= retry.retry_delay.ToMilliseconds()
    assert len(outcomes) - len(refused) >= 4


async def test_a_deadline_is_honoured_in_the_queue(daemon: Any, published: Models, standstill: Any) -> None:
    async with daemon(serving={"max_batch_size": 1}) as app, grpc.aio.insecure_channel(f"127.0.0.1:{app.port}") as channel:
        stub = ClassificationServiceStub(channel)
        with standstill():
            calls = [asyncio.ensure_future(stub.Classify(request(picture()), timeout=0.3)) for _ in range(40)]
            outcomes = await asyncio.gather(*calls, return_exceptions=True)
            # Until the server knows, too, that their time is up.
            await until(lambda: app._metrics.registry.get_sample_value("eyas_in_flight_requests") == 0)
        assert {outcome.code() for outcome in outcomes} <= {grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.RESOURCE_EXHAUSTED}

        async def is_answered() -> bool:
            """Whether a call is; after many refusals some more follow, for milliseconds."""
            call = stub.Classify(request(picture()), timeout=60)
            if await call.code() is grpc.StatusCode.RESOURCE_EXHAUSTED:
                return False
            return len((await call).results) == 1

        await until_told(is_answered)
        ran = app._metrics.registry.get_sample_value("eyas_batch_images_sum", {"model": "colours"})
        assert ran is not None
        assert ran <= 3  # those that were late never reached the network, but for what had when it stood still


async def test_versions_and_aliases_are_picked_up_without_a_failed_request(
    app: App, published: Models, stub: Any, tmp_path: Path
) -> None:
    seen: set[str] = set()
    ending = asyncio.Event()

    async def ask() -> None:
        while not ending.is_set():
            seen.add((await stub.Classify(request(picture(), picture()))).model_version)

    callers = [asyncio.ensure_future(ask()) for _ in range(4)]

    async def until_answered_by(version: int) -> None:
        spent = Spent()
        while f"models/colours/versions/{version}" not in seen:
            assert spent.seconds < 2  # the promise
            await asyncio.sleep(0.01)

    await until_answered_by(1)
    published.publish("colours", write_bundle(tmp_path / "b2", job="job2"), "job2")
    published.aliases.set("colours", "production", 2, actor="test", reason="")
    await until_answered_by(2)
    # A broken version is not served; the one before goes on.
    published.publish("colours", write_bundle(tmp_path / "b3", job="job3"), "job3")
    (tmp_path / "data/models/colours/3" / bundle.MODEL).write_bytes(colour_network(gain=0.5))
    published.aliases.set("colours", "production", 3, actor="test", reason="")
    await asyncio.sleep(0.5)
    seen.clear()
    await until_answered_by(2)
    assert "models/colours/versions/3" not in seen
    # Rolled back to the first.
    published.aliases.set("colours", "production", 1, actor="test", reason="")
    seen.clear()
    await until_answered_by(1)
    ending.set()
    await asyncio.gather(*callers)


async def test_metrics_tell_of_it_all(app: App, stub: Any) -> None:
    await stub.Classify(request(picture(), b"no picture"))
    with pytest.raises(grpc.aio.AioRpcError):
        await stub.Classify(request(picture(), model="models/made-up"))
    text = await asyncio.to_thread(lambda: urllib.request.urlopen(f"http://127.0.0.1:{app.metrics_port}/metrics").read().decode())
    for line in (
        'eyas_requests_total{code="OK",model="colours",version="1"} 1.0',
        'eyas_requests_total{code="NOT_FOUND",model="other",version="other"} 1.0',
        'eyas_images_total{model="colours",outcome="OK"} 1.0',
        'eyas_images_total{model="colours",outcome="UNDECODABLE_IMAGE"} 1.0',
        'eyas_loaded_version_info{model="colours",version="1"} 1.0',
        'eyas_queue_images{model="colours",version="1"} 0.0',
        'eyas_batch_images_count{model="colours"} 1.0',
        'eyas_rpcs_total{code="OK",method="ClassificationService/Classify"} 1.0',
        'eyas_engine_info{device="cpu",model="colours",provider="CPUExecutionProvider",version="1"} 1.0',
        'eyas_version_warmup_seconds_count{model="colours"} 1.0',
        "eyas_in_flight_requests 0.0",
        f'eyas_build_info{{role="all",version="{version("eyas")}"}} 1.0',
        *(
            f'eyas_stage_seconds_count{{model="colours",stage="{stage}",version="1"}} 1.0'
            for stage in ("admission", "decode", "queue", "inference", "total")
        ),
    ):
        assert line in text
    assert "made-up" not in text
    assert (app._metrics.registry.get_sample_value("eyas_saturation_ratio") or 0) > 0
