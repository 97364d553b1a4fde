"""Requests that nobody sane would send, to every method, and callers who leave in the middle."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest

import eyas
import eyas.aio
from builders import picture
from eyas.v1 import classification_service_pb2 as pb
from eyasd.api.door.call import ServerCall
from eyasd.core.errors import UndecodableImage
from hostile.calls import Besieged, attack, daemon, is_well
from waits import until

from .conftest import Tell

SECONDS = 60


@pytest.fixture
async def besieged(tmp_path: Path) -> AsyncIterator[Besieged]:
    async with daemon(tmp_path) as running:
        yield running


@pytest.fixture
async def channel(besieged: Besieged) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(f"127.0.0.1:{besieged.app.port}") as made:
        yield made


async def test_a_picture_that_cannot_be_read_is_gone_when_it_was_answered(besieged: Besieged, without_collection: None) -> None:
    """Its error has the frames in which it arose, and these the picture, which may be of 20 MB, and the memory of the slots."""
    async with eyas.aio.Client(f"127.0.0.1:{besieged.app.port}") as client:
        for number in range(10):
            bad, good = await client.classify_many("kept", [b"no picture", picture()])
            assert isinstance(bad, eyas.UndecodableImage)
            assert isinstance(good, eyas.Classification)
            results = [result async for _, result in client.classify_stream("kept", [b"no picture", picture()], ordered=number > 5)]
            assert sum(isinstance(result, eyas.EyasError) for result in results) == 1
    await until(lambda: not [one for one in gc.get_objects() if type(one) is UndecodableImage])


@pytest.mark.timeout(3600)
async def test_any_request_gets_an_answer_that_was_foreseen(besieged: Besieged, all_faults: bool, tell: Tell) -> None:
    app, versed = besieged
    tally = await attack(app.port, 2_000 if all_faults else 10, seed=1, versed=versed)
    assert not tally.found, tally.found[:5]
    assert not tally.never_done  # a good request that is none any more would be varied for nothing
    done = sum(codes["OK"] for codes in tally.calls.values())
    tell("requests drawn, varied and damaged, to every method", f"{tally.total:,}, of which {done:,} answered OK", "0")
    samples = [sample for metric in app.metrics.registry.collect() for sample in metric.samples]
    models = {sample.labels["model"] for sample in samples if "model" in sample.labels}
    assert models <= {"", "other", "colours", "fresh", "tags", "kept"}


async def test_a_call_is_gone_when_it_has_ended(besieged: Besieged, channel: grpc.aio.Channel, without_collection: None) -> None:
    """A server looks for cycles seldom, and what a call holds may be large."""
    assert not (await attack(besieged.app.port, 3, seed=2, versed=besieged.versed)).found
    await until(lambda: not calls())
    options = pb.ClassifyStreamRequest(options=pb.ClassifyStreamOptions(model="models/kept/aliases/production"))
    shown = pb.ClassifyStreamRequest(picture=pb.StreamedImage(image=pb.Image(content=picture())))
    for path, messages in (
        ("eyas.v1.ClassificationService/ClassifyStream", [options.SerializeToString(), shown.SerializeToString()]),
        ("eyas.v1.DatasetService/UploadDataset", [b""]),
        ("inference.GRPCInferenceService/ModelStreamInfer", [b""]),
        ("grpc.health.v1.Health/Watch", [b""]),
    ):
        call = channel.stream_stream(f"/{path}")()
        for message in messages:
            await call.write(message)
        await until(lambda: any(one.method.endswith(path) for one in calls()))  # noqa: B023 - it is asked at once
        call.cancel()
    await until(lambda: not calls())
    assert await is_well(channel)


def calls() -> list[Any]:
    return [one for one in gc.get_objects() if type(one) is ServerCall]
