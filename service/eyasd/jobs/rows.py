"""What is done to one job's row within a transaction, and which moves a job may make."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import Connection, func, insert, select, text, update

from eyasd.core import document
from eyasd.core.errors import JobEnded, JobNotFound, LeaseLost, RequestIdReused
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


def request_key(request_id: str, principal: str) -> str:
    """Returns what a request id is in the database, where it is unique: a principal's own, or bare where he is nobody.

    A bare one has at most 64 characters, as the contract says, so none is another's. It is no column of its own: the version before
    reads these rows, and makes bare ones.
    """
    return f"{hashlib.sha256(principal.encode(errors='surrogateescape')).hexdigest()}/{request_id}" if principal else request_id


def accepted(connection: Connection, request_id: str, principal: str, request: str, owner: str) -> Job | None:
    """Returns the job that a request made before.

    Raises:
        RequestIdReused: the id belongs to another request of his.
    """
    asked = select(JOBS.c.request, JOBS.c.document)
    known = connection.execute(asked.where(JOBS.c.request_id == request_key(request_id, principal))).one_or_none()
    if known is None and principal:  # as a daemon took it in that knew no principals
        before = asked.where(JOBS.c.request_id == request_id, JOBS.c.owner == owner, JOBS.c.request == request)
        known = connection.execute(before).one_or_none()
    if known is not None and known.request != request:
        raise RequestIdReused(f"The request id {request_id!r} was used for another request: choose a new one.")
    return document.load(Job, known.document) if known is not None else None


def take_turns(connection: Connection, owner: str) -> None:
    """Holds up others who submit for the owner until the transaction ends, so that what is counted stays true."""
    if connection.dialect.name == "postgresql":  # where SQLite has one writer anyway
        turn = int.from_bytes(hashlib.sha256(owner.encode(errors="surrogateescape")).digest()[:8], signed=True)
        connection.execute(text("SELECT pg_advisory_xact_lock(:turn)"), {"turn": turn})


def add(connection: Connection, job: Job, key: str | None, request: str) -> None:
    """Adds a job with its first event; see `request_key`."""
    connection.execute(insert(JOBS).values(id=job.id, request_id=key, request=request, **_columns(job)))
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
