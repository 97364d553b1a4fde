"""The Open Inference Protocol over a real socket, with an unmodified tritonclient."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Callable
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import tritonclient.grpc as triton_sync
import tritonclient.grpc.aio as triton
from tritonclient.grpc import model_config_pb2
from tritonclient.utils import InferenceServerException

import eyas
from builders import COLOURS, SIDE, colour_network, golden, noise, picture, write_bundle
from eyas.v1.classification_service_pb2 import ClassifyRequest, Image
from eyas.v1.classification_service_pb2_grpc import ClassificationServiceStub
from eyasd.api.inference.messages import SERVICE
from eyasd.app import App, Role
from eyasd.core.unknown import DistributionRule, UnknownRules
from eyasd.registry.models import Models

RED = picture(COLOURS["red"])


def files(*encoded: bytes, shape: tuple[int, ...] | None = None, raw: bool = True) -> list[Any]:
    """Returns the inputs of a request that holds pictures as files."""
    tensor = triton.InferInput("encoded", list(shape or (len(encoded),)), "BYTES")
    if raw:
        tensor.set_data_from_numpy(np.array(encoded, np.object_).reshape(shape or (len(encoded),)))
    else:
        tensor._get_tensor().contents.bytes_contents.extend(encoded)
    return [tensor]


def pixels(images: np.ndarray[Any, np.dtype[np.uint8]]) -> list[Any]:
    """Returns the inputs of a request that holds pixels."""
    tensor = triton.InferInput("images", list(images.shape), "UINT8")
    tensor.set_data_from_numpy(images)
    return [tensor]


def refused(code: str, says: str) -> Any:
    return pytest.raises(InferenceServerException, match=rf"(?s)^\[StatusCode\.{code}\].*{says}")


@pytest.fixture
async def app(daemon: Any, published: Models) -> AsyncIterator[App]:
    """A daemon that serves, and is quickly started."""
    async with daemon(Role.SERVER) as running:
        yield running


@pytest.fixture
async def client(app: App) -> AsyncIterator[Any]:
    async with triton.InferenceServerClient(f"127.0.0.1:{app.port}") as made:
        yield made


async def test_files_and_pixels_get_the_probabilities_of_the_network(app: App, client: Any) -> None:
    expected = golden()
    answer = await client.infer("colours", pixels(expected.images), request_id="a request")
    response = answer.get_response()
    assert (response.id, response.model_name, response.model_version) == ("a request", "colours", "1")
    assert [(o.name, o.datatype, list(o.shape)) for o in response.outputs] == [("probabilities", "FP32", [3, 3])]
    assert len(response.raw_output_contents) == 1
    np.testing.assert_allclose(answer.as_numpy("probabilities"), expected.probabilities, atol=1e-6)
    encoded = [picture(colour, size=(SIDE, SIDE)) for colour in COLOURS.values()]
    for inputs in (files(*encoded), files(*encoded, shape=(3, 1)), files(*encoded, raw=False)):
        answer = await client.infer("colours", inputs, model_version="1")
        np.testing.assert_allclose(answer.as_numpy("probabilities"), expected.probabilities, atol=1e-6)
    typed = triton.InferInput("images", [1, SIDE, SIDE, 3], "UINT8")
    typed._get_tensor().contents.uint_contents.extend(expected.images[2].flatten().tolist())
    answer = await client.infer("colours", [typed])
    np.testing.assert_allclose(answer.as_numpy("probabilities"), expected.probabilities[2:], atol=1e-6)
    counted = app._metrics.registry.get_sample_value
    assert counted("eyas_requests_total", {"model": "colours", "version": "1", "code": "OK"}) == 5
    assert counted("eyas_rpcs_total", {"method": "GRPCInferenceService/ModelInfer", "code": "OK"}) == 5


async def test_more_than_four_mebibytes_are_one_request(client: Any) -> None:
    large = noise(1, (700, 700), "BMP")
    assert len(large) * 4 > 5_000_000
    for compression in (None, "gzip"):
        answer = await client.infer("colours", files(*[large] * 4), compression_algorithm=compression)
        assert answer.as_numpy("probabilities").shape == (4, 3)


async def test_labels_come_as_text_where_they_are_asked_for(client: Any) -> None:
    wanted = [triton.InferRequestedOutput("probabilities", class_count=2), triton.InferRequestedOutput("probabilities")]
    answer = await client.infer("colours", files(RED, picture(COLOURS["blue"])), outputs=wanted)
    response = answer.get_response()
    assert [(o.datatype, list(o.shape)) for o in response.outputs] == [("BYTES", [2, 2]), ("FP32", [2, 3])]
    rows = [[text.decode().split(":") for text in row] for row in answer.as_numpy("probabilities")]
    assert [[(index, label) for _, index, label in row] for row in rows] == [
        [("2", "red"), ("1", "green")],
        [("0", "blue"), ("1", "green")],
    ]
    assert 0.9 < float(rows[0][0][0]) <= 1
    many = await client.infer("colours", files(RED), outputs=[triton.InferRequestedOutput("probabilities", class_count=99)])
    assert many.as_numpy("probabilities").shape == (1, 3)


async def test_a_version_that_computes_it_has_a_score(client: Any, published: Models, tmp_path: Path) -> None:
    rules = UnknownRules(DistributionRule("largest", 225.0, 0.99, 0.02))
    bundle = write_bundle(tmp_path / "b2", job="job2", network=colour_network(ood_score=True), unknown=rules)
    published.publish("colours", bundle, "job2")
    answer = await client.infer("colours", files(RED, picture((255, 0, 0))), model_version="2")
    assert answer.as_numpy("ood_score").tolist() == [[220], [255]]
    assert answer.as_numpy("probabilities").shape == (2, 3)
    only = await client.infer("colours", files(RED), model_version="2", outputs=[triton.InferRequestedOutput("ood_score")])
    assert only.as_numpy("probabilities") is None
    described = await client.get_model_metadata("colours", "2", as_json=True)
    assert described["outputs"][1] == {"name": "ood_score", "datatype": "FP32", "shape": ["-1", "1"]}
    assert described["versions"] == ["1", "2"]
    with refused("INVALID_ARGUMENT", "colours/1 computes no 'ood_score'"):
        await client.infer("colours", files(RED), outputs=[triton.InferRequestedOutput("ood_score")])


def misshapen(name: str, datatype: str, shape: list[int], content: bytes = b"") -> list[Any]:
    tensor = triton.InferInput(name, shape, datatype)
    tensor._raw_content = content
    return [tensor]


WRONG: list[tuple[list[Any], dict[str, Any], str]] = [
    ([], {}, "0 inputs; it must have one, 'encoded'"),
    ([*files(RED), *files(RED)], {}, "2 inputs; it must have one"),
    (misshapen("input_1", "UINT8", [1]), {}, "no input 'input_1': send 'encoded'"),
    (
        misshapen("images", "FP32", [1, SIDE, SIDE, 3]),
        {},
        r"'images' is FP32 \[1, 32, 32, 3\]; it must be UINT8 \[N, H, W, 3\]",
    ),
    (misshapen("encoded", "BYTES", [1, 2]), {}, r"'encoded' is BYTES \[1, 2\]; it must be BYTES \[N\] or \[N, 1\]"),
    (files(*[RED] * 65), {}, "holds 65 pictures: send 1 to 64"),
    (misshapen("encoded", "BYTES", [0]), {}, "holds 0 pictures: send 1 to 64"),
    (misshapen("encoded", "BYTES", [2], struct.pack("<I", 3) + b"abc"), {}, "says 2 pictures, and its contents hold 1"),
    (misshapen("encoded", "BYTES", [1], struct.pack("<I", 9) + b"abc"), {}, "end in the middle of an element"),
    (misshapen("encoded", "BYTES", [1], b"ab"), {}, "end in the middle of an element"),
    (misshapen("images", "UINT8", [1, SIDE, SIDE, 3], b"ab"), {}, "is of 3,072 bytes, and its contents hold 2"),
    (misshapen("images", "UINT8", [1, -1, -SIDE, 3], b"\0" * 96), {}, "contents hold 96"),
    (pixels(np.zeros((1, 8, 9, 3), np.uint8)), {}, "colours/1 sees pictures of 32 x 32 x 3 pixels, and these have 8 x 9 x 3"),
    (files(RED, b"no picture", RED), {}, "Element 1 of the input: The bytes are not a picture"),
    (files(RED), {"outputs": [triton.InferRequestedOutput("logits")]}, "no output 'logits': ask for 'probabilities'"),
    (files(RED), {"outputs": [triton.InferRequestedOutput("ood_score", class_count=1)]}, "'ood_score' has no labels"),
    (files(RED), {"outputs": [triton.InferRequestedOutput("probabilities", class_count=-1)]}, "'classification' is -1"),
    (files(RED), {"timeout": -5}, "'timeout' is -5; it must be a whole number of 0 or more"),
    (files(RED), {"parameters": {"routing_key": "x" * 257}}, "routing_key has 257 characters; at most 256"),
    (files(RED), {"parameters": {"routing_key": 7}}, "'routing_key' is 7; it must be a text"),
    (files(RED), {"model_version": "../1"}, "is not a name for an alias"),
]


async def test_a_request_that_is_wrong(client: Any) -> None:
    for inputs, options, says in WRONG:
        with refused("INVALID_ARGUMENT", says):
            await client.infer("colours", inputs, **options)


async def test_what_does_not_exist_is_not_found_and_what_is_not_offered_is_unimplemented(client: Any) -> None:
    with refused("NOT_FOUND", "no model 'nothing'; the models are: colours"):
        await client.infer("nothing", files(RED))
    with refused("NOT_FOUND", "no version 9; its newest is 1"):
        await client.infer("colours", files(RED), model_version="9")
    with refused("NOT_FOUND", "no alias 'canary'"):
        await client.infer("colours", files(RED), model_version="canary")
    with refused("NOT_FOUND", "no model 'nothing'"):
        await client.get_model_metadata("nothing")
    with refused("UNIMPLEMENTED", ""):
        await client.load_model("colours")
    shared = triton.InferInput("encoded", [1], "BYTES")
    shared.set_shared_memory("region", 4)
    with refused("INVALID_ARGUMENT", "reads no shared memory"):
        await client.infer("colours", [shared])


async def test_parameters_that_are_known_count_and_others_do_not(client: Any, app: App) -> None:
    answer = await client.infer(
        "colours",
        files(RED),
        model_version="production",
        priority=1,
        timeout=100_000_000,
        parameters={"anything": "at all", "routing_key": "user 7"},
    )
    assert answer.as_numpy("probabilities").argmax() == 2
    prediction_id = answer.get_response().parameters["prediction_ids"].string_param
    async with eyas.aio.Client(f"127.0.0.1:{app.port}") as reporter:
        assert (await reporter.report_feedback(prediction_id, "red")).outcome == "right"
    with refused("DEADLINE_EXCEEDED", "allow more time"):
        await client.infer("colours", files(RED), timeout=1, client_timeout=30)


async def test_the_server_and_its_models_are_described(client: Any, published: Models, tmp_path: Path) -> None:
    published.publish("colours", write_bundle(tmp_path / "b2", job="job2"), "job2")
    assert await client.is_server_live()
    assert await client.is_server_ready()
    assert await client.is_model_ready("colours")
    assert await client.is_model_ready("colours", "1")
    assert await client.is_model_ready("colours", "production")
    assert not await client.is_model_ready("colours", "2")
    assert not await client.is_model_ready("nothing")
    server = await client.get_server_metadata()
    assert server.name == "eyas"
    assert "statistics" in server.extensions
    described = await client.get_model_metadata("colours")
    config = (await client.get_model_config("colours")).config
    assert (described.platform, config.platform, config.max_batch_size) == ("onnxruntime_onnx", "onnxruntime_onnx", 64)
    for in_metadata, in_config in ((described.inputs, config.input), (described.outputs, config.output)):
        assert [(t.name, list(t.shape)) for t in in_metadata] == [(t.name, [-1, *t.dims]) for t in in_config]
    assert [(t.name, t.datatype, list(t.shape)) for t in described.inputs] == [
        ("encoded", "BYTES", [-1, 1]),
        ("images", "UINT8", [-1, SIDE, SIDE, 3]),
    ]
    types = model_config_pb2.DataType
    assert [(t.data_type, t.optional) for t in config.input] == [(types.TYPE_STRING, True), (types.TYPE_UINT8, True)]
    assert config.dynamic_batching.priority_levels == 3
    index = await client.get_model_repository_index()
    assert [(m.name, m.version, m.state) for m in index.models] == [("colours", "1", "READY"), ("colours", "2", "UNAVAILABLE")]
    assert "not loaded" in index.models[1].reason


async def test_statistics_only_grow_and_say_what_was_done(client: Any, channel: grpc.aio.Channel) -> None:
    async def look() -> Any:
        (of_version,) = (await client.get_inference_statistics("colours")).model_stats
        assert (of_version.name, of_version.version) == ("colours", "1")
        return of_version

    assert (await look()).inference_count == 0
    for _ in range(3):
        await client.infer("colours", files(RED, RED))
    first = await look()
    await ClassificationServiceStub(channel).Classify(ClassifyRequest(model="models/colours", images=[Image(content=RED)]))
    with pytest.raises(InferenceServerException):
        await client.infer("colours", files(RED), timeout=1)
    second = await look()
    assert (first.inference_count, second.inference_count) == (6, 7)
    assert 3 <= first.execution_count <= 6
    assert second.execution_count == first.execution_count + 1
    assert (first.inference_stats.success.count, second.inference_stats.success.count) == (3, 4)
    for part in ("success", "queue", "compute_input", "compute_infer", "compute_output"):
        before, after = getattr(first.inference_stats, part), getattr(second.inference_stats, part)
        assert (before.count, after.count) == (3, 4)
        assert after.ns >= before.ns
    parts = second.inference_stats
    assert parts.success.ns > parts.compute_input.ns > 0 < parts.compute_infer.ns
    assert second.last_inference >= first.last_inference > 1_700_000_000_000
    assert len((await client.get_inference_statistics()).model_stats) == 1
    with refused("NOT_FOUND", "no version 9"):
        await client.get_inference_statistics("colours", "9")


async def test_a_stream_answers_in_order_and_survives_a_request_that_fails(app: App) -> None:
    """The synchronous client, which has a thread of its own for the stream."""

    def run() -> list[tuple[Any, Any]]:
        answers: list[tuple[Any, Any]] = []
        with triton_sync.InferenceServerClient(f"127.0.0.1:{app.port}") as client:
            client.start_stream(lambda result, error: answers.append((result, error)))
            for number in range(40):
                encoded = b"no picture" if number == 5 else picture(list(COLOURS.values())[number % 3])
                client.async_stream_infer("colours", files(encoded), request_id=str(number))
            client.stop_stream()
            assert client.infer("colours", files(RED)).as_numpy("probabilities").argmax() == 2
        return answers

    answers = await asyncio.to_thread(run)
    assert len(answers) == 40
    assert "not a picture" in answers[5][1].message()
    for number, (result, _) in enumerate(answers):
        if number != 5:
            assert result.get_response().id == str(number)
            assert result.as_numpy("probabilities").argmax() == number % 3


async def test_a_stream_is_told_that_the_server_goes_down(daemon: Any, published: Models) -> None:
    async with daemon() as app, triton.InferenceServerClient(f"127.0.0.1:{app.port}") as client:

        async def requests() -> AsyncIterator[dict[str, Any]]:
            yield {"model_name": "colours", "inputs": files(RED)}
            await asyncio.Event().wait()

        responses = client.stream_infer(requests())
        async for result, error in responses:
            assert error is None
            assert result.as_numpy("probabilities").argmax() == 2
            break
        stopping = asyncio.create_task(app.stop())
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await anext(aiter(responses))
        assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
        assert "going down: send what has no answer yet on another stream" in str(caught.value.details())
        await stopping


async def test_the_token_is_asked_of_all_but_probes(daemon: Any, published: Models) -> None:
    async with (
        daemon(api={"token": "secret"}) as app,
        triton.InferenceServerClient(f"127.0.0.1:{app.port}") as client,
    ):
        assert await client.is_server_live()
        assert await client.is_server_ready()
        calls: list[Callable[..., Any]] = [
            client.get_server_metadata,
            partial(client.is_model_ready, "colours"),
            partial(client.get_model_config, "colours"),
            partial(client.infer, "colours", files(RED)),
        ]
        for call in calls:
            with refused("UNAUTHENTICATED", "bears no token"):
                await call()
            await call(headers={"authorization": "Bearer secret"})


async def test_what_is_no_message_is_a_bad_argument(channel: grpc.aio.Channel) -> None:
    nonsense = b"\xff\xff\xff\xff"

    async def stream() -> None:
        async for _ in channel.stream_stream(f"/{SERVICE.full_name}/ModelStreamInfer")(iter([nonsense])):
            pass

    for call in (channel.unary_unary(f"/{SERVICE.full_name}/ModelInfer")(nonsense), stream()):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert "not a message of this method" in str(caught.value.details())
