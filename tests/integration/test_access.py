"""Who gets in, over real sockets: roles, tokens that change under load, limits, and the record of changes."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Awaitable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from jwt.algorithms import RSAAlgorithm
from multidict import CIMultiDict
from yarl import URL

import eyas
from builders import COLOURS, picture, write_bundle
from eyas.v1 import job_service_pb2, job_service_pb2_grpc
from eyasd.access.roles import Role, parse_grants
from eyasd.access.tokens import line_of, make_token
from eyasd.api.permissions import OPEN, RULES
from eyasd.app import App
from eyasd.registry.models import Models
from waits import until, until_told

TESTS = Path(__file__).parents[1]
RED = picture(COLOURS["red"])
WHO = {
    "admin": "admin",
    "shop": "classify,feedback",
    "colours": "classify:col*,feedback:col*",
    "trainer": "train",
    "hats": "train:hats",
    "nobody": "feedback:none",
}


class House:
    """Tokens of callers each, and the file of their lines."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "tokens"
        self.tokens = {name: make_token() for name in WHO}
        self.write(*self.tokens.items())

    def write(self, *pairs: tuple[str, str]) -> None:
        fresh = self.file.with_suffix(".new")
        fresh.write_text("".join(f"{line_of(token, name, parse_grants(WHO[name]), None)}\n" for name, token in pairs))
        fresh.rename(self.file)

    def client(self, app: App, name: str) -> eyas.aio.Client:
        return eyas.aio.Client(f"127.0.0.1:{app.port}", token=self.tokens[name], retries=False)


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


async def works(call: Awaitable[Any]) -> bool:
    try:
        await call
    except (eyas.Unauthenticated, eyas.Unavailable):
        return False
    return True


async def test_every_method_is_shut_to_strangers_and_to_those_without_its_role(
    daemon: Any, published: Models, house: House
) -> None:
    def codes(port: int, paths: list[str], name: str | None) -> dict[str, grpc.StatusCode]:
        """Asks each by a client that tells an end from a write which meets it, as that of asyncio does not."""
        metadata = (("authorization", f"Bearer {house.tokens[name]}"),) if name else ()
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            return {path: channel.stream_stream(path)(iter([b""]), metadata=metadata, timeout=60).code() for path in paths}

    async with daemon(access={"tokens": house.file}) as app, grpc.aio.insecure_channel(f"127.0.0.1:{app.port}") as channel:
        shut = [path for path, rule in RULES.items() if rule is not OPEN]
        told = await asyncio.to_thread(codes, app.port, shut, None)
        assert {path: code for path, code in told.items() if code is not grpc.StatusCode.UNAUTHENTICATED} == {}
        progress = "/eyas.v1.JobService/ReportProgress"  # of which only an attempt's own token is one
        theirs = [path for path in shut if Role.FEEDBACK not in RULES[path].roles and path != progress]
        told = await asyncio.to_thread(codes, app.port, theirs, "nobody")
        assert {path: code for path, code in told.items() if code is not grpc.StatusCode.PERMISSION_DENIED} == {}
        told = await asyncio.to_thread(codes, app.port, [progress], "admin")
        assert told == {progress: grpc.StatusCode.UNAUTHENTICATED}
        # Two credentials are none.
        twice = (("authorization", f"Bearer {house.tokens['admin']}"), ("authorization", "Bearer no"))
        listed = job_service_pb2_grpc.JobServiceStub(channel).ListJobs(job_service_pb2.ListJobsRequest(), metadata=twice)
        assert await listed.code() is grpc.StatusCode.UNAUTHENTICATED
        asked = reflection_pb2.ServerReflectionRequest(list_services="")
        bearer = (("authorization", f"Bearer {house.tokens['shop']}"),)
        shown = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(iter([asked]), metadata=bearer)
        assert len((await shown.read()).list_services_response.service) > 8


async def test_a_role_of_a_model_is_of_no_other(
    daemon: Any, published: Models, house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", f"{TESTS / 'fake_program'}:{TESTS}:{os.environ.get('PYTHONPATH', '')}")
    monkeypatch.setenv("EYAS_TEST_RUNS", str(tmp_path / "runs"))
    (tmp_path / "photos" / "red").mkdir(parents=True)
    (tmp_path / "photos" / "red" / "1.png").write_bytes(RED)
    published.publish("hats", write_bundle(tmp_path / "hats"), "job2")
    published.aliases.set("hats", "production", 1, actor="test", reason="")
    async with daemon(access={"tokens": house.file}, training={"data_roots": [str(tmp_path / "photos")]}) as app:
        async with house.client(app, "shop") as client:
            of_hats = await client.classify("hats", RED)
            with pytest.raises(eyas.PermissionDenied, match=r"^shop may not do this: it takes the role admin, and there is cl"):
                await client.set_alias("colours", "canary", 1)
        async with house.client(app, "colours") as client:
            answer = await client.classify("colours", RED)
            assert [model.name async for model in client.list_models()] == ["colours"]
            with pytest.raises(eyas.PermissionDenied, match="takes the role classify for the model 'hats', and there is cl"):
                await client.classify("hats", RED)
            with pytest.raises(eyas.PermissionDenied, match="for the model 'hats'"):
                _ = [one async for one in client.classify_stream("hats", [RED])]
            await client.report_feedback(answer, "red")
            with pytest.raises(eyas.PermissionDenied, match="takes the role feedback for the model 'hats'"):
                await client.report_feedback(of_hats, "red")
        async with house.client(app, "trainer") as client:
            colours = await client.evaluate("colours/1", str(tmp_path / "photos"), request_id="one")
            assert (await client.evaluate("colours/1", str(tmp_path / "photos"), request_id="one")).id == colours.id
            of_all = [job.id async for job in client.list_jobs()]
            assert of_all == [colours.id]
            assert colours.owner == "trainer"
        async with house.client(app, "hats") as client:
            assert [job.id async for job in client.list_jobs()] == []
            for method in (client.get_job, client.cancel_job, client.pause_job):
                with pytest.raises(eyas.NotFound, match=f"There is no job '{colours.id}'"):
                    await method(colours.id)
            with pytest.raises(eyas.PermissionDenied, match="for every model"):
                await client.delete_dataset("photos")
            of_hats_alone = await client.evaluate("hats/1", str(tmp_path / "photos"), request_id="one")  # which is another's, too
            assert [job.id async for job in client.list_jobs()] == [of_hats_alone.id]


async def test_tokens_are_exchanged_under_load_and_no_call_fails(daemon: Any, published: Models, house: House) -> None:
    old, new = house.tokens["shop"], make_token()
    async with daemon(access={"tokens": house.file}) as app:
        address, stop, answered = f"127.0.0.1:{app.port}", asyncio.Event(), 0

        async def ask(token: list[str]) -> None:
            nonlocal answered
            while not stop.is_set():
                async with eyas.aio.Client(address, token=token[0], retries=False) as client:
                    await client.classify("colours", RED)
                    answered += 1

        used = [old]
        async with asyncio.TaskGroup() as group:
            for _ in range(3):
                group.create_task(ask(used))
            house.write(("shop", old), ("shop", new))
            async with eyas.aio.Client(address, token=new, retries=False) as client:
                await until_told(lambda: works(client.classify("colours", RED)))
            used[0] = new
            seen = answered
            await until(lambda: answered > seen + 6)  # each of the three has begun one with the new token
            stop.set()
        house.write(("shop", new))
        async with eyas.aio.Client(address, token=old, retries=False) as client:

            async def refused() -> bool:
                return not await works(client.classify("colours", RED))

            await until_told(refused)
        async with eyas.aio.Client(address, token=new, retries=False) as client:
            await client.classify("colours", RED)


async def test_tokens_over_http_open_what_they_open_over_grpc(daemon: Any, published: Models, house: House, tmp_path: Path) -> None:
    published.publish("hats", write_bundle(tmp_path / "hats"), "job2")
    published.aliases.set("hats", "production", 1, actor="test", reason="")
    late = make_token()
    with house.file.open("a") as file:
        file.write(f"{line_of(late, 'late', parse_grants('admin'), datetime(2020, 1, 1, tzinfo=UTC))}\n")
    key = rsa.generate_private_key(65537, 2048)
    keys = tmp_path / "keys.json"
    keys.write_text(json.dumps({"keys": [RSAAlgorithm.to_jwk(key.public_key(), as_dict=True) | {"kid": "a", "use": "sig"}]}))

    def web_token(key: rsa.RSAPrivateKey = key, **changed: Any) -> str:
        claims = {"iss": "https://id", "aud": "eyas", "sub": "ann", "exp": 4_000_000_000, "roles": ["users"]}
        return jwt.encode(claims | changed, key, algorithm="RS256", headers={"kid": "a"})

    issued = {"jwt_issuer": "https://id", "jwt_audience": "eyas", "jwt_keys": str(keys), "jwt_roles": {"users": "classify:col*"}}
    api = {"http_listen": "127.0.0.1:0", "token": "a token for all"}
    colours, hats, feedback = "/v1/models/colours:classify", "/v1/models/hats:classify", "/v1/feedback"
    none, wrong = 'Bearer realm="eyas"', 'Bearer realm="eyas", error="invalid_token"'
    asked: list[tuple[str, Sequence[str], int, str | None]] = [
        (colours, [], 401, none),
        (f"{colours}?access_token={house.tokens['shop']}&token=a+token+for+all", [], 401, none),
        ("/v1/whatever", [], 401, none),
        (feedback, [], 401, none),
        (colours, ["Bearer nonsense"], 401, wrong),
        (colours, [house.tokens["shop"]], 401, wrong),
        (colours, [f"Basic {house.tokens['shop']}"], 401, wrong),
        (colours, [f"Bearer {house.tokens['shop']}", "Bearer a token for all"], 401, wrong),
        (colours, [f"Bearer {late}"], 401, wrong),
        (colours, [f"Bearer {web_token(exp=1_600_000_000)}"], 401, wrong),
        (colours, [f"Bearer {web_token(rsa.generate_private_key(65537, 2048))}"], 401, wrong),
        (colours, ["Bearer a token for all"], 200, None),
        (hats, [f"bearer {house.tokens['shop']}"], 200, None),
        (colours, [f"Bearer {house.tokens['colours']}"], 200, None),
        (colours, [f"Bearer {web_token()}"], 200, None),
        (hats, [f"Bearer {house.tokens['colours']}"], 403, None),
        ("/v1/models/%68ats:classify", [f"Bearer {house.tokens['colours']}"], 403, None),
        (hats, [f"Bearer {web_token()}"], 403, None),
        (colours, [f"Bearer {web_token(roles=['others'])}"], 403, None),
        (colours, [f"Bearer {house.tokens['nobody']}"], 403, None),
        (feedback, [f"Bearer {web_token()}"], 403, None),
        ("/v1/%66eedback", [f"Bearer {web_token()}"], 403, None),
        ("/v1/whatever", [f"Bearer {house.tokens['shop']}"], 404, None),
    ]
    async with (
        daemon(api=api, access={"tokens": house.file, **issued}) as app,
        aiohttp.ClientSession(f"http://127.0.0.1:{app.http_port}") as web,
    ):
        for path, credentials, status, challenge in asked:
            headers = CIMultiDict([("content-type", "image/png"), *(("authorization", one) for one in credentials)])
            async with web.post(URL(path, encoded=True), data=RED, headers=headers) as response:
                assert (response.status, response.headers.get("WWW-Authenticate")) == (status, challenge), (path, credentials)
                assert response.headers["x-request-id"]
                body = await response.json()
            if status >= 400:
                assert body["code"] == {401: 16, 403: 7, 404: 5}[status]
        # Nobody waits for the body of a stranger.
        reader, writer = await asyncio.open_connection("127.0.0.1", app.http_port)
        writer.write(f"POST {colours} HTTP/1.1\r\nHost: x\r\nContent-Length: 30000000\r\n\r\n".encode())
        assert (await reader.readline()).split()[1] == b"401"
        writer.close()


async def test_a_caller_has_his_share_of_pictures_and_of_calls(daemon: Any, published: Models, house: House) -> None:
    access = {"tokens": house.file, "images_per_second": 0.01, "burst_images": 3, "calls_per_second": 0.01}
    async with daemon(access=access) as app:
        async with house.client(app, "shop") as client:
            await client.classify_many("colours", [RED] * 3)
            with pytest.raises(eyas.Overloaded, match=r"more than 0.01 pictures/s, and 3 at once") as full:
                await client.classify("colours", RED)
            assert full.value.retry_after is not None
            assert 50 < full.value.retry_after.total_seconds() <= 100
            (streamed,) = [answer async for _, answer in client.classify_stream("colours", [RED])]
            assert isinstance(streamed, eyas.Overloaded)
            await client.get_model("colours")  # calls are counted by themselves
            for call in (client.get_model("colours"), client.delete_model_version("colours", 1)):  # which he has no role for
                with pytest.raises(eyas.Overloaded, match=r"more than 0.01 calls/s, and 1 at once") as refusal:
                    await call
                assert refusal.value.retry_after is not None
        async with house.client(app, "colours") as client:
            await client.classify("colours", RED)
            await client.get_model("colours")


async def test_a_caller_has_his_share_of_room_for_datasets(daemon: Any, published: Models, house: House, tmp_path: Path) -> None:
    photos = tmp_path / "photos" / "red"
    photos.mkdir(parents=True)
    (photos / "1.png").write_bytes(RED.ljust(20_000, b"0"))
    async with daemon(access={"tokens": house.file}, datasets={"quota_bytes": 30_000}) as app:
        async with house.client(app, "trainer") as client:
            await client.upload_dataset(photos.parent, "photos")  # with a list of its files of 96 bytes
            (photos / "1.png").write_bytes(RED.ljust(20_000, b"1"))
            with pytest.raises(eyas.Overloaded, match="of trainer may take 30,000 bytes: 20,096 are taken, and 20,000 more"):
                await client.upload_dataset(photos.parent, "others")
        async with house.client(app, "hats") as client:  # who may train, too
            await client.upload_dataset(photos.parent, "others")


async def test_a_change_is_taken_down_and_does_not_happen_where_it_cannot_be(
    daemon: Any, published: Models, house: House, tmp_path: Path
) -> None:
    file = tmp_path / "record" / "changes.jsonl"
    file.parent.mkdir()
    async with daemon(access={"tokens": house.file, "audit_file": file}) as app:
        async with house.client(app, "admin") as client:
            await client.set_alias("colours", "canary", 1, reason="because eyas_AAAAAAAAAAAAAAAAAAAAAAAA")
            await client.get_model("colours")
            with pytest.raises(eyas.NotFound):
                await client.set_alias("colours", "canary", 9)
        async with house.client(app, "shop") as client:
            with pytest.raises(eyas.PermissionDenied):
                await client.delete_model_version("colours", 1)
        assert [record async for record in aliases(house.client(app, "admin"))] == ["admin"]
        await until(lambda: len(file.read_text().splitlines()) == 5)  # the last line follows its call
        file.rename(tmp_path / "record" / "changes.1")
        file.mkdir()  # which takes no line
        async with house.client(app, "admin") as client:
            with pytest.raises(eyas.Unavailable, match="record of changes cannot be written, so nothing is changed"):
                await client.set_alias("colours", "other", 1)
            assert "other" not in (await client.get_model("colours")).aliases
        file.rmdir()
    lines = [json.loads(line) for line in (tmp_path / "record" / "changes.1").read_text().splitlines()]
    assert [(line["who"], line["method"], line["result"]) for line in lines] == [
        ("admin", "ModelService/SetAlias", "BEGUN"),
        ("admin", "ModelService/SetAlias", "OK"),
        ("admin", "ModelService/SetAlias", "BEGUN"),
        ("admin", "ModelService/SetAlias", "NOT_FOUND"),
        ("shop", "ModelService/DeleteModelVersion", "PERMISSION_DENIED"),
    ]
    first = lines[0]
    assert (first["by"], first["what"]["name"]) == ("token", "models/colours/aliases/canary")
    assert first["what"]["reason"] == "because ***"
    assert first["peer"].startswith("ipv4:127.0.0.1:")
    assert first["request_id"] == lines[1]["request_id"]
    assert first["time"].endswith("Z")
    assert file.parent.joinpath("changes.1").stat().st_mode & 0o077 == 0


async def aliases(connection: eyas.aio.Client) -> Any:
    async with connection as client:
        async for record in client.list_alias_records("colours", "canary"):
            yield record.actor
