"""Scenarios 1, 2, 6 and 7: pictures a second, and how long each takes, with so many calls at a time.

In a round every contestant is started once, and the bare loop runs for a moment right before it: its ratio is to that, so that a
machine whose speed drifts does not favour anyone. The cells of the tables are medians over the rounds.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Sequence

from serving import services
from serving.rows import Row, Rows, figure, median, table
from serving.services import Contestant, Environments, LeftOut, Service, measure, percentile
from serving.subject import Subject

LOOP_SECONDS = 3.0
UTILISATION = 0.7
# Calls at a time whose rate is taken for the capacity, of which the Poisson load is a share.
CAPACITY_AT = 32
LEAST_AGREEMENT = 0.8
# The kernel shares connections out among acceptors by chance, so that a few might all go to one.
CONNECTIONS = 16


def photographs(options: argparse.Namespace, rows: Rows, subject: Subject, environments: Environments) -> None:
    """Scenario 1: what a core serves of a network that takes its time."""
    contestants = [
        services.eyas("Eyas", serving__precision="fp32"),
        services.eyas("Eyas, int8", serving__precision="int8"),
        services.AIO,
        services.AIO_BATCHES,
        services.SYNC,
        services.SYNC_BATCHES,
        services.MLSERVER,
        services.RAY,
    ]
    run("1", options, rows, subject, environments, contestants, (1, 8, 32, 128), poisson=True)


def tiny(options: argparse.Namespace, rows: Rows, subject: Subject, environments: Environments) -> None:
    """Scenario 2: what the service itself costs."""
    contestants = [
        services.ECHO_SYNC,
        services.ECHO_AIO,
        services.ECHO_DOOR,
        services.eyas(),
        services.AIO,
        services.AIO_BATCHES,
        services.SYNC,
        services.SYNC_BATCHES,
        services.MLSERVER,
    ]
    run("2", options, rows, subject, environments, contestants, (32,))


def processes(options: argparse.Namespace, rows: Rows, subject: Subject, environments: Environments) -> None:
    """Scenario 6: one process of each kind, and two."""
    contestants = [
        services.eyas(),
        services.eyas("Eyas, 2 engines", serving__engines_per_version="2"),
        services.eyas("Eyas, 2 acceptors", serving__acceptors="2"),
        services.eyas("Eyas, 2 acceptors and engines", serving__acceptors="2", serving__engines_per_version="2"),
    ]
    run("6", options, rows, subject, environments, contestants, (32,), pinned=False)


def end_to_end(options: argparse.Namespace, rows: Rows, subject: Subject, environments: Environments) -> None:
    """Scenario 7: all that the machine has, but for the cores of the load."""
    deep = {"serving__max_queue_images": "4096"}
    contestants = [
        services.eyas(**deep),
        services.eyas("Eyas, 4 acceptors", serving__acceptors="4", **deep),
        services.eyas("Eyas, 8 acceptors", serving__acceptors="8", **deep),
        services.eyas("Eyas, 8 acceptors, nvJPEG", serving__acceptors="8", serving__decoder="gpu", **deep),
    ]
    run("7", options, rows, subject, environments, contestants, (8, 32, 128, 256), pinned=False)


def run(
    scenario: str,
    options: argparse.Namespace,
    rows: Rows,
    subject: Subject,
    environments: Environments,
    contestants: Sequence[Contestant],
    concurrencies: Sequence[int],
    *,
    poisson: bool = False,
    pinned: bool = True,
) -> None:
    """Measures what is not in the rows yet, and prints the table."""
    server_cores, load_cores = (options.server_cores, options.load_cores) if pinned else (options.all_cores, options.load_cores)
    wanted = [c for c in contestants if options.contestants is None or c.name in options.contestants]
    for number in range(options.rounds):
        for contestant in wanted:
            cell = {"scenario": scenario, "subject": subject.model, "round": number, "contestant": contestant.name}
            if rows.where(**cell, kind="whole"):
                continue
            try:
                bound, labels = services.loop(subject, environments, server_cores, LOOP_SECONDS)
                own = services.own_loop(subject, server_cores, LOOP_SECONDS)
                rows.add(cell | {"kind": "loop"}, **bound)
                rows.add(cell | {"kind": "own loop"}, **own)
                with services.serve(contestant, subject, environments, server_cores) as service:
                    one_contestant(
                        options,
                        rows,
                        cell,
                        service,
                        load_cores,
                        concurrencies,
                        bound,
                        own,
                        labels,
                        poisson,
                        0 if pinned else CONNECTIONS,
                    )
            except LeftOut as error:
                rows.add(cell | {"kind": "left out"}, why=str(error))
    print(f"\n{summary(scenario, rows, [c.name for c in wanted], concurrencies, poisson=poisson)}\n")


def one_contestant(
    options: argparse.Namespace,
    rows: Rows,
    cell: Row,
    service: Service,
    load_cores: str | None,
    concurrencies: Sequence[int],
    bound: dict[str, float],
    own: dict[str, float],
    labels: dict[int, str],
    poisson: bool,
    connections: int,
) -> None:
    capacity = 0.0
    for concurrency in concurrencies:
        measured = services.measure_together(service, load_cores, options.seconds, concurrency, options.load_processes, connections)
        figures = measured.figures()
        agrees = services.agreement(measured, labels)
        if not service.contestant.name.startswith("echo") and agrees < LEAST_AGREEMENT:
            raise LeftOut(f"{service.contestant.name} gives {1 - agrees:.0%} of the pictures another label than the bare loop.")
        ratios = {"of_loop": round(figures["rate"] / bound["rate"], 4), "of_own": round(figures["rate"] / own["rate"], 4)}
        rows.add(cell | {"kind": "closed", "concurrency": concurrency}, **figures, **ratios, agreement=round(agrees, 3))
        if concurrency == CAPACITY_AT:
            capacity = figures["rate"]
    if poisson and capacity:
        rate = UTILISATION * capacity
        # Long enough for a p99 that is not one call's alone.
        measured = measure(service, load_cores, max(2 * options.seconds, 300 / rate), rate=rate, seed=cell["round"])
        figures = measured.figures()
        queue = waiting(UTILISATION, len(measured.calls), cell["round"])
        rows.add(cell | {"kind": "poisson"}, **figures, p99_to_p50=round(figures["p99"] / figures["p50"], 3), queue=round(queue, 3))
    rows.add(cell | {"kind": "whole"})


def waiting(utilisation: float, calls: int, seed: int) -> float:
    """Returns p99 / p50 of a queue whose calls come at random and are served one by one, each for as long as any other."""
    random_ = random.Random(seed)  # noqa: S311
    free, now, took = 0.0, 0.0, []
    for _ in range(max(calls, 20_000)):
        now += random_.expovariate(utilisation)
        free = max(free, now) + 1.0
        took.append(free - now)
    return percentile(took, 99) / percentile(took, 50)


def summary(scenario: str, rows: Rows, names: Sequence[str], concurrencies: Sequence[int], *, poisson: bool) -> str:
    """Returns the tables."""
    lines: list[list[str]] = []
    here = rows.where(scenario=scenario)
    for kind, title in (("loop", "bare loop"), ("own loop", "own loop")):
        of = [row for row in here if row["kind"] == kind]
        lines.append(
            [
                title,
                "",
                *(figure(median(of, name)) for name in ("rate",)),
                "",
                "",
                figure(median(of, "p50")),
                figure(median(of, "p99")),
            ]
        )
    for name in names:
        gone = rows.where(scenario=scenario, contestant=name, kind="left out")
        if gone and not rows.where(scenario=scenario, contestant=name, kind="whole"):
            lines.append([name, "", f"left out: {gone[-1]['why']}"])
        for concurrency in concurrencies:
            if not (of := rows.where(scenario=scenario, contestant=name, kind="closed", concurrency=concurrency)):
                continue
            cells = [figure(median(of, "rate")), figure(median(of, "of_loop"), 2), figure(median(of, "of_own"), 2)]
            cells += [figure(median(of, "p50")), figure(median(of, "p99")), figure(median(of, "server_cpu"), 2)]
            lines.append([name, str(concurrency), *cells, figure(median(of, "load_cpu"), 2), str(sum(row["failed"] for row in of))])
    columns = (
        "",
        "at a time",
        "a second",
        "of the bare loop",
        "of our loop",
        "p50 ms",
        "p99 ms",
        "server, cores",
        "load, cores",
        "failed",
    )
    text = table(columns, [[*line, *[""] * (len(columns) - len(line))] for line in lines])
    if poisson:
        lines = []
        for name in names:
            if of := rows.where(scenario=scenario, contestant=name, kind="poisson"):
                cells = [figure(median(of, what)) for what in ("rate", "p50", "p99")]
                lines.append([name, *cells, figure(median(of, "p99_to_p50"), 2), figure(median(of, "queue"), 2)])
        text += f"\n\nAt {UTILISATION:.0%} of the capacity, random arrivals:\n\n"
        text += table(("", "a second", "p50 ms", "p99 ms", "p99 / p50", "of a queue served one by one"), lines)
    return text
