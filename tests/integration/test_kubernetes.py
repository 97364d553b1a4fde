"""jobs.kubernetes against an API server that fails in every way that one does; the test plays the controllers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import kmock
import pytest
import structlog

from eyasd.core import jobdir
from eyasd.core.errors import StartupFailed
from eyasd.jobs.kubernetes import api, runner
from eyasd.jobs.kubernetes.api import Access, Cluster
from eyasd.jobs.kubernetes.image import OWN
from eyasd.jobs.kubernetes.objects import Apart, PodOptions
from eyasd.jobs.kubernetes.runner import KubernetesProcess, KubernetesRunner
from eyasd.jobs.permits import Permits
from eyasd.jobs.runner import Cause, Ending, Launch, Standing
from fake_cluster import ASKS, EVENTS, EVERY_RIGHT, JOBS, NAMESPACE, PODS, SECRETS, SERVICES, FakeCluster
from pods import condition, ended, running, waiting

_T = TypeVar("_T")
OPTIONS = PodOptions(namespace=NAMESPACE, image="eyas-trainer:1", volumes={"/data": "data"})
APART = replace(OPTIONS, volumes={}, apart=Apart(store="s3://photos/jobs", trainer="eyas.ml:50051"))
PERMITS = Permits(b"a key")
NAME = "eyas-j1-1"


class House:
    """A cluster, and a runner that speaks to it."""

    def __init__(self, cluster: FakeCluster, folder: Path, log: structlog.typing.FilteringBoundLogger) -> None:
        self.cluster = cluster
        self.client = Cluster(Access(str(cluster.url).rstrip("/")))
        self.launch = Launch(job="j1", attempt=1, job_dir=folder, training=True)
        self.options = OPTIONS
        self._log = log

    async def start(self) -> tuple[KubernetesProcess, asyncio.Task[Ending]]:
        process = await KubernetesRunner(self.client, self.options, PERMITS, self._log).start(self.launch)
        return process, asyncio.create_task(process.wait())

    async def attach(self) -> tuple[KubernetesProcess, asyncio.Task[Ending]]:
        process = await KubernetesRunner(self.client, self.options, PERMITS, self._log).attach(self.launch)
        assert process is not None
        return process, asyncio.create_task(process.wait())

    async def made(self, name: str = NAME) -> None:
        await until(lambda: name in self.cluster.names(JOBS) or None)

    async def pod(self, pod: dict[str, object], job: str = NAME) -> None:
        """Has the Job's pod be so."""
        labelled = {**pod, "metadata": {**pod["metadata"], "labels": {"batch.kubernetes.io/job-name": job}}}  # type: ignore[dict-item]
        await self.cluster.put(PODS, labelled)

    async def succeed(self, job: str = NAME) -> None:
        await self.finish("Complete", job=job, succeeded=1)

    async def finish(self, kind: str, *, job: str = NAME, reason: str = "", **status: int) -> None:
        conditions = [condition(kind, reason=reason, message="")]
        await self.cluster.put(JOBS, {"metadata": {"name": job}, "status": {"conditions": conditions, "active": 0, **status}})

    async def end_foreground(self, job: str = NAME) -> None:
        """Ends the pods of a Job that is being deleted, and then the Job."""
        await until(lambda: self.cluster.read(JOBS, job)["metadata"].get("deletionTimestamp"))
        for pod in self.cluster.names(PODS):
            if self.cluster.read(PODS, pod)["metadata"]["labels"]["batch.kubernetes.io/job-name"] == job:
                await self.cluster.remove(PODS, pod)
        await self.cluster.remove(JOBS, job)


async def until(look: Callable[[], _T | None]) -> _T:
    async with asyncio.timeout(10):
        while not (found := look()):
            await asyncio.sleep(0.005)
        return found


@pytest.fixture
async def house(
    tmp_path: Path, log: structlog.typing.FilteringBoundLogger, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[House]:
    monkeypatch.setattr(api, "_FIRST_PAUSE_SECONDS", 0.01)
    async with FakeCluster() as cluster, kmock.Server(cluster):
        made = House(cluster, tmp_path, log)
        yield made
        await made.client.close()
        cluster.drop_watches()


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
    await until(lambda: len(house.cluster._watches) == 2 or None)
    await house.pod(running())
    if by_status:
        house.cluster.fail("watch", 410, times=2, reason="Expired", message="too old resource version")
    house.cluster.forget()
    house.cluster.drop_watches()
    await until(lambda: len(house.cluster[kmock.action.LIST]) >= 4 or None)
    await house.succeed()
    assert await ending == Ending(0)


async def test_a_slow_answer_is_not_waited_for_for_ever(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "_CALL_SECONDS", 0.1)
    slow = house.cluster["create"]
    slow << (lambda: asyncio.sleep(1))
    process, ending = await house.start()
    await until(lambda: "does not answer" in process.standing().reason or None)
    await house.made()  # it was made all the same
    await house.succeed()
    assert await ending == Ending(0)


async def test_a_quota_that_is_used_up_is_waited_for(house: House) -> None:
    house.cluster.fail("create", 403, times=2, reason="Forbidden", message="jobs is forbidden: exceeded quota: gpus")
    process, ending = await house.start()
    await until(lambda: "exceeded quota" in process.standing().reason or None)
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
    await until(lambda: "does not answer" in process.standing().reason or None)
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
    await until(lambda: ("", "events", "list") in house.cluster.done or None)
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
        await until(lambda: process.standing().suspended is now or None)

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
