"""A real server keeps instructive pictures once it is told to, shows them, and takes their labels and their deletion."""

from __future__ import annotations

import errno
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import eyas.aio
from builders import picture, scene
from eyas import CapturedPicture
from eyasd.app import App, Role
from eyasd.registry.models import Models
from eyasd.storage.local import LocalStore
from waits import until, until_told


def doubtful(seed: int) -> bytes:
    """Returns a photograph of nothing in particular, as red as it is green."""
    grey = scene(seed, (64, 48)).convert("L")
    made = Image.merge("RGB", (grey, grey, Image.new("L", grey.size)))
    out = BytesIO()
    made.save(out, "JPEG", comment=b"taken by Ann")
    return out.getvalue()


@pytest.fixture
async def client(app: App) -> Any:
    async with eyas.aio.Client(f"127.0.0.1:{app.port}") as made:
        yield made


async def kept(app: App, client: Any, count: int, **filters: Any) -> list[CapturedPicture]:
    """Returns the pictures that are kept, once there are so many: they are written by a thread."""
    assert app._capture is not None
    app._capture.close_window()
    found: list[CapturedPicture] = []

    async def all_are_there() -> bool:
        found[:] = [one async for one in client.list_captured("colours", **filters)]
        return len(found) == count

    await until_told(all_are_there)
    return found


async def followed(app: App) -> None:
    """Returns once the server has heard of the policy."""
    assert app._fleet is not None
    await app._fleet.refresh()


async def test_the_way_of_a_picture_from_an_answer_to_its_label(app: App, client: Any, data_dir: Path) -> None:
    await client.classify("colours", doubtful(1))
    assert await kept(app, client, 0) == []
    before = await client.get_capture_policy("colours")
    assert (before.enabled, before.record) == (False, 0)
    policy = await client.set_capture_policy("colours", enabled=True, percent=0)
    assert (policy.enabled, policy.max_images, policy.keep_days, policy.record) == (True, 1000, 30.0, 1)
    await followed(app)

    answers = [await client.classify("colours", doubtful(seed)) for seed in (1, 2, 3)]
    sure = await client.classify("colours", picture((250, 20, 20), form="JPEG"))
    found = await kept(app, client, 3, labelled=False)
    assert {one.reasons for one in found} == {("low_margin",)}
    assert all(abs(one.predictions[0].probability - 0.5) < 0.1 and one.version == "colours/1" for one in found)
    assert [one.create_time for one in found] == sorted((one.create_time for one in found), reverse=True)

    await client.report_feedback_many([(answers[0].prediction_id, "green"), (sure.prediction_id, "blue")])
    labelled = await kept(app, client, 2, labelled=True)
    assert {(one.labels.labels, one.labels.source, one.labels.actor) for one in labelled if one.labels} == {
        (("green",), "feedback", ""),
        (("blue",), "feedback", ""),
    }
    (wrong,) = [one for one in labelled if "low_margin" not in one.reasons]
    assert (wrong.reasons, wrong.predictions[0].label) == (("wrong",), "red")
    assert [one async for one in client.list_captured("colours", reasons=["wrong"], predicted="blue")] == []
    one, content = await client.get_captured("colours", wrong.id)
    assert one == wrong
    assert Image.open(BytesIO(content)).format == "JPEG"
    assert all(b"Ann" not in path.read_bytes() for path in (data_dir / "captured").rglob("*") if path.is_file())
    assert not any(b"127.0.0.1" in path.read_bytes() for path in (data_dir / "captured").rglob("*.json"))

    unlabelled = [one async for one in client.list_captured("colours", labelled=False)]
    done = await client.label_captured("colours", {unlabelled[0].id: "teal", wrong.id: "green", "0" * 24: "red"})
    assert (done.labelled, done.missing, done.new_labels) == (2, ("0" * 24,), ("teal",))
    again = {one.id: one.labels async for one in client.list_captured("colours", labelled=True)}
    assert (again[wrong.id].labels, again[wrong.id].source) == (("green",), "person")
    assert again[wrong.id].actor.startswith("ipv4:127.0.0.1")

    assert await client.delete_captured("colours", [wrong.id, wrong.id, "0" * 24]) == 1
    with pytest.raises(eyas.NotFound, match=f"There is no captured picture '{wrong.id}' of colours"):
        await client.get_captured("colours", wrong.id)


async def test_what_makes_no_sense_is_refused(app: App, client: Any) -> None:
    policies: dict[str, dict[str, Any]] = {
        "percent is 101; it must lie within 0 to 100": {"percent": 101},
        "max_margin is nan; it must lie within 0 to 1": {"max_margin": float("nan")},
        "max_images is 0; it must lie within 1 to 100,000": {"max_images": 0},
    }
    for says, asked in policies.items():
        with pytest.raises(eyas.InvalidArgument, match=says):
            await client.set_capture_policy("colours", enabled=True, **asked)
    with pytest.raises(eyas.NotFound, match="There is no model 'others'"):
        await client.set_capture_policy("others", enabled=True)
    some = "0" * 24
    for identity in ("../../models", "0" * 23, "A" * 24, f"{some}/../{some}", ""):
        with pytest.raises(eyas.InvalidArgument, match="does not name a captured picture: write models/MODEL/captured/ID"):
            await client.get_captured("colours", identity)
    labels = {
        "": "is empty",
        " red": "blanks around it",
        "a|b": "separates labels",
        "a\x00b": "cannot be seen",
        "\u202egnp.exe": "cannot be seen",
        "x" * 256: "more than 255 bytes",
    }
    for label, says in labels.items():
        with pytest.raises(eyas.InvalidArgument, match=says):
            await client.label_captured("colours", {some: label})
    for several in (["red", "blue"], []):
        with pytest.raises(eyas.InvalidArgument, match="colours is not multi-label, so name exactly one"):
            await client.label_captured("colours", {some: several})


async def test_a_disk_that_is_full_delays_and_fails_nobody(app: App, client: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    await client.set_capture_policy("colours", enabled=True, percent=100)
    await followed(app)

    def full(*_: object) -> bool:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(LocalStore, "create", full)
        await client.classify("colours", doubtful(1))
        assert app._capture is not None
        app._capture.close_window()
        of_store = {"model": "colours", "reason": "store"}
        await until(lambda: app.metrics.registry.get_sample_value("eyas_capture_dropped_total", of_store))
    assert await kept(app, client, 0) == []


async def test_two_servers_keep_a_picture_once_and_feedback_at_the_one_labels_what_the_other_kept(
    daemon: Any, published: Models, data_dir: Path
) -> None:
    key = {"feedback_key": "a key of both servers"}
    async with daemon(serving=key) as first, daemon(Role.SERVER, serving=key) as second:  # noqa: SIM117 - it takes their ports
        async with eyas.aio.Client(f"127.0.0.1:{first.port}") as one, eyas.aio.Client(f"127.0.0.1:{second.port}") as other:
            await one.set_capture_policy("colours", enabled=True, percent=0)
            for app in (first, second):
                await followed(app)
            answers = [await client.classify("colours", doubtful(1)) for client in (one, other)]
            second._capture.close_window()
            (picture,) = await kept(first, other, 1)
            first._capture._writer.tidy(first._fleet.captures())  # its look of every minute
            await one.report_feedback_many([(answer.prediction_id, "green") for answer in answers])
            (labelled,) = await kept(second, one, 1, labelled=True)
            assert (labelled.id, labelled.labels.labels) == (picture.id, ("green",))
