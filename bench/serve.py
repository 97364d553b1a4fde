"""Eyas in service beside what its users would write or install instead: `python bench/serve.py FOLDER`.

    0  start         of the daemon, and its memory
    1  photographs   JPEGs of 500 x 375, tf_efficientnet_lite0 at 224 px: pictures/s, and how long each takes
    2  tiny          JPEGs of 32 x 32 and a network of 0.03 ms, so that nothing but the service costs anything; beside a bare echo
    3  overload      twice the capacity is offered: what is answered, how soon the rest is refused, and whether told when to retry
    4  upheaval      versions swapped, daemons restarted in turn, engines killed, under load: calls that fail, or take long
    5  memory        of all processes, for --minutes of load
    6  processes     one acceptor and one engine against two
    7  end to end    JPEG to label with every core but those of the load

The server runs on one core and the load on another (scenarios 6 and 7: on what there is). FOLDER has pictures in one folder a
label; without it, pictures are generated. A model is trained on it first, once, and kept in --data-dir. The other contestants,
programs in bench/serving/contestants, get environments of their own from PyPI. Each thing that is measured is a line in the file of
results; what is there already is not measured again, so an interrupted run goes on where it was, and --rounds 3 adds two rounds to
one. A round of scenarios 0 to 4 takes a quarter of an hour.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable
from pathlib import Path

import machine
from serving import memory, overload, start, throughput, upheaval
from serving.rows import Rows
from serving.services import Environments
from serving.subject import Subject, photographs, tiny_subject

Scenario = Callable[[argparse.Namespace, Rows, Subject, Environments], None]
SCENARIOS: dict[str, tuple[str, str, Scenario]] = {
    "0": ("Start", "photographs", start.start),
    "1": ("A core and its photographs", "photographs", throughput.photographs),
    "2": ("What the service itself costs", "tiny", throughput.tiny),
    "3": ("Twice the capacity offered", "photographs", overload.overload),
    "4": ("Versions, daemons and engines come and go", "photographs", upheaval.upheaval),
    "5": ("Memory", "photographs", memory.memory),
    "6": ("One process of each kind, and two", "photographs", throughput.processes),
    "7": ("JPEG to label with all cores", "photographs", throughput.end_to_end),
}


def main() -> None:
    options = arguments()
    rows, environments = Rows(options.results), Environments(options.environments.resolve())
    print(machine.describe())
    for number in options.scenarios.split(","):
        title, model, scenario = SCENARIOS[number]
        options.data_dir.mkdir(parents=True, exist_ok=True)
        print(f"\n## {number}. {title}\n", flush=True)
        wanted = options.subject or model
        subject = tiny_subject(options.data_dir) if wanted == "tiny" else photographs(options.data_dir, options.folder)
        scenario(options, rows, subject, environments)


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?", help="of pictures, one folder a label; without it they are generated")
    parser.add_argument("--scenarios", default="0,1,2,3,4", help="(%(default)s)")
    parser.add_argument("--contestants", type=lambda names: names.split(";"), metavar="NAMES", help="only these, as A;B (all)")
    parser.add_argument("--rounds", type=int, default=1, help="of scenarios 0 to 4, 6 and 7 (%(default)s)")
    parser.add_argument("--seconds", type=float, default=4.0, help="of each load (%(default)s)")
    parser.add_argument("--overload-seconds", type=float, default=60.0, help="of scenario 3 (%(default)s)")
    parser.add_argument("--minutes", type=float, default=30.0, help="of scenario 5 (%(default)s)")
    parser.add_argument("--events", default="swap,restart,kill", help="of scenario 4 (%(default)s)")
    parser.add_argument("--subject", choices=("photographs", "tiny"), help="other than the scenario's own")
    parser.add_argument("--results", type=Path, default=Path("build/bench/serve.jsonl"), help="(%(default)s)")
    parser.add_argument("--data-dir", type=Path, default=Path("build/bench/serve"), help="of the daemon (%(default)s)")
    parser.add_argument("--environments", type=Path, default=Path("build/bench"), help="of the others (%(default)s)")
    parser.add_argument("--server-cores", default="0", help="as taskset reads them (%(default)s)")
    parser.add_argument("--load-cores", default=str((os.cpu_count() or 1) - 1), help="(%(default)s)")
    parser.add_argument("--load-processes", type=int, default=1, help="that share the calls of a load (%(default)s)")
    parser.add_argument(
        "--all-cores", default=None, help="of the server in scenarios 6 and 7 (all but those of the load, if more than two)"
    )
    options = parser.parse_args()
    if unknown := set(options.scenarios.split(",")) - set(SCENARIOS):
        parser.error(f"{unknown.pop()!r} is no scenario; those are {', '.join(SCENARIOS)}.")
    if options.folder and not options.folder.is_dir():
        parser.error(f"{str(options.folder)!r} is no folder.")
    if options.all_cores is None and (cores := os.cpu_count() or 1) > 2:
        options.all_cores = f"0-{cores - 2}"
    return options


if __name__ == "__main__":
    main()
