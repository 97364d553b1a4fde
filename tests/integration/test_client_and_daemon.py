"""The client library and the daemon together: what the one sends, the other understands."""

from __future__ import annotations

import asyncio
import ssl
import urllib.request
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme

import eyas
from builders import COLOURS, picture, write_bundle
from eyasd.app import App, Role
from eyasd.core.bundle import GOLDEN, MANIFEST, MODEL, REPORT, WEIGHTS
from eyasd.core.errors import StartupFailed
from eyasd.core.variants import Precision, Variant
from eyasd.registry.models import Models


async def test_pictures_are_labelled_in_order_with_errors_in_their_places(app: App) -> None:
    images = [picture(colour) for colour in COLOURS.values()] * 30
    images[7] = b"no picture"
    async with eyas.aio.Client(f"127.0.0.1:{app.port}") as client:
        results = await client.classify_many("colours", images, top_k=2)
        one = await client.classify("colours@production", picture(COLOURS["green"]))
    assert isinstance(results[7], eyas.UndecodableImage)
    labels = [result.label for result in results if isinstance(result, eyas.Classification)]
    assert labels == [label for place, label in enumerate(list(COLOURS) * 30) if place != 7]
    assert (one.label, one.version) == ("green", "colours/1")


async def test_the_synchronous_client_sees_models_versions_and_aliases(app: App) -> None:
    def look() -> None:
        with eyas.Client(f"127.0.0.1:{app.port}") as client:
            assert [model.name for model in client.list_models()] == ["colours"]
            (version,) = client.list_model_versions("colours")
            assert (version.name, version.labels, version.serving_state) == ("colours/1", tuple(COLOURS), eyas.ServingState.READY)
            assert client.get_report("colours") == eyas.Report("colours/1", "<!doctype html><title>colours</title>")
            assert client.set_alias("colours", "canary", 1, reason="try it").version == "colours/1"
            assert [alias.name for alias in client.get_model("colours").aliases] == ["colours@canary", "colours@production"]
            (record,) = client.list_alias_records("colours", "canary")
            assert (record.reason, record.previous_version) == ("try it", None)
            assert list(client.list_alias_records("colours", at=record.update_time - timedelta(days=1))) == []
            assert [one.version for one in client.list_alias_records("colours", "canary", at=record.update_time)] == ["colours/1"]
            with pytest.raises(eyas.FailedPrecondition, match="points to version 1: point it elsewhere first") as held:
                client.delete_model_version("colours", 1)
            assert held.value.reason == "VERSION_IN_USE"
            with pytest.raises(eyas.NotFound, match="has no version 9"):
                client.delete_model_version("colours", 9)
            assert client.get_policy("colours").at_least == {}
            policy = client.set_policy("colours", aliases=["stable"], at_least={"accuracy": 0.95}, max_label_drop=0.1)
            assert client.get_policy("colours") == policy
            with pytest.raises(eyas.FailedPrecondition, match="accuracy is 0.9000, at least 0.95 is demanded") as refused:
                client.set_alias("colours", "stable", 1)
            assert refused.value.reason == "PROMOTION_REFUSED"
            forced = client.set_alias("colours", "stable", 1, force=True)
            assert (forced.forced, forced.evidence) == (True, ("accuracy is 0.9000, at least 0.95 is demanded",))
            with pytest.raises(eyas.InvalidArgument, match="did you mean accuracy"):
                client.set_policy("colours", at_least={"acuracy": 0.9})
            with pytest.raises(eyas.NotFound, match="no model 'nothing'"):
                client.get_policy("nothing")
            with pytest.raises(eyas.FailedPrecondition, match="colours@canary has not pointed anywhere before version 1"):
                client.rollback_alias("colours", "canary")
            with pytest.raises(eyas.Conflict, match="points to version 1, not 2"):
                client.rollback_alias("colours", "canary", expected=2)
            with pytest.raises(eyas.NotFound, match="no alias 'shadow'"):
                list(client.list_alias_records("colours", "shadow"))
            with pytest.raises(eyas.NotFound, match="no model 'nothing'"):
                client.classify("nothing", picture())
            with pytest.raises(eyas.NotFound, match="no job 'abc'"):
                client.get_job("abc")
            assert list(client.list_jobs()) == []

    await asyncio.to_thread(look)


async def test_a_damaged_file_is_named_by_whatever_reads_it(daemon: Any, published: Models, data_dir: Path, tmp_path: Path) -> None:
    names = {name.partition(".")[0]: name for name in (MODEL, GOLDEN, WEIGHTS, REPORT, MANIFEST)}
    for model, file in names.items():  # such as `golden/1`, whose golden.npz is damaged
        published.publish(model, write_bundle(tmp_path / model), "job1")
        path = data_dir / "models" / model / "1" / file
        path.write_bytes(path.read_bytes()[:-1] + b"~")

    def look(address: str) -> None:
        readers = {
            "serve": ({MODEL, GOLDEN, MANIFEST}, lambda model: client.classify(f"{model}/1", picture())),
            "report": ({REPORT, MANIFEST}, lambda model: client.get_report(f"{model}/1")),
            "evaluate": ({MODEL, MANIFEST}, lambda model: client.wait(client.evaluate(f"{model}/1", tmp_path).id)),
            "warm start": (
                {WEIGHTS, MANIFEST},
                lambda model: client.wait(client.train(tmp_path, "m", base_version=f"{model}/1").id),
            ),
            "reproduce": ({MANIFEST}, lambda model: client.get_model_version(f"{model}/1", verify=True)),
        }
        with eyas.Client(address) as client:
            for reader, (needed, read) in readers.items():
                for model, file in names.items():
                    if file in needed:
                        with pytest.raises(eyas.EyasError, match=rf"{file} of {model}/1.* was changed after it was published"):
                            read(model)
                    elif reader in {"serve", "report"}:
                        assert read(model)
            for model, file in names.items():
                if file != MANIFEST:
                    files = client.get_model_version(f"{model}/1", verify=True).files
                    assert [one.name for one in files if one.problem] == [file]
            (listed,) = client.list_model_versions("manifest")
            assert listed.damaged
            assert listed.serving_error is not None
            assert "manifest.json of manifest/1" in listed.serving_error.message
            assert client.get_model("manifest").version_count == 1
            sound = client.get_model_version("colours")
            assert sound.lineage is not None
            assert sound.lineage.dataset == "/photos"
            client.delete_model_version("manifest", 1)
            assert "manifest" not in [model.name for model in client.list_models()]

    async with daemon() as app:
        await asyncio.to_thread(look, f"127.0.0.1:{app.port}")


async def test_tls_and_token(daemon: Any, published: Models, authority: trustme.CA, tls_files: dict[str, str]) -> None:
    async with daemon(api={"token": "hush", "http_listen": "127.0.0.1:0", **tls_files}) as app:
        address, trusted = f"localhost:{app.port}", authority.cert_pem.bytes()
        async with eyas.aio.Client(address, tls=True, root_certificates=trusted, token="hush") as client:
            assert (await client.classify("colours", picture(COLOURS["blue"]))).label == "blue"
        async with eyas.aio.Client(address, tls=True, root_certificates=trusted, token="wrong") as client:
            with pytest.raises(eyas.EyasError, match="no token, or a wrong one"):
                await client.get_model("colours")
        stranger = trustme.CA().cert_pem.bytes()
        async with eyas.aio.Client(address, tls=True, root_certificates=stranger, token="hush", timeout=5) as client:
            with pytest.raises(eyas.EyasError):
                await client.get_model("colours")
        context = ssl.create_default_context()
        authority.configure_trust(context)
        url = f"https://localhost:{app.http_port}/v1/health"
        assert (await asyncio.to_thread(urllib.request.urlopen, url, context=context)).status == 200


async def test_a_variant_serves_where_it_is_asked_for_and_everybody_can_see_it(
    daemon: Any, repository: Models, tmp_path: Path
) -> None:
    def look(port: int) -> eyas.ModelVersion:
        with eyas.Client(f"127.0.0.1:{port}") as client:
            assert client.classify("colours", picture(COLOURS["blue"])).label == "blue"
            with pytest.raises(
                eyas.FailedPrecondition, match="it has no fp16 variant, one is demanded: train it with --variant fp16"
            ):
                client.set_policy("colours", aliases=["stable"], required_variants=["fp16"])
                client.set_alias("colours", "stable", 1)
            policy = client.set_policy("colours", aliases=["stable"], required_variants=["int8"])
            assert policy.required_variants == (eyas.Precision.INT8,)
            assert client.set_alias("colours", "stable", 1).evidence == ("its int8 variant was accepted, one is demanded",)
            (version,) = client.list_model_versions("colours")
            return version

    made = Variant(precision=Precision.INT8, size_bytes=9, device="the CPU")
    repository.publish("colours", write_bundle(tmp_path / "bundle", variants=(made,)), "job1")
    repository.aliases.set("colours", "production", 1, actor="test", reason="")
    async with daemon(Role.SERVER, serving={"precision": "int8"}) as app:
        version = await asyncio.to_thread(look, app.port)
    assert version.serving_precision is eyas.Precision.INT8
    assert version.variants == (eyas.Variant(eyas.Precision.INT8, 9, None, None, None, "the CPU", ""),)
    with pytest.raises(StartupFailed, match="serving.precision is fp16, which CPUExecutionProvider does not run"):
        async with daemon(Role.SERVER, serving={"precision": "fp16", "device": "cpu"}):
            pytest.fail("it started")
