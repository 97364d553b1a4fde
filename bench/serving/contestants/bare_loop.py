"""No server: the pictures one after another through the decoding and the network, on one thread. `python bare_loop.py TASK`.

What a core can do with this decoding; the task also says `pictures`, a file of them, and `seconds`. Prints what each picture took.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from shared import Task

sys.path.append(str(Path(__file__).parents[2]))
from serving.load import TOLD_EVERY, unpack


def main() -> None:
    given = json.loads(Path(sys.argv[1]).read_text())
    task, pictures = Task(given), unpack(Path(given["pictures"]).read_bytes())
    answers = {number: task.label(pictures[number]) for number in range(0, len(pictures), TOLD_EVERY)}  # warms, too
    seconds: list[float] = []
    start = now = time.perf_counter()
    while now - start < given["seconds"]:
        task.label(pictures[len(seconds) % len(pictures)])
        before, now = now, time.perf_counter()
        seconds.append(now - before)
    json.dump({"answers": answers, "seconds": seconds}, sys.stdout)


if __name__ == "__main__":
    main()
