"""The load of a rolling restart: eyas's own client, which knows several servers, by a timetable. `python -m serving.balanced TASK`.

TASK is JSON with `addresses`, `model`, `pictures` (a file, see `load.pack`), `rate`, `seconds`, `seed` and `retries`. Prints
JSON like `serving.load`.
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
import time
from pathlib import Path
from typing import Any

from serving.load import unpack

import eyas

OK, FAILED = 0, 2


async def run(task: dict[str, Any]) -> list[tuple[float, float, int, int]]:
    pictures = unpack(Path(task["pictures"]).read_bytes())  # noqa: ASYNC240 - before anything runs
    random_ = random.Random(task["seed"])  # noqa: S311
    calls: list[tuple[float, float, int, int]] = []

    async with eyas.aio.Client("ipv4:" + ",".join(task["addresses"]), retries=task["retries"]) as client:

        async def call(due: float, picture: bytes) -> None:
            try:
                await client.classify(task["model"], picture)
            except eyas.EyasError as error:
                print(error, file=sys.stderr)
                calls.append((due - start, time.perf_counter() - due, FAILED, 0))
            else:
                calls.append((due - start, time.perf_counter() - due, OK, 0))

        start = due = time.perf_counter()
        running = set()
        while due < start + task["seconds"]:
            await asyncio.sleep(due - time.perf_counter())
            one = asyncio.create_task(call(due, random_.choice(pictures)))
            running.add(one)
            one.add_done_callback(running.discard)
            due += random_.expovariate(task["rate"])
        await asyncio.gather(*running)
    return calls


def main() -> None:
    task = json.loads(sys.argv[1])
    began = time.time()
    used = time.process_time()
    calls = asyncio.run(run(task))
    load_cpu = (time.process_time() - used) / (time.time() - began)
    figures = {"began": began, "seconds": task["seconds"], "calls": calls, "load_cpu": load_cpu}
    json.dump(figures | {"server_cpu": 0.0, "lag_ms": 0.0, "answers": {}}, sys.stdout)


if __name__ == "__main__":
    main()
