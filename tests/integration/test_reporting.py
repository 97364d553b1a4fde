"""ReportProgress against a real daemon: what an attempt says counts once, and no token is good for more than its attempt."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import grpc
import pytest

from eyas.v1 import job_service_pb2, job_service_pb2_grpc
from eyasd.app import App, Role
from eyasd.core import document
from eyasd.core.jobdir import ProgressLine
from eyasd.core.jobs import Job, JobState, JobType, Lease
from eyasd.jobs.permits import Permits, kept_key
from eyasd.jobs.store import JobStore


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
            for wild in ((0, lines), (2**63 - 1, lines), (2**63 - 1, []), (-1, [])):
                with pytest.raises(grpc.RpcError) as lost:
                    await report(app, token, wild)
                assert lost.value.code() is grpc.StatusCode.INVALID_ARGUMENT
            async with grpc.aio.insecure_channel(f"127.0.0.1:{app.port}") as channel:
                with pytest.raises(grpc.aio.AioRpcError) as elsewhere:
                    asked = job_service_pb2.GetJobRequest(name="jobs/j1")
                    metadata = (("authorization", f"Bearer {token}"),)
                    await job_service_pb2_grpc.JobServiceStub(channel).GetJob(asked, metadata=metadata)
            assert elsewhere.value.code() is grpc.StatusCode.UNAUTHENTICATED
        finally:
            await asyncio.to_thread(store.close)
