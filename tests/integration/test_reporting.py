"""ReportProgress against a real daemon: what an attempt says counts once, and no token is good for more than its attempt."""

from __future__ import annotations

import asyncio
import os
import sys
from datetime import UTC, datetime

import grpc
import pytest

from eyas.v1 import job_service_pb2, job_service_pb2_grpc
from eyasd.app import App, Role
from eyasd.core import document, jobdir
from eyasd.core.jobdir import ProgressLine
from eyasd.core.jobs import Job, JobError, JobState, JobType, Lease
from eyasd.core.spec import InspectionSpec
from eyasd.core.tasks import InspectionTask
from eyasd.jobs.permits import Permits, kept_key
from eyasd.jobs.store import JobStore
from eyasd.pod.layout import place, receive, send
from eyasd.storage.local import LocalStore


def line(text: str) -> str:
    return document.dump(ProgressLine(datetime.now(UTC), message=text))


def at_work(store: JobStore) -> Lease:
    """Has a job be at work elsewhere, as a replica that the test plays."""
    store.submit(Job(id="j1", type=JobType.TRAINING, create_time=datetime.now(UTC), model="m", dataset="/d"), None, "r")
    claimed = store.leases.claim("elsewhere", ["j1"])
    assert claimed is not None
    lease = Lease("j1", claimed.attempt, "elsewhere")
    store.update(lease, state=JobState.RUNNING)
    return lease


async def report(app: App, token: str, *requests: tuple[int, list[str]]) -> list[tuple[int, bool]]:
    def call() -> list[tuple[int, bool]]:
        with grpc.insecure_channel(f"127.0.0.1:{app.port}") as channel:
            sent = iter([job_service_pb2.ReportProgressRequest(first=first, lines=lines) for first, lines in requests])
            stub = job_service_pb2_grpc.JobServiceStub(channel)
            answers = stub.ReportProgress(sent, metadata=(("authorization", f"Bearer {token}"),))
            return [(answer.stored, answer.stop) for answer in answers]

    return await asyncio.to_thread(call)


async def test_an_attempt_reports_by_its_own_token_and_hears_that_it_is_to_end(daemon, data_dir, log) -> None:
    async with daemon(Role.TRAINER, api={"token": "sesame"}) as app:
        store = JobStore(data_dir / "jobs.sqlite", log)
        try:
            lease = at_work(store)
            permits = Permits(kept_key(data_dir / "report.key"))
            token = permits.make("j1", lease.attempt)
            lines = [line(f"{number}") for number in range(1, 4)]
            assert await report(app, token, (0, []), (1, lines[:2])) == [(0, False), (2, False)]
            # The answer was lost, and all is sent again.
            assert await report(app, token, (1, [*lines, "no JSON"])) == [(4, False)]
            assert [event.message for event in store.events("j1", 1) if event.message] == ["1", "2", "3"]
            store.cancel("j1")
            assert await report(app, token, (0, [])) == [(4, True)]

            for wrong in ("", "sesame", permits.make("j2", 1)[:-1], Permits(b"other").make("j1", 1)):
                with pytest.raises(grpc.RpcError) as refused:
                    await report(app, wrong, (5, lines))
                assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
            with pytest.raises(grpc.RpcError) as stale:
                await report(app, permits.make("j1", lease.attempt + 1), (5, lines))
            assert stale.value.code() is grpc.StatusCode.FAILED_PRECONDITION
            with pytest.raises(grpc.RpcError) as wild:
                await report(app, token, (0, lines))
            assert wild.value.code() is grpc.StatusCode.INVALID_ARGUMENT
            async with grpc.aio.insecure_channel(f"127.0.0.1:{app.port}") as channel:
                with pytest.raises(grpc.aio.AioRpcError) as elsewhere:
                    asked = job_service_pb2.GetJobRequest(name="jobs/j1")
                    metadata = (("authorization", f"Bearer {token}"),)
                    await job_service_pb2_grpc.JobServiceStub(channel).GetJob(asked, metadata=metadata)
            assert elsewhere.value.code() is grpc.StatusCode.UNAUTHENTICATED
        finally:
            await asyncio.to_thread(store.close)


async def test_the_command_line_of_a_pod_hands_over_what_it_did(daemon, data_dir, tmp_path, log) -> None:
    shared, inputs = LocalStore(tmp_path / "store"), tmp_path / "inputs"
    inputs.mkdir()
    for label in ("dark", "light"):  # too few pictures
        (tmp_path / "photos" / label).mkdir(parents=True)
        (tmp_path / "photos" / label / "broken.jpg").write_bytes(b"no picture")
    task = InspectionTask(job="j1", attempt=1, dataset=str(tmp_path / "photos"), spec=InspectionSpec(None, 1))
    (inputs / jobdir.INSPECTION).write_text(document.dump(task))
    send(shared, place("j1", 1, "in"), inputs, [inputs / jobdir.INSPECTION])
    async with daemon(Role.TRAINER) as app:
        store = JobStore(data_dir / "jobs.sqlite", log)
        try:
            lease = at_work(store)
            token = Permits(kept_key(data_dir / "report.key")).make("j1", lease.attempt)
            where = (
                "--trainer",
                f"127.0.0.1:{app.port}",
                "--store",
                f"file://{tmp_path / 'store'}",
                "--scratch",
                str(tmp_path / "s"),
            )
            program = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "eyasd.pod", *where, "--job", "j1", "--attempt", "1"),
                env={**os.environ, "EYAS_REPORT_TOKEN": token},
            )
            assert await program.wait() == jobdir.USER_ERROR
            stages = [event.progress.stage for event in store.events("j1", 1) if event.progress]
            assert stages[0] == "audit"
        finally:
            await asyncio.to_thread(store.close)
    assert receive(shared, place("j1", 1, "out"), tmp_path / "back")
    told = document.load(JobError, (tmp_path / "back" / jobdir.ERROR).read_text())
    assert "picture" in told.message
