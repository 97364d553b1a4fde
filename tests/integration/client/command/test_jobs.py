"""`eyas jobs`, and how a job that is followed ends the command."""

from __future__ import annotations

import json
import signal
import threading
import time
from datetime import timedelta
from pathlib import Path

import grpc
import pytest
from tests.integration.client.command.conftest import Eyas, one_sentence

from eyas.v1 import job_service_pb2
from fake_server import FakeServer, Refusal
from replies import NOW, TRAINING_UPDATES, job_message, update, waiting_message


def test_a_job_that_failed_fails_the_command(eyas: Eyas, server: FakeServer, photos: Path) -> None:
    failed = job_message("FAILED")
    failed.error.CopyFrom(Refusal(grpc.StatusCode.FAILED_PRECONDITION, "There are too few pictures.").status())
    server.answers("WatchJob", [update(1, job=failed)])
    server.answers("GetJob", job_service_pb2.GetJobResponse(job=failed))
    status, out, err = eyas("train", photos, "--model", "clothing", "--json")
    assert status == 1
    assert one_sentence(err) == "There are too few pictures."
    assert json.loads(out)["error"]["type"] == "JobFailed"
    server.answers("GetJob", job_service_pb2.GetJobResponse(job=job_message("CANCELLED")))
    assert one_sentence(eyas("jobs", "watch", "abc")[2]) == "Job abc was cancelled."


def test_who_waits_is_told_why_and_until_when(eyas: Eyas, server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    queued = "Job abc is queued. 2 jobs are before it; the trainer is busy. It should start at about 2026-03-01 13:00."
    assert eyas("jobs", "resume", "abc") == (0, f"{queued}\n", "")
    assert eyas("jobs", "pause", "abc")[1] == "Job abc is paused; go on with it by: eyas jobs resume abc\n"
    tried = job_message("INTERRUPTED")
    tried.waiting_reason = "The node was drained."
    tried.resume_time.FromDatetime(NOW + timedelta(minutes=1))
    updates = [update(1, job=waiting_message("QUEUED")), update(2, job=tried), *TRAINING_UPDATES[1:]]
    server.answers("WatchJob", updates)
    err = eyas("jobs", "watch", "abc")[2]
    assert err.splitlines()[:2] == [
        queued,
        "Job abc is interrupted. The node was drained. It is queued again at 2026-03-01 12:31.",
    ]
    server.answers("ListJobs", job_service_pb2.ListJobsResponse(jobs=[waiting_message("QUEUED"), waiting_message("INTERRUPTED")]))
    out = eyas("jobs")[1]
    assert "2 jobs are before it; the trainer is busy. It should start at about 2026-03-01 13:00." in out
    assert "It is paused; `eyas jobs resume abc` lets it go on." in out


@pytest.mark.parametrize("as_json", [False, True])
def test_ctrl_c_without_a_terminal_leaves_the_job_to_itself(eyas: Eyas, server: FakeServer, as_json: bool) -> None:
    here, left = threading.main_thread().ident, threading.Event()
    assert here is not None

    def interrupt() -> None:
        time.sleep(0.3)
        signal.pthread_kill(here, signal.SIGINT)
        left.wait(60)

    server.answers("WatchJob", [*TRAINING_UPDATES[:3], interrupt, *TRAINING_UPDATES[3:]])
    status, out, err = eyas("jobs", "watch", "abc", *(["--json"] if as_json else []))
    left.set()
    assert status == 130
    assert one_sentence(err) == "Job abc goes on; follow it with: eyas jobs watch abc"
    assert server.calls("CancelJob") == []
    if as_json:
        assert json.loads(out)["error"]["reason"] == "INTERRUPTED"
