"""Runs attempts as Jobs of a cluster, and watches them.

What a Job is, `objects` says; what its end means, `reasons`. Every step can be repeated, whoever was killed in between: a Job's
name follows from its attempt, so creating it again finds it. Where the API server cannot be asked, all waits, and the pods go on.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable, Collection
from contextlib import aclosing, suppress
from dataclasses import replace
from functools import partial
from typing import Final, TypeVar

import structlog

from eyasd.core import jobdir
from eyasd.jobs import words
from eyasd.jobs.kubernetes import objects, reasons
from eyasd.jobs.kubernetes.api import EVENTS, JOBS, PODS, SECRETS, SERVICES, ApiFailed, Cluster, Pauses
from eyasd.jobs.kubernetes.image import with_image
from eyasd.jobs.kubernetes.objects import Object, PodOptions
from eyasd.jobs.permits import Permits
from eyasd.jobs.runner import Cause, Ending, Launch, Process, Standing

_Answer = TypeVar("_Answer")

_PULL_SECONDS: Final = 300.0  # in which an image may come to be where it is said to be
_SILENCE_SECONDS: Final = 10.0  # after which it is asked why nothing goes on
_LOG_LINES: Final = 1000
_LOG_BYTES: Final = 256 * 1024


class KubernetesRunner:
    """Starts attempts in a cluster."""

    def __init__(self, cluster: Cluster, options: PodOptions, permits: Permits, log: structlog.typing.FilteringBoundLogger) -> None:
        self._cluster = cluster
        self._options = options
        self._permits = permits
        self._log = log

    async def start(self, launch: Launch) -> Process:
        """Returns the attempt, which is asked for when it is waited for."""
        return self._process(launch, create=True)

    def taken(self, here: Collection[str]) -> list[str]:  # noqa: ARG002 -- the cluster's own queue sees to its devices
        """See `Runner.taken`."""
        return []

    async def attach(self, launch: Launch) -> Process | None:
        """Returns the attempt; if there is none, waiting for it says so."""
        return self._process(launch, create=False)

    def _process(self, launch: Launch, *, create: bool) -> KubernetesProcess:
        token = self._permits.make(launch.job, launch.attempt)
        return KubernetesProcess(launch, self._cluster, self._options, token, self._log, create=create)


class KubernetesProcess:
    """An attempt as a Job."""

    stays = True

    def __init__(
        self,
        launch: Launch,
        cluster: Cluster,
        options: PodOptions,
        token: str,
        log: structlog.typing.FilteringBoundLogger,
        *,
        create: bool,
    ) -> None:
        """Does nothing yet.

        Args:
            launch: the attempt.
            cluster: where it runs.
            options: how its pods are asked for.
            token: with which they report.
            log: what goes wrong, and is tried again, goes there.
            create: whether its Job is to be made if there is none.
        """
        self._launch = launch
        self._cluster = cluster
        self._options = options
        self._token = token
        self._create = create
        self._name = objects.name(launch)
        collections = (one.format(options.namespace) for one in (JOBS, PODS, SERVICES, SECRETS, EVENTS))
        self._jobs, self._pods, self._services, self._secrets, self._events = collections
        self._log = log.bind(job=launch.job, attempt=launch.attempt)
        self._stopping = False
        self._impossible = ""
        self._disrupted = False
        self._standing = Standing(running=False)
        self._job: Object | None = None
        self._pods_seen: list[Object] = []
        self._warning = ""

    def standing(self) -> Standing:
        """See `Process.standing`."""
        return self._standing

    async def stacks(self) -> str:
        """See `Process.stacks`: the process is on another machine."""
        return ""

    async def wait(self) -> Ending:
        """See `Process.wait`."""
        looking = [asyncio.create_task(one) for one in (self._look(), self._ask())]
        try:
            if self._create and not await self._begin():
                return Ending(jobdir.TERMINATED)
            return await self._follow()
        except ApiFailed as error:
            with suppress(ApiFailed):  # what nobody can follow is not to go on
                await self._persist(self._delete)
            return Ending(None, Cause.REFUSED, f"The cluster refused to run the job: {error.message}")
        finally:
            for one in looking:
                one.cancel()
            await asyncio.gather(*looking, return_exceptions=True)

    async def stop(self, grace_seconds: float) -> None:  # noqa: ARG002 -- the pods were told theirs when they were made
        """See `Process.stop`."""
        self._stopping = True
        await self._persist(self._delete)
        await self._gone([self._name])

    async def _begin(self) -> bool:
        """Makes the Job, unless that was done before; returns whether it is still wanted.

        No earlier attempt is at work then: where the daemon was killed while it was to end one, it ends it now.
        """
        if self._launch.attempt > 1:
            await self._end_earlier()
        return await self._persist(self._made)

    async def _made(self) -> bool:
        """Makes the Job unless it is there; returns whether the attempt was not stopped meanwhile."""
        if self._stopping:
            return False
        options = await with_image(self._cluster, self._options, socket.gethostname())
        await self._ensure(self._jobs, objects.job(self._launch, options))
        if self._stopping:  # it may have been deleted before it was made
            await self._delete()
            return False
        return True

    async def _furnish(self, job: Object) -> None:
        """Makes what the pods of a Job need beside it, unless that was done before, by whoever was killed in between."""
        service = objects.service(self._launch, self._options, job)
        secret = objects.secret(self._launch, self._options, job, self._token)
        for collection, body in ((self._services, service), (self._secrets, secret)):
            if body is not None:
                await self._persist(partial(self._ensure, collection, body))

    async def _ensure(self, collection: str, body: Object) -> None:
        """Makes an object unless it is there."""
        try:
            await self._cluster.create(collection, body)
        except ApiFailed as error:
            if not error.exists:
                raise

    async def _delete(self) -> None:
        try:
            await self._cluster.delete(self._jobs, self._name)
        except ApiFailed as error:
            if not error.missing:
                raise

    async def _end_earlier(self) -> None:
        selector = f"{objects.JOB}={self._launch.job}"
        listed = await self._persist(partial(self._cluster.list, self._jobs, labelSelector=selector))
        earlier = [one["metadata"]["name"] for one in listed["items"] if one["metadata"]["name"] != self._name]
        for one in earlier:
            with suppress(ApiFailed):
                await self._persist(partial(self._cluster.delete, self._jobs, one))
        await self._gone(earlier)

    async def _gone(self, jobs: list[str]) -> None:
        """Waits until there is no such Job, nor a pod of it."""
        for job in jobs:
            for collection, selector in (
                (self._jobs, {"fieldSelector": f"metadata.name={job}"}),
                (self._pods, {"labelSelector": objects.pods_of(job)}),
            ):
                async with aclosing(self._cluster.follow(collection, **selector)) as looks:
                    async for found in looks:
                        if not found:
                            break

    async def _follow(self) -> Ending:
        furnished = False
        async with aclosing(self._cluster.follow(self._jobs, fieldSelector=f"metadata.name={self._name}")) as looks:
            async for found in looks:
                self._job = found.get(self._name)
                self._stand()
                if self._job is None:
                    break
                if reasons.ended(self._job):
                    return await self._ending(self._job)
                if not furnished:
                    await self._furnish(self._job)
                    furnished = True
        await self._gone([self._name])
        if self._stopping:
            return Ending(jobdir.TERMINATED)
        if self._impossible:
            return Ending(None, Cause.REFUSED, self._impossible)
        return Ending(None, Cause.LOST, f"There is no Job {self._name} any more: it was deleted, or ended long ago.")

    async def _ending(self, job: Object) -> Ending:
        """Returns how a Job ended, whose pods' last words are kept beside its other files."""
        listed = await self._persist(partial(self._cluster.list, self._pods, labelSelector=objects.pods_of(self._name)))
        pods: list[Object] = listed["items"]
        log = ""
        for pod in reasons.by_failure(pods):
            with suppress(ApiFailed):  # the node has gone, perhaps, and the log with it
                own = self._cluster.log(self._pods, pod["metadata"]["name"], lines=_LOG_LINES, most_bytes=_LOG_BYTES)
                log = f"{pod['metadata']['name']}:\n{(await own).rstrip()}\n{log}"
        path = self._launch.job_dir / jobdir.LOG
        with suppress(OSError):
            await asyncio.to_thread(path.write_text, f"{log}{words.exception(log)}\n")
        return reasons.ending(job, pods, disrupted=self._disrupted)

    async def _look(self) -> None:
        """Keeps what is seen of the pods, and ends an attempt that can never begin."""
        pulling: float | None = None
        async with aclosing(self._cluster.follow(self._pods, labelSelector=objects.pods_of(self._name))) as looks:
            async for found in looks:
                self._pods_seen = pods = list(found.values())
                self._disrupted |= bool(reasons.disruption(pods))
                self._stand()
                why, passing = reasons.impossible(pods)
                pulling = (pulling or time.monotonic()) if why else None
                if pulling is not None and (not passing or time.monotonic() - pulling > _PULL_SECONDS):
                    self._impossible = why
                    await self._persist(self._delete)

    async def _ask(self) -> None:
        """Asks why nothing goes on where neither Job nor pods say it: no pod can be made, or a volume is not to be had."""
        while True:
            await asyncio.sleep(_SILENCE_SECONDS)
            name, why = reasons.silent(self._job, self._pods_seen), ""
            if name:
                try:
                    events = await self._cluster.list(self._events, fieldSelector=f"involvedObject.name={name}")
                    why = reasons.warning(events["items"])
                except ApiFailed as error:
                    why = f"`kubectl describe` may say why, the trainer is not told: {error.message}"
            self._warning = f"{'No pod is made' if name == self._name else 'The pod cannot be set up'}: {why}" if why else ""
            self._stand()

    def _stand(self) -> None:
        """Sees anew how the attempt stands."""
        standing = reasons.standing(self._job, self._pods_seen)
        waits = self._warning and reasons.silent(self._job, self._pods_seen)
        self._standing = replace(standing, reason=self._warning) if waits else standing

    async def _persist(self, call: Callable[[], Awaitable[_Answer]]) -> _Answer:
        """Asks until there is an answer.

        Raises:
            ApiFailed: it is no, for good.
        """
        pauses = Pauses()
        while True:
            try:
                return await call()
            except ApiFailed as error:
                if not error.transient:
                    raise
                self._log.warning("cluster did not answer", error=error.message)
                self._standing = replace(self._standing, reason=f"The cluster does not answer: {error.message}")
            await pauses.sleep()
