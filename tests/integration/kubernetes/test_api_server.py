"""jobs.kubernetes against an API server that fails in every way that one does, or refuses."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import kmock
import pytest

from eyasd.core import jobdir
from eyasd.core.errors import StartupFailed
from eyasd.jobs.kubernetes import api, runner
from eyasd.jobs.kubernetes.api import Access, Cluster
from eyasd.jobs.runner import Cause, Ending
from fake_cluster import EVENTS
from pods import ended, running
from waits import until

from .conftest import APART, NAME, House


async def test_a_trainer_that_may_make_no_secrets_says_so(house: House) -> None:
    house.options = APART
    house.cluster.faults.append(("create", None, True))  # of the Job, whose answer is lost
    house.cluster.fail("create", 409, reason="AlreadyExists", message="there is one already")
    house.cluster.fail("create", 403, reason="Forbidden", message="cannot create resource secrets")
    _, ending = await house.start()
    await house.made()
    await house.end_foreground()
    assert (await ending).message == "The cluster refused to run the job: cannot create resource secrets"


async def test_a_request_whose_answer_is_lost_is_made_once(house: House) -> None:
    house.cluster.cut("create", after=True)
    _, ending = await house.start()
    await house.made()
    await house.succeed()
    assert await ending == Ending(0)
    assert len(house.cluster[kmock.action.CREATE]) == 2


@pytest.mark.parametrize("status", [500, 503, 429, 401])
@pytest.mark.parametrize("action", ["create", "fetch", "list", "watch"])
async def test_an_api_server_that_fails_for_a_while_is_asked_again(house: House, action: str, status: int) -> None:
    house.cluster.fail(action, status, times=3, message="etcdserver: leader changed")
    _, ending = await house.start()
    await house.made()
    await house.pod(ended(42))
    await house.finish("Failed", failed=1)
    assert await ending == Ending(42)


async def test_watches_that_are_cut_go_on_where_they_were(house: House) -> None:
    process, ending = await house.start()
    await house.made()
    for number in range(5):
        house.cluster.drop_watches()
        await house.pod(running(node=f"node-{number}"))
        await until(lambda: process.standing().place == f"node node-{number}")  # noqa: B023 -- called at once
    lists = len(house.cluster[kmock.action.LIST])
    house.cluster.drop_watches()
    await house.succeed()
    assert await ending == Ending(0)
    assert lists == 2  # of Jobs and of pods, once each


@pytest.mark.parametrize("by_status", [False, True])
async def test_what_a_cluster_has_forgotten_is_listed_again(house: House, by_status: bool) -> None:
    """A watch from long ago is refused with 410, as an event or as the answer."""
    _, ending = await house.start()
    await house.made()
    await until(lambda: len(house.cluster._watches) == 2)
    await house.pod(running())
    if by_status:
        house.cluster.fail("watch", 410, times=2, reason="Expired", message="too old resource version")
    house.cluster.forget()
    house.cluster.drop_watches()
    await until(lambda: len(house.cluster[kmock.action.LIST]) >= 4)
    await house.succeed()
    assert await ending == Ending(0)


async def test_a_slow_answer_is_not_waited_for_for_ever(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "_CALL_SECONDS", 0.1)
    slow = house.cluster["create"]
    slow << (lambda: asyncio.sleep(1))
    process, ending = await house.start()
    await until(lambda: "does not answer" in process.standing().reason)
    await house.made()  # it was made all the same
    await house.succeed()
    assert await ending == Ending(0)


async def test_a_quota_that_is_used_up_is_waited_for(house: House) -> None:
    house.cluster.fail("create", 403, times=2, reason="Forbidden", message="jobs is forbidden: exceeded quota: gpus")
    process, ending = await house.start()
    await until(lambda: "exceeded quota" in process.standing().reason)
    await house.made()
    await house.succeed()
    assert await ending == Ending(0)


async def test_why_no_pod_is_made_is_told_until_there_is_one(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "_SILENCE_SECONDS", 0.01)
    process, ending = await house.start()
    await house.made()
    why = {"type": "Warning", "message": "exceeded quota: trainings", "lastTimestamp": "2026-01-01T00:00:00Z"}
    await house.cluster.put(
        EVENTS, {**why, "metadata": {"name": "other"}, "involvedObject": {"name": "eyas-j2-1"}, "message": "no"}
    )
    await house.cluster.put(EVENTS, {**why, "metadata": {"name": "failed"}, "involvedObject": {"name": NAME}})
    await until(lambda: process.standing().reason == "No pod is made: exceeded quota: trainings.")
    await house.pod(running())
    await until(lambda: process.standing().running)
    assert process.standing().reason == ""
    await house.pod(ended(0))
    await house.succeed()
    assert await ending == Ending(0)


async def test_a_trainer_that_may_not_see_events_says_where_they_are(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "_SILENCE_SECONDS", 0.01)
    process, ending = await house.start()
    await house.made()
    await until(lambda: process._job)
    house.cluster.fail("list", 403, times=1000, reason="Forbidden", message="cannot list resource events")
    await until(lambda: "`kubectl describe` may say why" in process.standing().reason)
    house.cluster.faults.clear()
    await house.succeed()
    assert await ending == Ending(0)


async def test_what_the_cluster_refuses_for_good_is_told(house: House) -> None:
    house.cluster.fail("create", 403, reason="Forbidden", message='cannot create resource "jobs"')
    _, ending = await house.start()
    assert await ending == Ending(None, Cause.REFUSED, 'The cluster refused to run the job: cannot create resource "jobs"')


async def test_a_log_that_cannot_be_had_keeps_nothing_up(house: House) -> None:
    house.cluster.fail("log", 404, message="pods not found")
    _, ending = await house.start()
    await house.made()
    await house.pod(ended(1))
    await house.finish("Failed", failed=1)
    assert await ending == Ending(1)
    assert (house.launch.job_dir / jobdir.LOG).exists()


async def test_a_pod_of_the_cluster_is_let_in_by_its_token_which_changes(house: House, tmp_path: Path) -> None:
    account = tmp_path / "account"
    account.mkdir()
    (account / "token").write_text("first\n")
    (account / "namespace").write_text("ml")
    environment = {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "KUBERNETES_SERVICE_PORT": "6443"}
    access = Access.within(environment, account)
    assert (access.url, access.namespace()) == ("https://10.0.0.1:6443", "ml")
    assert Access.within({**environment, "KUBERNETES_SERVICE_HOST": "fd00::1"}, account).url == "https://[fd00::1]:6443"
    import trustme

    trustme.CA().cert_pem.write_to_path(account / "ca.crt")
    client = Cluster(replace(access, url=str(house.cluster.url).rstrip("/")))
    for token in ("first", "second"):
        (account / "token").write_text(token)
        await client.list("/apis/batch/v1/namespaces/ml/jobs")
        assert house.cluster[kmock.action.LIST][-1].headers["Authorization"] == f"Bearer {token}"
    await client.close()


def test_a_daemon_that_is_no_pod_says_so(tmp_path: Path) -> None:
    with pytest.raises(StartupFailed, match="kubectl proxy"):
        Access.within({}, tmp_path)
    with pytest.raises(StartupFailed, match="service account"):
        Access.within({"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, tmp_path)
