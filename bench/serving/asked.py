"""The load of a roll-out: every way to ask, until standard input is closed. `python -m serving.asked TASK`.

TASK is JSON with `by_name` and `by_address` (of gRPC), `http`, `model`, `pictures` (a file, see `load.pack`) and `rate`, calls a
second of each kind. Prints JSON: by kind, when each call was due, how long it took and what it failed with.
"""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import astuple
from pathlib import Path
from typing import Any

from serving.load import unpack

import eyas

sys.path.append(str(Path(__file__).parents[2] / "tests"))
from callers import Call, Callers


async def run(task: dict[str, Any]) -> dict[str, list[Call]]:
    callers = Callers(task["model"], unpack(Path(task["pictures"]).read_bytes()), task["rate"])  # noqa: ASYNC240 - before anything runs
    async with (
        eyas.aio.Client(task["by_name"]) as by_name,
        eyas.aio.Client(task["by_name"], retries=False) as by_name_once,
        eyas.aio.Client(task["by_address"]) as by_address,
    ):
        load = asyncio.gather(
            callers.classify("Classify, headless Service", by_name),
            callers.classify("the same, retries=False", by_name_once),
            callers.classify("Classify, Service", by_address),
            callers.stream("ClassifyStream, headless Service", by_name),
            callers.post("HTTP, Service", task["http"]),
        )
        await asyncio.to_thread(sys.stdin.read)
        callers.end()
        await load
    print(f"{callers.refused} calls were refused for want of room, and sent again.", file=sys.stderr)
    return callers.calls


def main() -> None:
    calls = asyncio.run(run(json.loads(sys.argv[1])))
    json.dump({kind: [astuple(call) for call in made] for kind, made in calls.items()}, sys.stdout)


if __name__ == "__main__":
    main()
