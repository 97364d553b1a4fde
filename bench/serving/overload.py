"""Scenario 3: twice the capacity is offered, at random arrivals and whatever becomes of the calls, each with a deadline.

The capacity is what the same process answers right before, 32 calls at a time. A call that is neither answered nor refused fails.
"""

from __future__ import annotations

import argparse
from collections import Counter

import grpc
from serving import services
from serving.rows import Rows, figure, median, table
from serving.services import Environments, Measured, measure, percentile
from serving.subject import Subject
from serving.throughput import CAPACITY_AT

OFFERED = 2.0
DEADLINE_MS = 1000
REFUSED = grpc.StatusCode.RESOURCE_EXHAUSTED


def overload(options: argparse.Namespace, rows: Rows, subject: Subject, environments: Environments) -> None:
    """Measures what is not in the rows yet, and prints the table."""
    cell = {"scenario": "3", "subject": subject.model, "seconds": options.overload_seconds, "deadline_ms": DEADLINE_MS}
    for number in range(options.rounds):
        if rows.where(**cell, round=number):
            continue
        contestant = services.eyas(serving__precision="fp32")
        with services.serve(contestant, subject, environments, options.server_cores) as service:
            before = measure(service, options.load_cores, 2 * options.seconds, concurrency=CAPACITY_AT)
            capacity = before.figures()["rate"]
            load = {"rate": OFFERED * capacity, "seed": number}
            measured = measure(service, options.load_cores, options.overload_seconds, timeout_ms=DEADLINE_MS, **load)
        rows.add(cell | {"round": number}, capacity=capacity, **figures(measured, capacity))
    print(f"\n{summary(rows, cell)}\n")


def figures(measured: Measured, capacity: float) -> dict[str, object]:
    """Returns what is said of an overload."""
    refused = [(seconds, retry_info) for _, seconds, status, retry_info in measured.calls if status == REFUSED.value[0]]
    took = [seconds for seconds, _ in refused]
    failed = {name: count for name, count in measured.failures.items() if name != REFUSED.name}
    in_time = [seconds for seconds in measured.answered if 1000 * seconds <= DEADLINE_MS]
    return {
        "offered": round(len(measured.calls) / measured.seconds, 2),
        "goodput": round(len(in_time) / measured.seconds, 2),
        "of_capacity": round(len(in_time) / measured.seconds / capacity, 4),
        "accepted_p50": round(1000 * percentile(measured.answered, 50), 2),
        "accepted_p99": round(1000 * percentile(measured.answered, 99), 2),
        "accepted_max": round(1000 * max(measured.answered, default=0.0), 2),
        "refused": len(refused),
        **{f"refused_p{q}": round(1000 * percentile(took, q), 2) for q in (50, 99)},
        "refused_max": round(1000 * max(took, default=0.0), 2),
        "refused_within_5_ms": round(sum(seconds <= 0.005 for seconds in took) / max(1, len(took)), 4),
        "with_retry_info": sum(retry_info for _, retry_info in refused),
        "failed": failed,
        "server_cpu": round(measured.server_cpu, 3),
        "load_cpu": round(measured.load_cpu, 3),
        "lag_ms": round(measured.lag_ms, 2),
    }


def summary(rows: Rows, cell: dict[str, object]) -> str:
    """Returns the table."""
    of = rows.where(**cell)
    failed: Counter[str] = sum((Counter(row["failed"]) for row in of), Counter())
    accepted = [figure(median(of, f"accepted_{what}")) for what in ("p50", "p99", "max")]
    refused = [figure(median(of, f"refused_{what}"), 2) for what in ("p50", "p99", "max")]
    lines = [
        ("capacity, a second", figure(median(of, "capacity"))),
        ("offered, a second", figure(median(of, "offered"))),
        ("answered within the deadline, of the capacity", figure(median(of, "of_capacity"), 3)),
        (f"answered: p50, p99, longest, ms (deadline {DEADLINE_MS})", ", ".join(accepted)),
        ("refused: p50, p99, longest, ms", ", ".join(refused)),
        ("refused within 5 ms", figure(median(of, "refused_within_5_ms"), 4)),
        (
            "refused, and of these with RetryInfo",
            f"{sum(row['refused'] for row in of):,}, {sum(row['with_retry_info'] for row in of):,}",
        ),
        ("neither answered nor refused", ", ".join(f"{count:,} {name}" for name, count in failed.items()) or "0"),
    ]
    return table(("", "median over the rounds" if len(of) > 1 else "one run"), lines)
