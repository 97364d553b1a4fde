"""The HTTP/JSON door over a real socket: curl's forms, JSON, errors, the token, and the way down."""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
from collections.abc import AsyncIterator
from io import BytesIO
from typing import Any

import aiohttp
import pytest
import trustme

from builders import COLOURS, picture
from eyasd.app import App, Role
from eyasd.core.errors import StartupFailed
from eyasd.registry.models import Models
from waits import until

RED = picture(COLOURS["red"])
LISTEN = {"http_listen": "127.0.0.1:0"}
CLASSIFY = "/v1/models/colours:classify"


def form(*pictures: bytes) -> aiohttp.FormData:
    made = aiohttp.FormData()
    for number, content in enumerate(pictures):
        made.add_field("image", content, filename=f"{number}.png", content_type="image/png")
    return made


@pytest.fixture
async def app(daemon: Any, published: Models) -> AsyncIterator[App]:
    async with daemon(api=dict(LISTEN)) as running:
        yield running


@pytest.fixture
async def web(app: App) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(f"http://127.0.0.1:{app.http_port}") as session:
        yield session


async def test_files_of_a_form_or_one_or_json_get_labels(app: App, web: aiohttp.ClientSession) -> None:
    async with web.post(
        CLASSIFY, data=form(*(picture(colour) for colour in COLOURS.values())), params={"top_k": "2", "priority": "low"}
    ) as response:
        assert response.status == 200
        body = await response.json()
    assert body["modelVersion"] == "models/colours/versions/1"
    tops = [[p["label"] for p in result["classification"]["predictions"]] for result in body["results"]]
    assert [top[0] for top in tops] == list(COLOURS)
    assert {len(top) for top in tops} == {2}
    best = body["results"][0]["classification"]["predictions"][0]
    assert best["classIndex"] == 0
    assert best["applies"] is True
    assert 0.9 < best["probability"] <= 1
    assert body["timing"]["inference"].endswith("s")
    images = {"images": [{"content": base64.b64encode(RED).decode()}]}
    for path in (CLASSIFY, "/v1/models/colours/versions/1:classify", "/v1/models/colours/aliases/production:classify"):
        for sent in ({"json": images}, {"data": RED, "headers": {"content-type": "image/png"}}):
            async with web.post(path, **sent) as response:
                body = await response.json()
                assert body["results"][0]["classification"]["predictions"][0]["label"] == "red"
    counted = app._metrics.registry.get_sample_value
    assert counted("eyas_requests_total", {"model": "colours", "version": "1", "code": "OK"}) == 7
    assert counted("eyas_rpcs_total", {"method": "http/classify", "code": "OK"}) == 7


async def test_a_picture_that_cannot_be_read_fails_alone(web: aiohttp.ClientSession) -> None:
    async with web.post(CLASSIFY, data=form(RED, b"no picture")) as response:
        assert response.status == 200
        good, bad = (await response.json())["results"]
    assert good["classification"]["predictions"][0]["label"] == "red"
    assert bad["error"]["code"] == 3
    assert "not a picture" in bad["error"]["message"]


async def test_what_would_have_been_right_is_reported(app: App, web: aiohttp.ClientSession) -> None:
    async with web.post(CLASSIFY, data=form(RED, RED)) as response:
        ids = [result["classification"]["predictionId"] for result in (await response.json())["results"]]
    reports = [
        {"prediction_id": ids[0], "true_labels": ["red"]},
        {"predictionId": ids[1], "trueClassIndices": [0]},
        {"prediction_id": "x", "true_labels": ["red"]},
    ]
    async with web.post("/v1/feedback", json={"feedback": reports}) as response:
        assert response.status == 200
        right, wrong, forged = (await response.json())["results"]
    said = {"message": "", "modelVersion": "models/colours/versions/1", "answeredLabels": ["red"]}
    assert right == {"outcome": "FEEDBACK_OUTCOME_RIGHT", **said}
    assert wrong == {"outcome": "FEEDBACK_OUTCOME_WRONG", **said}
    assert forged["outcome"] == "FEEDBACK_OUTCOME_FORGED"
    assert app._metrics.registry.get_sample_value("eyas_rpcs_total", {"method": "http/feedback", "code": "OK"}) == 1


WRONG: list[tuple[str, dict[str, Any], int, int, str]] = [
    ("/v1/models/nothing:classify", {"data": form(RED)}, 404, 5, "no model 'nothing'; the models are: colours"),
    ("/v1/models/colours/versions/9:classify", {"data": form(RED)}, 404, 5, "no version 9"),
    ("/v1/models/..:classify", {"data": form(RED)}, 400, 3, "is not a name for a model"),
    ("/v1/elsewhere", {"data": form(RED)}, 404, 5, "Not Found"),
    (CLASSIFY, {"data": form()}, 415, 3, "send a form of files"),
    (CLASSIFY, {"data": form(*[RED] * 65)}, 400, 3, "holds too many pictures: send 1 to 64"),
    (CLASSIFY, {"data": form(*[RED] * 9), "params": {"explain": "true"}}, 400, 3, "too many pictures to explain: send 1 to 8"),
    (CLASSIFY, {"data": BytesIO(b"x" * 40_000_000), "headers": {"content-type": "image/png"}}, 413, 3, "over 33,554,432 bytes"),
    (CLASSIFY, {"data": b"--x\r\nno", "headers": {"content-type": "multipart/form-data; boundary=x"}}, 400, 3, "form is damaged"),
    (CLASSIFY, {"data": b"x", "headers": {"content-type": "multipart/form-data"}}, 400, 3, "form is damaged"),
    (CLASSIFY, {"json": {"images": []}}, 400, 3, "holds no picture: send 1 to 64"),
    (CLASSIFY, {"json": {"images": [{"content": "%"}]}}, 400, 3, "with standard base64"),
    (CLASSIFY, {"json": [1]}, 400, 3, "The body is not"),
    (CLASSIFY, {"data": b"[" * 100_000, "headers": {"content-type": "application/json"}}, 400, 3, "The body is not"),
    (CLASSIFY, {"data": form(RED), "params": {"top_k": "-1"}}, 400, 3, "top_k is '-1'"),
    (CLASSIFY, {"data": form(RED), "params": {"explain": "yes"}}, 400, 3, "explain is 'yes'; it must be true or false"),
    (CLASSIFY, {"data": form(RED), "params": {"priority": "1"}}, 400, 3, "priority is '1'; it must be high, normal or low"),
    (CLASSIFY, {"data": form(RED), "params": {"timeout": "nan"}}, 400, 3, "timeout is 'nan'"),
    (CLASSIFY, {"data": form(RED), "params": {"topk": "1"}}, 400, 3, "no parameter 'topk': the parameters are top_k"),
    (CLASSIFY, {"data": form(RED), "params": {"allow_unknown": "true"}}, 400, 9, "was trained by an Eyas"),
    (CLASSIFY, {"data": form(RED), "params": {"timeout": "0.0001"}}, 504, 4, "allow more time"),
    ("/v1/feedback", {"data": form(RED)}, 415, 3, "send application/json"),
    ("/v1/feedback", {"json": {"feedback": [{"id": "x"}]}}, 400, 3, 'The body is not {"feedback": [{"prediction_id"'),
    ("/v1/feedback", {"json": {"feedback": []}}, 400, 3, "holds 0 reports: send 1 to 256"),
    (
        "/v1/feedback",
        {"data": BytesIO(b" " * 2_000_000), "headers": {"content-type": "application/json"}},
        413,
        3,
        "1,048,576 bytes",
    ),
]


async def test_a_name_that_was_led_here_is_not_answered_to_without_a_credential(
    daemon: Any, published: Models, web: aiohttp.ClientSession
) -> None:
    for host in ("127.0.0.1", "localhost:8080", "[::1]:8080"):
        async with web.post(CLASSIFY, data=form(RED), headers={"host": host}) as response:
            assert response.status == 200
    for host in ("shop.example", "shop.example:80", "localhost.shop.example", "127.0.0.1.nip.example", "localhost@shop.example"):
        async with web.post(CLASSIFY, data=form(RED), headers={"host": host}) as response:
            assert response.status == 403
            assert "is no name of this machine" in (await response.json())["message"]
    for api in ({"insecure": True}, {"token": "sesame"}):
        async with (
            daemon(api={**LISTEN, **api}) as app,
            aiohttp.ClientSession(f"http://127.0.0.1:{app.http_port}", headers={"authorization": "Bearer sesame"}) as session,
            session.post(CLASSIFY, data=form(RED), headers={"host": "shop.example"}) as response,
        ):
            assert response.status == 200


async def test_what_is_wrong_is_told_as_a_status(web: aiohttp.ClientSession) -> None:
    for path, sent, http_code, code, says in WRONG:
        async with web.post(path, **sent) as response:
            body = await response.json()
        assert (response.status, body["code"]) == (http_code, code), body
        assert says in body["message"]
    async with web.get(CLASSIFY) as response:
        assert (response.status, response.headers["Allow"]) == (405, "POST")
        assert (await response.json())["code"] == 12


@pytest.mark.parametrize("path", [CLASSIFY, "/v1/feedback"])
async def test_a_body_that_is_not_encoded_as_it_says(web: aiohttp.ClientSession, path: str) -> None:
    headers = {"Content-Type": "application/json", "Content-Encoding": "deflate"}
    async with web.post(path, data=b"\xff" * 100, headers=headers) as response:
        assert (response.status, (await response.json())["code"]) == (400, 3)


async def test_what_is_no_http_is_told_so_and_not_logged(app: App, caplog: pytest.LogCaptureFixture) -> None:
    for sent in (b"\xff\0 / HTTP/9.9\r\n\r\n", b"GET /v1/health HTTP/1.1\r\nx: " + b"y" * 100_000 + b"\r\n\r\n"):
        reader, writer = await asyncio.open_connection("127.0.0.1", app.http_port)
        writer.write(sent)
        assert b" 400 " in await asyncio.wait_for(reader.readline(), 30)
        writer.close()
    assert not caplog.records


async def test_a_full_queue_says_when_to_come_back(daemon: Any, published: Models, standstill: Any) -> None:
    async with (
        daemon(api=dict(LISTEN), serving={"max_queue_images": 2, "max_batch_size": 1}) as app,
        aiohttp.ClientSession(f"http://127.0.0.1:{app.http_port}") as web,
    ):
        calls = [asyncio.ensure_future(web.post(CLASSIFY, data=form(RED, RED))) for _ in range(6)]
        with standstill():
            while sum(call.done() for call in calls) < 4:
                await asyncio.wait([call for call in calls if not call.done()], return_when=asyncio.FIRST_COMPLETED)
        responses = await asyncio.gather(*calls)
        refused = [response for response in responses if response.status == 429]
        assert 4 <= len(refused) <= 5
        assert int(refused[0].headers["Retry-After"]) >= 1
        status = json.loads(await refused[0].text())
        assert {detail["@type"].rpartition(".")[2] for detail in status["details"]} == {"ErrorInfo", "RetryInfo", "RequestInfo"}
        for response in responses:
            response.release()


async def test_the_token_and_the_way_down(daemon: Any, published: Models, lingering: Any) -> None:
    async with (
        daemon(api=LISTEN | {"token": "secret"}) as app,
        aiohttp.ClientSession(f"http://127.0.0.1:{app.http_port}") as web,
    ):
        async with web.post(CLASSIFY, data=form(RED)) as response:
            assert (response.status, (await response.json())["code"]) == (401, 16)
        async with web.get("/v1/health") as response:
            assert (response.status, await response.json()) == (200, {"status": "SERVING"})
        with lingering() as way:
            stopping = asyncio.create_task(app.stop())
            await until(lambda: way.pauses)
            async with web.get("/v1/health") as response:
                assert response.status == 503
            async with web.post(CLASSIFY, data=form(RED), headers={"authorization": "Bearer secret"}) as response:
                assert (response.status, response.headers["Connection"]) == (200, "close")
            for _ in range(2):
                way.go_on()
            await stopping
        with pytest.raises(aiohttp.ClientConnectionError):
            await web.get("/v1/health")


async def test_a_connection_that_says_nothing_is_closed(app: App, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eyasd.api.web.door._FIRST_REQUEST_SECONDS", 0.05)
    for said in (b"", b"POST /v1/models/colours:classify HTTP/1.1\r\nHost: x\r\n"):
        reader, writer = await asyncio.open_connection("127.0.0.1", app.http_port)
        writer.write(said)
        async with asyncio.timeout(150):
            assert await reader.read() == b""
        writer.close()


async def test_a_handshake_that_does_not_end_is_left(
    daemon: Any, published: Models, tls_files: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eyasd.api.web.handshakes._HANDSHAKE_SECONDS", 0.05)
    async with daemon(Role.SERVER, api={**tls_files, "http_listen": "127.0.0.1:0"}) as app:
        reader, writer = await asyncio.open_connection("127.0.0.1", app.http_port)
        writer.write(b"\x16\x03\x01\x02")
        async with asyncio.timeout(150):
            assert await reader.read() == b""
        writer.close()


async def test_handshakes_are_counted_as_connections(
    daemon: Any, published: Models, authority: trustme.CA, tls_files: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eyasd.api.web.handshakes._HANDSHAKE_SECONDS", 600.0)
    monkeypatch.setattr("eyasd.api.web.handshakes._PATIENCE_SECONDS", 600.0)
    async with daemon(Role.SERVER, api={**tls_files, "http_listen": "127.0.0.1:0", "connections": 2}) as app:
        held = [await asyncio.open_connection("127.0.0.1", app.http_port) for _ in range(2)]
        reader, writer = await asyncio.open_connection("127.0.0.1", app.http_port)
        async with asyncio.timeout(30):
            assert await reader.read() == b""  # one too many
        writer.close()
        monkeypatch.setattr("eyasd.api.web.handshakes._PATIENCE_SECONDS", 0.0)
        context = ssl.create_default_context()
        authority.configure_trust(context)
        url = f"https://localhost:{app.http_port}/v1/health"
        async with aiohttp.ClientSession() as session, session.get(url, ssl=context) as response:
            assert response.status == 200
            async with asyncio.timeout(30):
                assert await held[0][0].read() == b""  # made room
        for _, writer in held:
            writer.close()


async def test_a_port_that_is_taken_is_told(daemon: Any, published: Models, app: App) -> None:
    with pytest.raises(StartupFailed, match=rf"127.0.0.1:{app.http_port} cannot be listened on .* choose another api.http_listen"):
        async with daemon(api={"http_listen": f"127.0.0.1:{app.http_port}"}):
            pass
