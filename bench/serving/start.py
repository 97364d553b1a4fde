"""Scenario 0: from the start of `eyasd server` to its first SERVING, and the memory that it then takes."""

from __future__ import annotations

import argparse
from pathlib import Path

import machine
from serving import services
from serving.rows import Rows, figure, table
from serving.services import Environments
from serving.subject import Subject


def start(options: argparse.Namespace, rows: Rows, subject: Subject, environments: Environments) -> None:
    """Measures what is not in the rows yet, and prints the table."""
    for number in range(options.rounds):
        cell = {"scenario": "0", "subject": subject.model, "round": number}
        if not rows.where(**cell):
            with machine.scratch() as scratch:
                alone = subject.copy_to(Path(scratch))
                with services.serve(services.eyas(), alone, environments, None) as service:
                    rows.add(cell, start=round(service.seconds_to_serving, 3), mib=round(service.memory_mib(), 1))
    of = rows.where(scenario="0", subject=subject.model)
    lines = [(row["round"], figure(row["start"], 2), figure(row["mib"])) for row in of]
    print(f"\n{table(('round', 'start to SERVING, s', 'MiB then (PSS)'), lines)}\n")
