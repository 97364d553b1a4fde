"""Somebody who wants a job, and does not give up when nobody answers."""

from __future__ import annotations

import time
from collections.abc import Callable

import eyas

from .history import History, Kind


def see_through(client: eyas.Client, history: History, kind: Kind, submit: Callable[[], str], longest_seconds: float) -> None:
    """Asks until somebody answers, and watches to the end, as a client does.

    Args:
        client: by whom.
        history: takes it down.
        kind: of the job.
        submit: asks for it, and returns its name.
        longest_seconds: in which it must have been taken, and in which a watch may be told that nobody answers.
    """
    deadline, job = time.monotonic() + longest_seconds, ""
    while not job:
        try:
            job = submit()
        except eyas.Unavailable as error:
            if time.monotonic() > deadline:
                history.violations.append(f"a job was never taken: {error}")
                return
            time.sleep(0.05)
    history.promised[job] = kind
    history.last.setdefault(job, "acknowledged")
    while True:
        try:
            for event in client.watch_job(job, len(history.watched[job]) + 1):
                history.see(job, event)
            return
        except eyas.Unavailable as error:  # a watch gives up after a minute without an answer, and whoever watches does not
            if time.monotonic() > deadline:
                history.violations.append(f"the watch of job {job} was told: {error}")
                return
        except eyas.EyasError as error:
            history.violations.append(f"the watch of job {job} was told: {error}")
            return
        except ValueError:  # gRPC's, of a channel that is closed: nobody waits for the watch any more, and that was taken down
            return
