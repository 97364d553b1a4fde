"""`python -m faults.siege --minutes N --seed S`, from tests/: everything at once, under load, and what must not be and was.

Its exit status is 1 where anything was. With `--plant`, a bug is in the daemons, and something must be found.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from pprint import pformat

from postgres import Postgres
from s3_server import S3Server

from .siege import Plan, Siege
from .table import rows


def main() -> int:
    reader = argparse.ArgumentParser(prog="python -m faults.siege", description=__doc__)
    reader.add_argument("--minutes", type=float, default=30.0, help="after which nothing further is done to it")
    reader.add_argument("--seed", type=int, default=0)
    reader.add_argument("--plant", default="", help="a bug to find, of programs/plants.py")
    asked = reader.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))  # and all that it has started with it
    folder = Path(tempfile.mkdtemp(prefix="eyas-siege-"))
    plan = Plan(asked.seed, seconds=60 * asked.minutes, real=not asked.plant, plant=asked.plant)
    with ExitStack() as stack:
        store, postgres = S3Server(folder / "s3"), Postgres()
        stack.callback(store.close)
        stack.callback(postgres.end)
        siege = Siege(folder, plan, store, postgres)
        siege.run()
    sys.stdout.write("".join(f"{row}\n" for row in rows(siege)))
    for violation in siege.violations:
        sys.stdout.write(f"  {violation}\n")
    if siege.violations:
        (folder / "record").write_text(pformat(siege.record, width=132))
        sys.stdout.write(f"All that was left is in {folder}.\n")
    else:
        shutil.rmtree(folder)
    return int(bool(siege.violations))


if __name__ == "__main__":
    sys.exit(main())
