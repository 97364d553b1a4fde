"""jobs.kubernetes: an attempt as a Job, from its beginning to its end, whoever ends it; the test plays the controllers."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from eyasd.core import jobdir
from eyasd.jobs.kubernetes import runner
from eyasd.jobs.kubernetes.image import OWN
from eyasd.jobs.runner import Cause, Ending, Standing
from fake_cluster import ASKS, EVERY_RIGHT, JOBS, PODS, SECRETS, SERVICES
from pods import condition, ended, running, waiting
from waits import until

from .conftest import APART, NAME, OPTIONS, PERMITS, House


async def test_an_attempt_from_its_job_to_its_end(house: House) -> None:
    process, ending = await house.start()
    await house.made()
    assert not process.standing().running
    await house.pod(waiting("ContainerCreating"))
    await until(lambda: "set up on node node-7" in process.standing().reason)
    await house.pod(running())
    await until(lambda: process.standing().running)
    assert process.standing().place == "node node-7"
    await house.pod(ended(0))
    await house.succeed()
    assert await ending == Ending(0)
    assert (house.launch.job_dir / jobdir.LOG).read_text() == "eyas-j1-1-abc:\na line\n\n"
    assert house.cluster.names(SERVICES) == []


async def test_pods_on_several_nodes_have_a_service_of_their_job(house: House) -> None:
    house.options = replace(OPTIONS, devices=16)
    _, ending = await house.start()
    await until(lambda: house.cluster.names(SERVICES))
    (owner,) = house.cluster.read(SERVICES, NAME)["metadata"]["ownerReferences"]
    assert owner["uid"] == house.cluster.read(JOBS, NAME)["metadata"]["uid"]
    await house.succeed()
    assert await ending == Ending(0)


async def test_a_job_that_was_made_before_is_found_and_its_service_made(house: House) -> None:
    """By a daemon that was killed in between."""
    house.options = replace(OPTIONS, devices=16)
    _, first = await house.start()
    await house.made()
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    if house.cluster.names(SERVICES):
        await house.cluster.remove(SERVICES, NAME)
    uid = house.cluster.read(JOBS, NAME)["metadata"]["uid"]
    _, ending = await house.start()
    await until(lambda: house.cluster.names(SERVICES))
    assert house.cluster.read(JOBS, NAME)["metadata"]["uid"] == uid
    await house.succeed()
    assert await ending == Ending(0)


async def test_pods_have_the_image_of_their_trainer(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "eyas-trainer-abc")
    containers = [{"name": "mesh", "image": "mesh:3"}, {"name": "trainer", "image": "registry.example/eyas-trainer:2"}]
    spec = {"containers": containers, "imagePullSecrets": [{"name": "registry"}]}
    await house.cluster.put(PODS, {"metadata": {"name": "eyas-trainer-abc"}, "spec": spec})
    house.options = replace(OPTIONS, image=OWN)
    _, ending = await house.start()
    await house.made()
    pod = house.cluster.read(JOBS, NAME)["spec"]["template"]["spec"]
    assert [one["image"] for one in pod["containers"]] == ["registry.example/eyas-trainer:2"]
    assert pod["imagePullSecrets"] == [{"name": "registry"}]
    await house.succeed()
    assert await ending == Ending(0)


async def test_a_trainer_that_is_no_pod_of_the_namespace_has_no_image_of_its_own(house: House) -> None:
    house.options = replace(OPTIONS, image=OWN)
    _, ending = await house.start()
    ended = await ending
    assert ended.cause is Cause.REFUSED
    assert "name the image" in ended.message


async def test_pods_apart_report_with_a_token_that_goes_with_their_job(house: House) -> None:
    house.options = replace(APART, devices=16)
    _, ending = await house.start()
    await until(lambda: house.cluster.names(SECRETS))
    secret = house.cluster.read(SECRETS, NAME)
    assert PERMITS.read(secret["stringData"]["token"]) == ("j1", 1)
    assert secret["metadata"]["ownerReferences"][0]["uid"] == house.cluster.read(JOBS, NAME)["metadata"]["uid"]
    assert house.cluster.names(SERVICES) == [NAME]
    await house.succeed()
    assert await ending == Ending(0)


@pytest.mark.parametrize("repeated", [False, True])
async def test_what_goes_with_a_job_is_made_by_whoever_finds_it(house: House, repeated: bool) -> None:
    """Its trainer was killed when the Job was made; another one takes the attempt up, once or twice."""
    house.options = APART
    house.cluster.cut("create", after=True)
    house.cluster.fail("create", times=1000)
    _, first = await house.start()
    await house.made()
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    house.cluster.faults.clear()
    assert house.cluster.names(SECRETS) == []
    _, ending = await house.attach()
    await until(lambda: house.cluster.names(SECRETS))
    if repeated:
        ending.cancel()
        await asyncio.gather(ending, return_exceptions=True)
        _, ending = await house.attach()
    await house.pod(running())
    await house.succeed()
    assert await ending == Ending(0)
    assert house.cluster.names(SECRETS) == [NAME]


async def test_an_attempt_is_stopped_when_its_last_pod_has_gone(house: House) -> None:
    process, ending = await house.start()
    await house.made()
    await house.pod(running())
    stopping = asyncio.create_task(process.stop(30))
    await until(lambda: house.cluster.read(JOBS, NAME)["metadata"].get("deletionTimestamp"))
    await asyncio.sleep(0.05)
    assert not stopping.done()
    await house.end_foreground()
    await stopping
    assert await ending == Ending(jobdir.TERMINATED)


async def test_an_attempt_that_is_stopped_before_it_was_made_is_not_made(house: House) -> None:
    house.cluster.fail("create", 503, times=1000)
    process, ending = await house.start()
    await until(lambda: "does not answer" in process.standing().reason)
    await process.stop(30)
    house.cluster.faults.clear()
    assert await ending == Ending(jobdir.TERMINATED)
    assert house.cluster.names(JOBS) == []


async def test_a_later_daemon_finds_the_attempt_and_how_it_ended_meanwhile(house: House) -> None:
    _, first = await house.start()
    await house.made()
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    assert house.cluster.names(JOBS) == [NAME]
    await house.pod(ended(137, reason="OOMKilled"))
    await house.finish("Failed", failed=1)
    _, ending = await house.attach()
    assert (await ending).cause is Cause.OUT_OF_MEMORY


async def test_an_attempt_whose_job_is_gone_is_lost(house: House) -> None:
    _, ending = await house.attach()
    assert await ending == Ending(None, Cause.LOST, f"There is no Job {NAME} any more: it was deleted, or ended long ago.")
    assert house.cluster.names(JOBS) == []


async def test_a_job_that_somebody_deletes_is_lost_when_its_pods_have_gone(house: House) -> None:
    _, ending = await house.start()
    await house.made()
    await house.pod(running())
    await house.cluster.remove(JOBS, NAME)
    await asyncio.sleep(0.05)
    assert not ending.done()
    await house.cluster.remove(PODS, "eyas-j1-1-abc")
    assert (await ending).cause is Cause.LOST


async def test_no_two_attempts_of_a_job_are_at_work_at_once(house: House) -> None:
    _, first = await house.start()
    await house.made()
    await house.pod(running())
    first.cancel()
    house.launch = replace(house.launch, attempt=2)
    _, ending = await house.start()
    await until(lambda: house.cluster.read(JOBS, NAME)["metadata"].get("deletionTimestamp"))
    assert house.cluster.names(JOBS) == [NAME]
    await house.end_foreground()
    await house.made("eyas-j1-2")
    await house.succeed("eyas-j1-2")
    assert await ending == Ending(0)


async def test_a_runner_uses_every_right_that_a_trainer_has(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """The cluster refuses what is no right of a trainer's, in every test; and none is for nothing."""
    monkeypatch.setattr(runner, "_SILENCE_SECONDS", 0.01)
    house.options = replace(APART, devices=16)
    _, first = await house.start()
    await house.made()
    first.cancel()
    house.launch = replace(house.launch, attempt=2)
    _, ending = await house.start()
    await house.end_foreground()
    await house.made("eyas-j1-2")
    await until(lambda: ("", "events", "list") in house.cluster.done)
    await house.pod(ended(0), "eyas-j1-2")
    await house.succeed("eyas-j1-2")
    assert await ending == Ending(0)
    assert house.cluster.done == EVERY_RIGHT - {ASKS}


async def test_a_job_that_kueue_suspends_is_said_to_wait_for_as_long_as_it_does(house: House) -> None:
    house.options = replace(OPTIONS, queue="research")
    process, ending = await house.start()
    await until(lambda: process.standing().suspended)
    assert process.standing() == Standing(
        running=False, reason="The Job waits for its turn in the queue 'research'.", suspended=True
    )

    async def suspend(now: bool) -> None:
        await house.cluster.put(JOBS, {"metadata": {"name": NAME}, "spec": {"suspend": now}})
        await until(lambda: process.standing().suspended is now)

    await suspend(False)
    await house.pod(running())
    await until(lambda: process.standing().running)
    await suspend(True)  # for one of a higher priority, while the pod is at work
    assert not process.standing().running
    await house.cluster.remove(PODS, "eyas-j1-1-abc")
    await suspend(False)
    await house.pod(running("eyas-j1-1-def"))
    await until(lambda: process.standing().running)
    await house.succeed()
    assert await ending == Ending(0)


async def test_a_job_that_is_moved_off_its_node_is_not_to_blame(house: House) -> None:
    """Its first pod was drained, and is gone; another one could not go on without it."""
    process, ending = await house.start()
    await house.made()
    drained = {**running(), "status": {**running()["status"], "conditions": [condition("DisruptionTarget", reason="Drain")]}}
    await house.pod(drained)
    await until(lambda: process._disrupted)
    await house.cluster.remove(PODS, "eyas-j1-1-abc")
    await house.pod(ended(1, name="eyas-j1-1-def"))
    await house.finish("Failed", failed=1)
    assert (await ending).cause is Cause.LOST


@pytest.mark.parametrize("reason", ["InvalidImageName", "ErrImagePull"])
async def test_a_pod_that_can_never_begin_is_given_up(house: House, reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "_PULL_SECONDS", 0.05)
    process, ending = await house.start()
    await house.made()
    await house.pod(waiting(reason, "no such thing"))
    if reason == "ErrImagePull":  # which may be there a little later
        await until(lambda: "cannot be pulled" in process.standing().reason)
        await asyncio.sleep(0.1)
        assert "deletionTimestamp" not in house.cluster.read(JOBS, NAME)["metadata"]
        await house.pod(waiting("ImagePullBackOff", "no such thing"))
    await house.end_foreground()
    ended = await ending
    assert ended.cause is Cause.REFUSED
    assert ended.message.endswith("no such thing.")


async def test_a_crash_is_the_last_line_of_the_log_whatever_follows_it(house: House) -> None:
    house.cluster.log = "Traceback (most recent call last):\n  x\nRuntimeError: the roof is on fire\n======\n"
    _, ending = await house.start()
    await house.made()
    await house.pod(ended(1))
    await house.finish("Failed", failed=1)
    assert await ending == Ending(1)
    log = (house.launch.job_dir / jobdir.LOG).read_text()
    assert log.splitlines()[-1] == "RuntimeError: the roof is on fire"
