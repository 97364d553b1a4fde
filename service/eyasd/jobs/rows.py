"""What is done to one job's row within a transaction, and which moves a job may make."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import Connection, func, insert, select, update

from eyasd.core import document
from eyasd.core.errors import JobEnded, JobNotFound, LeaseLost
from eyasd.core.jobs import Job, JobEvent, JobState, Lease
from eyasd.jobs.tables import EVENTS, JOBS

# The whole life of a job: a change that is not drawn here is refused.
TRANSITIONS: Final[dict[JobState, frozenset[JobState]]] = {
    JobState.QUEUED: frozenset({JobState.STARTING, JobState.INTERRUPTED, JobState.CANCELLED, JobState.FAILED}),
    JobState.STARTING: frozenset({JobState.RUNNING, JobState.INTERRUPTED, JobState.FAILED, JobState.CANCELLED}),
    JobState.RUNNING: frozenset(
        # STARTING: what hands out a cluster's machines has taken them away from the attempt, which will go on.
        {JobState.STARTING, JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED, JobState.INTERRUPTED}
    ),
    JobState.INTERRUPTED: frozenset({JobState.QUEUED, JobState.CANCELLED, JobState.FAILED}),
    JobState.SUCCEEDED: frozenset(),
    JobState.FAILED: frozenset(),
    JobState.CANCELLED: frozenset(),
}


def get(connection: Connection, job: str, *, lock: bool = False) -> Job:
    """Returns a job; with `lock`, nobody else changes it until the transaction ends. Raises JobNotFound."""
    asked = select(JOBS.c.document).where(JOBS.c.id == job)
    found = connection.scalar(asked.with_for_update() if lock else asked)
    if found is None:
        raise JobNotFound(job)
    return document.load(Job, found)


def held(connection: Connection, lease: Lease) -> Job:
    """Returns the job that a replica holds, and locks it.

    Raises:
        JobNotFound: there is no such job.
        LeaseLost: another holds it, or nobody does, or it has come to a later attempt.
    """
    job = get(connection, lease.job, lock=True)
    holder = connection.scalar(select(JOBS.c.replica).where(JOBS.c.id == lease.job))
    if (holder, job.attempt) != (lease.replica, lease.attempt):
        raise LeaseLost(
            f"Attempt {lease.attempt} of job {job.id} is over, or another replica's: nothing more is taken down of it.",
            job=job.id,
            attempt=lease.attempt,
        )
    return job


def add(connection: Connection, job: Job, request_id: str | None, request: str) -> None:
    """Adds a job with its first event."""
    connection.execute(insert(JOBS).values(id=job.id, request_id=request_id, request=request, **_columns(job)))
    append(connection, job.id, JobEvent(0, job.create_time, job=job))


def change(connection: Connection, before: Job, *, held_by: str | None = None, **changes: Any) -> Job:
    """Changes fields of a job that is locked, and adds the event that says so where its state is another.

    Args:
        connection: with a transaction.
        before: the job as it is.
        held_by: the replica that holds it from now on; None leaves that as it is. A job that is not at work is nobody's.
        changes: fields of the job.

    Raises:
        JobEnded: it cannot come to that state.
    """
    after = replace(before, **changes)
    if not after.state.at_work:
        after = replace(after, pausing=False)  # it has come to pass, or to nothing
    moved = after.state is not before.state
    if moved and after.state not in TRANSITIONS[before.state]:
        raise JobEnded(f"Job {after.id} is {before.state}, so it cannot become {after.state}.", job=after.id, state=before.state)
    values = _columns(after)
    if not after.state.at_work:
        values["replica"] = None
    elif held_by is not None:
        values |= {"replica": held_by, "renewals": JOBS.c.renewals + 1}  # a new lease, to whoever watches
    connection.execute(update(JOBS).where(JOBS.c.id == after.id).values(values))
    if moved:
        append(connection, after.id, JobEvent(0, datetime.now(UTC), job=after))
    return after


def append(connection: Connection, job: str, event: JobEvent) -> None:
    """Adds an event with the next number. The job's row is locked, or new, so nobody else takes that."""
    last = connection.scalar(select(func.coalesce(func.max(EVENTS.c.sequence), 0)).where(EVENTS.c.job == job)) or 0
    numbered = replace(event, sequence=last + 1)
    connection.execute(insert(EVENTS).values(job=job, sequence=last + 1, document=document.dump(numbered)))


def _columns(job: Job) -> dict[str, Any]:
    return {
        "state": job.state,
        "document": document.dump(job),
        "type": job.type,
        "priority": job.priority,
        "owner": job.owner,
        "devices": job.devices,
        "create_time": job.create_time.timestamp(),
        "resume_time": job.resume_time.timestamp() if job.resume_time else None,
    }
