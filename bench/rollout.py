"""What callers notice when servers are replaced, rightly and wrongly, and become more and fewer: `python bench/rollout.py`.

The servers are processes, each with an address of its own, and come and go as the pods of a Deployment do (`tests/deployment.py`);
callers hear of it --news seconds late. Half of them know the servers by name, as that of a headless Service, which is asked of a
name server of ours; the others have one address, from which each new connection is passed on, as a Service does. In turn:

    roll out     two servers, a new one first, which is ready for --min-ready seconds before an old one is told to go
    in haste     as a manifest that says nothing does it: an old one is told to go as soon as a new one is ready, and goes at once
    killed       both are killed, one after the other, before there is another in their place
    scaled       from one to three and back
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import machine
from serving.rows import table
from serving.services import percentile
from serving.subject import Subject, photographs, tiny_subject

sys.path.append(str(Path(__file__).parents[1] / "tests"))
from callers import Call
from deployment import Deployment, Steps
from discovery import NameServer, VirtualAddress


@dataclass(frozen=True)
class Rehearsal:
    """What is done to how many servers, `minReadySeconds`, and the lame duck that they are given."""

    name: str
    replicas: int
    min_ready: float
    lame_duck: float
    act: Callable[[Deployment], Awaitable[None]]


async def there_and_back(deployment: Deployment) -> None:
    await deployment.scale(3)
    await asyncio.sleep(10)
    await deployment.scale(1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--subject", choices=("tiny", "photographs"), default="tiny", help="see bench/serve.py (%(default)s)")
    parser.add_argument("--rate", type=float, default=20.0, help="calls a second of each kind (%(default)s)")
    parser.add_argument("--quiet", type=float, default=8.0, help="seconds before anything happens, and after (%(default)s)")
    parser.add_argument("--news", type=float, default=2.0, help="seconds until callers hear of a change (%(default)s)")
    parser.add_argument("--min-ready", type=float, default=5.0, help="minReadySeconds (%(default)s)")
    parser.add_argument("--lame-duck", type=float, default=10.0, help="api.lame_duck_seconds (%(default)s)")
    parser.add_argument("--only", metavar="NAMES", help="of the above, separated by commas")
    parser.add_argument("--data-dir", type=Path, default=Path("build/bench/serve"), help="of the models (%(default)s)")
    options = parser.parse_args()
    rehearsals = (
        Rehearsal("roll out", 2, options.min_ready, options.lame_duck, Deployment.roll),
        Rehearsal("in haste", 2, 0.0, 0.0, Deployment.roll),
        Rehearsal("killed", 2, options.min_ready, options.lame_duck, Deployment.replace_without_drain),
        Rehearsal("scaled", 1, options.min_ready, options.lame_duck, there_and_back),
    )
    wanted = options.only.split(",") if options.only else [rehearsal.name for rehearsal in rehearsals]
    if unknown := set(wanted) - {rehearsal.name for rehearsal in rehearsals}:
        parser.error(f"{unknown.pop()!r} is none of {', '.join(rehearsal.name for rehearsal in rehearsals)}.")
    options.data_dir.mkdir(parents=True, exist_ok=True)
    subject = tiny_subject(options.data_dir) if options.subject == "tiny" else photographs(options.data_dir, None)
    print(f"{machine.describe()}\n\n`python bench/rollout.py {' '.join(sys.argv[1:])}`\n")
    for rehearsal in rehearsals:
        if rehearsal.name in wanted:
            print(asyncio.run(rehearse(rehearsal, subject, options)), flush=True)


async def rehearse(rehearsal: Rehearsal, subject: Subject, options: argparse.Namespace) -> str:
    """Returns the table of a rehearsal."""
    port, http_port = machine.free_port(), machine.free_port()
    steps = Steps(min_ready=rehearsal.min_ready, news=options.news)
    settings = {"EYASD_API__LAME_DUCK_SECONDS": str(rehearsal.lame_duck), "EYASD_TELEMETRY__LOG_LEVEL": "WARNING"}
    with machine.scratch() as scratch:
        pictures = subject.write_pictures(Path(scratch))
        async with NameServer() as names, VirtualAddress([port, http_port]) as service:

            def hear(addresses: Sequence[str]) -> None:
                names.addresses = service.addresses = addresses

            deployment = Deployment(subject.data_dir, port, hear, steps, settings, http_port, Path(scratch, "log"))
            try:
                await deployment.scale(rehearsal.replicas)
                await asyncio.sleep(options.news)
                task = {
                    "by_name": names.target(port),
                    "by_address": f"{service.host}:{port}",
                    "http": f"{service.host}:{http_port}",
                    "model": subject.model,
                    "pictures": str(pictures),
                    "rate": options.rate,
                }
                load = await asyncio.create_subprocess_exec(
                    *(sys.executable, "-m", "serving.asked", json.dumps(task)),
                    cwd=Path(__file__).parent,
                    stdin=asyncio.subprocess.PIPE,
                    stdout=asyncio.subprocess.PIPE,
                )
                await asyncio.sleep(options.quiet)
                begin = time.time()
                await rehearsal.act(deployment)
                exits = await deployment.settle()
                took = time.time() - begin
                await asyncio.sleep(options.quiet)
                said, _ = await load.communicate(b"")
            finally:
                await deployment.close()
    calls = {kind: [Call(*one) for one in made] for kind, made in json.loads(said).items()}
    return f"**{rehearsal.name}**: {took:.0f} s, pods ended with {exits}\n\n{_table(calls, begin)}\n"


def _table(calls: dict[str, list[Call]], begin: float) -> str:
    lines = []
    for kind, made in calls.items():
        quiet = [call.seconds for call in made if call.start < begin - 1 and not call.error]
        during = [call.seconds for call in made if call.start >= begin - 1 and not call.error]
        figures = (percentile(quiet, 50), percentile(quiet, 99), percentile(during, 50), percentile(during, 99), max(during))
        failed = sum(bool(call.error) for call in made)
        lines.append([kind, f"{len(made):,}", str(failed), *(f"{1000 * seconds:,.0f}" for seconds in figures)])
        for error in sorted({call.error for call in made if call.error}):
            print(f"{kind}: {error}", file=sys.stderr)
    return table(("", "calls", "failed", "p50 quiet, ms", "p99 quiet", "p50 meanwhile", "p99 meanwhile", "longest"), lines)


if __name__ == "__main__":
    main()
