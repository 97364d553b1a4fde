"""A real server whose pictures are decoded in locked processes: no door has another way, and a crash costs one picture."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import Any

import aiohttp
import numpy as np
import pytest
import simplejpeg
import tritonclient.grpc.aio as triton
from PIL import Image

import eyas.aio
from builders import COLOURS, picture, write_bundle
from eyasd.app import App, Role
from eyasd.core.names import ModelRef
from eyasd.core.preprocess import Preprocess
from eyasd.core.traffic import Shadow
from eyasd.registry.models import Models
from eyasd.serving.decoding.worker import ENDS
from processes import children, decoders
from waits import until

ANN: dict[str, Any] = {"actor": "ann", "reason": ""}
RED, GREEN = (picture(COLOURS[name], form="JPEG") for name in ("red", "green"))


@pytest.fixture
async def app(daemon: Any, published: Models, tmp_path: Any) -> Any:
    published.publish("colours", write_bundle(tmp_path / "close", preprocess=Preprocess(32, 0.5)), "job2")
    published.set_traffic("colours", None, Shadow(ModelRef("colours", version=2), 100.0), **ANN)
    async with daemon(Role.SERVER, api={"http_listen": "127.0.0.1:0"}, serving={"decode_processes": 1}) as running:
        yield running
    assert children("eyasd.serving.decoding") == []


def counted(app: App, name: str, **labels: str) -> float:
    return app.metrics.registry.get_sample_value(name, labels) or 0.0


async def test_every_door_has_its_pictures_decoded_there(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    for place, name in ((Image, "open"), (simplejpeg, "decode_jpeg"), (simplejpeg, "decode_jpeg_header")):
        monkeypatch.setattr(place, name, lambda *_, name=name, **__: opened.append(name))
    address = f"127.0.0.1:{app.port}"
    async with eyas.aio.Client(address) as client:
        await client.set_capture_policy("colours", enabled=True, percent=100)
        assert app._fleet is not None
        await app._fleet.refresh()
        first, bad, last = await client.classify_many("colours", [RED, b"no picture", GREEN])
        assert (first.label, last.label) == ("red", "green")
        assert isinstance(bad, eyas.UndecodableImage)
        streamed = {sent: answer.label async for sent, answer in client.classify_stream("colours", [GREEN, RED])}
        assert streamed == {GREEN: "green", RED: "red"}
    tensor = triton.InferInput("encoded", [1], "BYTES")
    tensor.set_data_from_numpy(np.array([GREEN], np.object_))
    async with triton.InferenceServerClient(address) as client:
        assert (await client.infer("colours", [tensor])).as_numpy("probabilities").argmax() == list(COLOURS).index("green")
    async with aiohttp.ClientSession() as session:
        headers = {"content-type": "image/jpeg"}
        url = f"http://127.0.0.1:{app.http_port}/v1/models/colours:classify"
        async with session.post(url, data=RED, headers=headers) as response:
            (result,) = (await response.json())["results"]
    assert result["classification"]["predictions"][0]["label"] == "red"
    await until(lambda: counted(app, "eyas_shadow_images_total", model="colours", version="2", label="same"))
    assert app._capture is not None
    app._capture.close_window()
    await until(lambda: counted(app, "eyas_captured_images_total", model="colours", reason="sample"))
    assert opened == []


async def test_a_crash_costs_the_picture_in_its_hands_at_most(app: App) -> None:
    address = f"127.0.0.1:{app.port}"
    assert [app.metrics.registry.get_sample_value("eyas_decoder_ends_total", {"why": why}) for why in ENDS] == [0] * 4
    async with eyas.aio.Client(address) as client:
        for crashes in (1, 2, 3):
            asking = asyncio.create_task(client.classify_many("colours", [RED, GREEN] * 8))
            await asyncio.sleep(0)
            os.kill((await until(decoders))[0], signal.SIGSEGV)  # the one before may have only just ended
            answers = await asking
            lost = [answer for answer in answers if isinstance(answer, eyas.UndecodableImage)]
            assert len(lost) <= 1
            assert all((one.reason, "ended by SIGSEGV" in one.message) == ("DECODER_ENDED", True) for one in lost)
            right = ["red", "green"] * 8
            assert all(answer in lost or answer.label == label for answer, label in zip(answers, right, strict=True))
            await until(lambda crashes=crashes: counted(app, "eyas_decoder_ends_total", why="crash") >= crashes)
