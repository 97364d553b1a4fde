"""jobs.retries: what was nobody's fault is tried again, and what would end the same way is not."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eyasd.core import jobdir
from eyasd.core.errors import all_errors, reason_of
from eyasd.core.jobs import Job, JobError, JobType
from eyasd.jobs.retries import Again, Fault, RetryOptions, fault_of, judge
from eyasd.jobs.runner import Cause, Ending

JOB = Job(id="j", type=JobType.TRAINING, create_time=datetime.now(UTC), model="m", dataset="/d", attempt=1)
OPTIONS = RetryOptions(max_attempts=3, wait=timedelta(seconds=5))
LAST = "RuntimeError: the roof is on fire"
MEMORY = JobError("TRAINER_OUT_OF_MEMORY", "The GPU ran out of memory; choose a smaller batch_size.")


@pytest.mark.parametrize(
    ("ending", "told", "last_words", "fault"),
    [
        (Ending(jobdir.USER_ERROR), JobError("BAD_DATASET", "one label"), "", Fault.JOB),
        (Ending(jobdir.USER_ERROR), JobError("INVALID_ARGUMENT", "no such backbone"), "", Fault.JOB),
        (Ending(jobdir.USER_ERROR), JobError("TRAINER_FAILED", "diverged"), "", Fault.JOB),
        (Ending(jobdir.USER_ERROR), JobError("STORAGE_FAILED", "disk full"), "", Fault.MACHINE),
        (Ending(jobdir.USER_ERROR), MEMORY, "", Fault.MEMORY),
        (Ending(None, Cause.OUT_OF_MEMORY, "It took 9 GB."), None, "", Fault.MEMORY),
        (Ending(None, Cause.TIME_LIMIT, "An hour is over."), None, "", Fault.JOB),
        (Ending(None, Cause.REFUSED, "There is no such image."), None, "", Fault.JOB),
        (Ending(None, Cause.LOST, "The node was drained."), None, "", Fault.MACHINE),
        (Ending(None), None, "", Fault.MACHINE),
        (Ending(jobdir.TERMINATED), None, "", Fault.MACHINE),
        (Ending(jobdir.PASSING), None, "s3://photos could not be used.", Fault.MACHINE),
        (Ending(jobdir.NO_ROOM), None, "", Fault.MACHINE),
        (Ending(-9), None, "", Fault.MACHINE),
        (Ending(-11), None, "", Fault.MACHINE),
        (Ending(1), None, LAST, Fault.JOB),
        (Ending(1), None, "RuntimeError: CUDA error: an illegal memory access was encountered", Fault.MACHINE),
        (Ending(127), None, "cannot allocate memory for thread-local data: ABORT", Fault.MEMORY),
        (Ending(1), None, "ImportError: libtorch_cpu.so: failed to map segment from shared object", Fault.MEMORY),
        (Ending(1), None, "torch.distributed.DistBackendError: NCCL error in: ncclUtils.hpp", Fault.MACHINE),
    ],
)
def test_whose_fault_an_end_was(ending: Ending, told: JobError | None, last_words: str, fault: Fault) -> None:
    assert fault_of(ending, told, last_words) is fault


def test_what_was_nobodys_fault_is_tried_again_after_longer_and_longer_waits_and_then_no_more() -> None:
    ending, options = Ending(None, Cause.LOST, "The node was drained."), replace(OPTIONS, max_attempts=10)
    job, waits = JOB, []
    for _ in range(9):
        again = judge(job, ending, None, "", options)
        assert isinstance(again, Again)
        assert (again.setback, again.micro_batches) == ("The node was drained.", 1)
        waits.append(again.wait.total_seconds())
        job = replace(job, lost=again.lost)
    assert waits == [0, 5, 10, 20, 40, 80, 160, 300, 300]
    assert judge(job, ending, None, "", options) == JobError(
        "TRAINER_FAILED", "The node was drained. That was attempt 10 of 10 that were lost."
    )


def test_too_little_memory_is_tried_again_once_in_smaller_parts() -> None:
    again = judge(JOB, Ending(jobdir.USER_ERROR), MEMORY, "", OPTIONS)
    assert again == Again(timedelta(0), f"{MEMORY.message} It is tried again with each batch in 2 parts.", lost=0, micro_batches=2)
    assert judge(replace(JOB, micro_batches=2), Ending(jobdir.USER_ERROR), MEMORY, "", OPTIONS) == MEMORY
    scored = replace(JOB, type=JobType.EVALUATION)  # it has no batch that could be smaller
    assert judge(scored, Ending(None, Cause.OUT_OF_MEMORY, "It took 9 GB."), None, "", OPTIONS) == JobError(
        "TRAINER_OUT_OF_MEMORY", "It took 9 GB. Give it more, or choose a smaller batch_size, image_size_px or backbone."
    )


def test_a_kill_is_told_by_its_signal() -> None:
    again = judge(JOB, Ending(-9), None, "", OPTIONS)
    setback = "The training program was ended by signal 9 (Killed), perhaps for want of memory."
    assert again == Again(timedelta(0), setback, lost=1, micro_batches=1)


def test_a_full_disk_has_time_at_once_and_keeps_its_own_words_to_the_end() -> None:
    told = JobError("STORAGE_FAILED", "The trainer's disk is full.")
    again = judge(JOB, Ending(jobdir.USER_ERROR), told, "", OPTIONS)
    assert again == Again(timedelta(seconds=5), told.message, lost=1, micro_batches=1)
    assert judge(replace(JOB, lost=2), Ending(jobdir.USER_ERROR), told, "", OPTIONS) == JobError(
        "STORAGE_FAILED", "The trainer's disk is full. That was attempt 3 of 3 that were lost."
    )


def test_a_disk_that_took_no_word_is_told_of_and_has_time_at_once() -> None:
    again = judge(JOB, Ending(jobdir.NO_ROOM, Cause.LOST), None, "it left no word.", OPTIONS)
    assert isinstance(again, Again)
    assert (again.wait, again.lost) == (timedelta(seconds=5), 1)
    assert again.setback.endswith("could not even say so: free the disk of data_dir.")


def test_a_crash_is_told_with_its_last_line_and_not_repeated() -> None:
    assert judge(JOB, Ending(1), None, LAST, OPTIONS) == JobError("TRAINER_FAILED", f"The training program crashed: {LAST}")


@given(
    ending=st.builds(Ending, st.none() | st.integers(-64, 255), st.sampled_from(Cause), st.sampled_from(["", "It is said."])),
    told=st.none() | st.builds(JobError, st.sampled_from([reason_of(error) for error in all_errors()]), st.just("It says.")),
    last_words=st.text(max_size=20),
    most=st.integers(1, 5),
)
def test_however_attempts_end_there_is_an_end(ending: Ending, told: JobError | None, last_words: str, most: int) -> None:
    job, options = JOB, replace(OPTIONS, max_attempts=most)
    for _ in range(most + 1):
        found = judge(job, ending, told, last_words, options)
        if isinstance(found, JobError):
            assert found.message
            return
        assert found.setback
        assert timedelta(0) <= found.wait <= timedelta(minutes=5)
        job = replace(job, lost=found.lost, micro_batches=found.micro_batches)
    raise AssertionError(job)
