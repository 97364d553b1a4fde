"""Scenario 4: what calls notice of a new version, of a rolling restart and of an engine that dies, at a third of the capacity.

Random arrivals; a while of quiet, then an event every few seconds:

    swap      the alias moves between two versions, each of which has to be loaded again
    restart   one of two daemons, to which a client of ours sends in turn, is ended with SIGTERM and started again
    kill      an engine process is killed with SIGKILL

The calls of swap and kill come from a client that never repeats one; those of restart from eyas's own, with its repeating off.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import machine
from serving import services
from serving.load import tree
from serving.rows import Row, Rows, figure, median, table
from serving.services import Environments, LeftOut, Measured, Service, begin, finish, measure, percentile
from serving.subject import Subject
from serving.throughput import CAPACITY_AT

from eyasd.settings import ServingSettings

UTILISATION = 0.33
QUIET_SECONDS = 15.0
EVERY_SECONDS = 5.0
EVENTS = 8
TIMEOUT_MS = 20_000
# Longer than a balancer's client needs to see that a server is going; the daemon's own default.
LAME_DUCK = {"EYASD_API__LAME_DUCK_SECONDS": "1"}
ENGINE = b"eyasd.serving.engine"


def upheaval(options: argparse.Namespace, rows: Rows, subject: Subject, environments: Environments) -> None:
    """Measures what is not in the rows yet, and prints the table."""
    for number in range(options.rounds):
        for event, run in (("swap", _swaps), ("restart", _restarts), ("kill", _kills)):
            cell = {"scenario": "4", "subject": subject.model, "event": event, "round": number}
            if event not in options.events.split(",") or rows.where(**cell):
                continue
            try:
                with _copy(subject) as copied:
                    rows.add(cell, **run(options, copied, environments, number))
            except LeftOut as error:
                rows.add(cell, why=str(error))
    print(f"\n{summary(rows)}\n")


@contextmanager
def _copy(subject: Subject) -> Iterator[Subject]:
    """Copies the model into a registry of its own, in which it has two versions."""
    with machine.scratch() as scratch:
        copied = subject.copy_to(Path(scratch))
        copied.models.publish(subject.model, copied.file.parent, "bench again")
        yield copied


def _swaps(options: argparse.Namespace, subject: Subject, environments: Environments, seed: int) -> Row:
    versions = subject.models.versions(subject.model)

    def swap(number: int) -> None:
        version = versions[(number + 1) % 2]
        subject.models.aliases.set(subject.model, "production", version, actor="bench", reason="")

    with services.serve(services.eyas(), subject, environments, options.server_cores) as service:
        return _events(options, service, swap, seed)


def _kills(options: argparse.Namespace, subject: Subject, environments: Environments, seed: int) -> Row:
    settings = {"serving__engines": "process"} if "engines" in ServingSettings.model_fields else {}
    with services.serve(services.eyas(**settings), subject, environments, options.server_cores) as service:
        if not _engines(service):
            raise LeftOut("This Eyas has no engine processes.")

        def kill(number: int) -> float | None:
            engines = _engines(service)
            moment = time.time()
            if engines:  # it may not be back yet
                os.kill(engines[number % len(engines)], signal.SIGKILL)
            return moment

        return _events(options, service, kill, seed)


def _engines(service: Service) -> list[int]:
    return [pid for pid in tree(service.pid) if ENGINE in Path(f"/proc/{pid}/cmdline").read_bytes()]


def _events(options: argparse.Namespace, service: Service, event: Callable[[int], float | None], seed: int) -> Row:
    capacity = measure(service, options.load_cores, options.seconds, concurrency=CAPACITY_AT).figures()["rate"]
    rate = round(UTILISATION * capacity, 1)
    seconds = QUIET_SECONDS + EVENTS * EVERY_SECONDS
    load = begin(service, options.load_cores, seconds, timeout_ms=TIMEOUT_MS, rate=rate, seed=seed)
    moments = _in_turn(event, QUIET_SECONDS + 2)  # the load warms up first
    return _figures(finish(load), moments, rate)


def _restarts(options: argparse.Namespace, subject: Subject, _: Environments, seed: int) -> Row:
    ports = [machine.free_port() for _ in range(2)]
    addresses = [f"127.0.0.1:{port}" for port in ports]

    def start(number: int) -> ExitStack:
        stack = ExitStack()
        daemon = machine.daemon("server", subject.data_dir, cores=options.server_cores, settings=LAME_DUCK, port=ports[number % 2])
        stack.enter_context(daemon)
        return stack

    running = [start(0), start(1)]

    def restart(number: int) -> None:
        running[number % 2].close()
        running[number % 2] = start(number)

    with machine.scratch() as scratch:
        try:
            pictures = str(subject.write_pictures(Path(scratch)))
            task = {"addresses": addresses, "model": subject.model, "pictures": pictures, "seed": seed, "retries": False}
            # A daemon that starts takes the core for a second, so the load is of the other one's half.
            rate = round(UTILISATION / 2 * _pace(subject, options), 1)
            task |= {"rate": rate, "seconds": QUIET_SECONDS + EVENTS * EVERY_SECONDS}
            command = [sys.executable, "-m", "serving.balanced", json.dumps(task)]
            pinned = ["taskset", "-c", options.load_cores, *command]
            load = subprocess.Popen(pinned, cwd=Path(__file__).parents[1], stdout=subprocess.PIPE)
            moments = _in_turn(restart, QUIET_SECONDS)
            return _figures(finish(load), moments, rate)
        finally:
            for stack in running:
                stack.close()


def _pace(subject: Subject, options: argparse.Namespace) -> float:
    """Returns the pictures a second of our own loop."""
    return services.own_loop(subject, options.server_cores, 2.0)["rate"]


def _in_turn(event: Callable[[int], float | None], quiet: float) -> list[float]:
    """Makes the events happen; returns when each began, by its own word or ours, on the clock of `time.time`."""
    moments = []
    due = time.monotonic() + quiet
    for number in range(EVENTS):
        time.sleep(max(0.0, due - time.monotonic()))
        moment = time.time()
        moments.append(event(number) or moment)
        due += EVERY_SECONDS
    return moments


def _figures(measured: Measured, moments: list[float], rate: float) -> Row:
    first = moments[0] - measured.began
    before = [seconds for start, seconds, status, _ in measured.calls if not status and start < first]
    during = [seconds for start, seconds, status, _ in measured.calls if not status and start >= first]
    ends = [(measured.began + start, measured.began + start + seconds) for start, seconds, _, _ in measured.calls]
    return {
        "rate": rate,
        "in_flight": sum(start <= moment < end for moment in moments for start, end in ends),
        "events": sum(moment < measured.began + measured.seconds for moment in moments),
        "calls": len(measured.calls),
        "failed": sum(measured.failures.values()),
        "statuses": measured.failures,
        "before_p50": round(1000 * percentile(before, 50), 2),
        "before_p99": round(1000 * percentile(before, 99), 2),
        "during_p50": round(1000 * percentile(during, 50), 2),
        "during_p99": round(1000 * percentile(during, 99), 2),
        "during_max": round(1000 * max(during, default=0.0), 2),
    }


def summary(rows: Rows) -> str:
    """Returns the table."""
    lines = []
    for event in ("swap", "restart", "kill"):
        of = rows.where(scenario="4", event=event)
        if of and "why" in of[-1]:
            lines.append([event, of[-1]["why"], *[""] * 7])
        elif of:
            counts = [f"{sum(row[name] for row in of):,}" for name in ("events", "calls", "in_flight", "failed")]
            cells = [figure(median(of, name)) for name in ("before_p50", "before_p99", "during_p99", "during_max")]
            lines.append([event, *counts, *cells])
    after = ("p50 before, ms", "p99 before, ms", "p99 meanwhile, ms", "longest meanwhile, ms")
    return table(("", "events", "calls", "in flight at an event", "failed", *after), lines)
