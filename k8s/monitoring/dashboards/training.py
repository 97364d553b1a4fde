"""Whether jobs come to their end: the queue, what runs, how it goes, and what failed."""

from __future__ import annotations

from typing import Any

from dashboards.page import page
from dashboards.panels import FAIR, POOR, Query, graph, heat, number


def training() -> dict[str, Any]:
    """Returns the dashboard."""
    glance = [
        number("Running", "Jobs that run now, at all trainers.", "short", Query("sum(eyas_running_jobs{SERVER})"), base="blue"),
        number("Queued", "Jobs that wait for their turn.", "short", Query("max(eyas_queued_jobs{SERVER})"), (10, FAIR)),
        number(
            "Longest wait",
            "How long the job has waited that has waited longest.",
            "s",
            Query("max(eyas_oldest_queued_job_seconds{SERVER})"),
            (3600, FAIR),
            (14400, POOR),
            runbook="EyasJobWaitsTooLong",
        ),
        number(
            "Stalled",
            "Jobs whose training program hangs.",
            "short",
            Query("sum(eyas_stalled_jobs{SERVER})"),
            (1, POOR),
            runbook="EyasJobStalled",
        ),
        number(
            "Failed attempts, an hour",
            "Attempts that ended without a result within the last hour.",
            "short",
            Query("sum(eyas:failed_attempts:increase1h{SERVER}) or vector(0)"),
            (1, FAIR),
            (3, POOR),
            runbook="EyasAttemptsFail",
            decimals=0,
        ),
        number(
            "Succeeded, in this time",
            "Jobs that reached their end with a result within the time shown.",
            "short",
            Query('sum(grown(eyas_jobs_total{SERVER,state="SUCCEEDED"}[$__range])) or vector(0)'),
            base="blue",
            decimals=0,
        ),
    ]
    queue = [
        graph(
            "Jobs",
            "Jobs that run and jobs that wait.",
            "short",
            Query("sum(eyas_running_jobs{SERVER})", "running"),
            Query("max(eyas_queued_jobs{SERVER})", "queued"),
            Query("sum(eyas_stalled_jobs{SERVER})", "stalled"),
            runbook="EyasJobWaitsTooLong",
        ),
        graph(
            "Waits",
            "How long jobs had waited when their turn came, half and 90 of 100 of them, and how long the oldest in the queue waits now.",
            "s",
            Query("histogram_quantile(0.5, sum by (le) (increase(eyas_job_queue_seconds_bucket{SERVER}[1h])))", "50 %, an hour"),
            Query("histogram_quantile(0.9, sum by (le) (increase(eyas_job_queue_seconds_bucket{SERVER}[1h])))", "90 %, an hour"),
            Query("max(eyas_oldest_queued_job_seconds{SERVER})", "oldest now"),
            runbook="EyasJobWaitsTooLong",
        ),
        heat(
            "Waits, all jobs",
            "How many jobs had waited how long when their turn came.",
            "s",
            Query("sum by (le) (increase(eyas_job_queue_seconds_bucket{SERVER}[$__rate_interval]))"),
        ),
        graph(
            "Jobs by state",
            "Jobs an hour that reached each state, by type.",
            "short",
            Query("sum by (type, state) (grown(eyas_jobs_total{SERVER}[1h]))", "{{type}} {{state}}"),
        ),
        graph(
            "Failed attempts",
            "Attempts within an hour that ended without a result, by whose fault that was; those of machine and memory are tried again.",
            "short",
            Query("sum by (fault) (eyas:failed_attempts:increase1h{SERVER})", "{{fault}}"),
            steps=[(2.5, POOR)],
            runbook="EyasAttemptsFail",
        ),
        graph(
            "Errors of the job database",
            "Errors within 15 minutes of what trainers asked the job database, by operation.",
            "short",
            Query("sum by (operation) (eyas:database_errors:increase15m{SERVER})", "{{operation}}"),
            runbook="EyasDatabaseFails",
        ),
    ]
    runs = [
        graph(
            "Progress",
            "How far each training is; a line that stays flat has stalled.",
            "percentunit",
            Query("eyas_training_progress_ratio{TRAINING}", "{{exported_job}}"),
            most=1,
            runbook="EyasJobStalled",
        ),
        graph(
            "Throughput",
            "Pictures that each training processes a second.",
            "ops",
            Query("eyas_training_images_per_second{TRAINING}", "{{exported_job}}"),
        ),
        graph("Epoch", "Which epoch each training is in.", "short", Query("eyas_training_epoch{TRAINING}", "{{exported_job}}")),
        graph(
            "Loss",
            "Training loss so far in the epoch; one that rises wants a lower learning rate.",
            "short",
            Query("eyas_training_loss{TRAINING}", "{{exported_job}}"),
        ),
        graph(
            "Accuracy",
            "Newest accuracy on the validation split.",
            "percentunit",
            Query("eyas_training_accuracy_ratio{TRAINING}", "{{exported_job}}"),
            least=None,
            most=1,
        ),
        graph(
            "Trackers",
            "Events that MLflow or TensorBoard have not been told of yet, and what they refused within an hour; trainings do not wait for them.",
            "short",
            Query("sum by (tracker) (eyas_tracker_behind_events{SERVER})", "{{tracker}}, to be told"),
            Query("sum by (tracker) (grown(eyas_tracker_errors_total{SERVER}[1h]))", "{{tracker}}, errors"),
            runbook="EyasTrackerBehind",
        ),
    ]
    return page(
        "training",
        "Eyas: training",
        "Whether jobs come to their end: queue, progress, throughput, loss and accuracy, failures and stalls.",
        ["training"],
        {"At a glance": glance, "Queue and failures": queue, "Trainings": runs},
        span="now-12h",
    )
