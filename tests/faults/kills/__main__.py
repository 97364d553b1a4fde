"""`python -m faults.kills KILLS --seed N`, from tests/: kills daemons, trainings and both, and says what must not be and was.

Its exit status is 1 where anything was. With `--plant`, a bug is in the daemons, and something must be found.
"""

from __future__ import annotations

import argparse
import math
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

from postgres import Postgres

from .play import Plan, Play


def main() -> int:
    reader = argparse.ArgumentParser(prog="python -m faults.kills", description=__doc__)
    reader.add_argument("kills", type=int, help="how many, unless the time is over before")
    reader.add_argument("--seed", type=int, default=0)
    reader.add_argument("--seconds", type=float, default=math.inf, help="after which there is no further one")
    reader.add_argument("--postgres", action="store_true", help="two daemons on one PostgreSQL, instead of one with SQLite")
    reader.add_argument("--pause", action="store_true", help="stops past the lease instead of killing, and lets go on; two daemons")
    reader.add_argument("--real", type=float, default=0.0, help="share of trainings that are real ones, of a tiny network")
    reader.add_argument("--plant", default="", help="a bug to find: forgets, again, early, unsaved or skips")
    asked = reader.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))  # and all that it has started with it
    server = Postgres() if asked.postgres or asked.pause else None
    folder, begun = Path(tempfile.mkdtemp(prefix="eyas-kills-")), time.monotonic()
    try:
        database = server.url(server.create()) if server else ""
        plan = Plan(asked.kills, asked.seed, asked.seconds, database, asked.real, asked.pause, asked.plant)
        play = Play(folder, plan)
        history = play.run()
    finally:
        if server:
            server.end()
    for (victim, stage), count in sorted(history.kills.items()):
        sys.stdout.write(f"{count:4} {victim}, {stage}\n")
    counts = f"{sum(history.kills.values())} kills, {len(history.promised)} jobs, {time.monotonic() - begun:.0f} s"
    sys.stdout.write(f"{counts}: {len(history.violations)} violations\n")
    for violation in history.violations:
        sys.stdout.write(f"  {violation}\n")
    if history.violations:
        sys.stdout.write(f"All that was left is in {folder}.\n")
    else:
        shutil.rmtree(folder)
    return int(bool(history.violations))


if __name__ == "__main__":
    sys.exit(main())
