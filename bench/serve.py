"""Start-up time, memory and throughput of `eyasd server`: `python bench/serve.py FOLDER`.

Trains a `fast` model on FOLDER first, unless --data-dir has one named `bench`. Then, in turn and several rounds of it, so that a
machine whose speed drifts does not favour anyone:

    loop        decode + ONNX Runtime in a plain loop, one process on core 0, no server: what the core can do
    server cN   `eyasd server` on core 0, N calls at a time of one picture each from a client on core 1

Each figure is the median over the rounds; the ratio is server to loop within a round.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import subprocess
import sys
import time
from pathlib import Path

import machine

import eyas
from eyasd.core.bundle import MANIFEST, MODEL, read_manifest
from eyasd.core.preprocess import load_image
from eyasd.serving.network.session import CPU, Session

CONCURRENCIES = (1, 8, 32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--data-dir", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--part", help=argparse.SUPPRESS)  # this program calls itself for the parts that run on a core of their own
    options = parser.parse_args()
    if options.part:
        run_part(options)
        return
    with machine.scratch() as folder:
        measure(options, options.data_dir or Path(folder))


def measure(options: argparse.Namespace, data_dir: Path) -> None:
    if not (data_dir / "models/bench").exists():
        with machine.daemon("all", data_dir) as trainer, eyas.Client(trainer.address) as client:
            client.wait(client.train(options.folder.resolve(), "bench", preset="fast").id)
    print(machine.describe(), f"\n`python bench/serve.py` on {options.folder.name}\n")
    starts = []
    for _ in range(options.rounds):
        with machine.daemon("server", data_dir) as server:
            starts.append((server.seconds_to_serving, server.memory_mib()))
    middle, least, most = statistics.median(s for s, _ in starts), min(starts)[0], max(starts)[0]
    print(f"start to SERVING, one model: median {middle:.2f} s (from {least:.2f} to {most:.2f})")
    print(f"resident memory then: median {statistics.median(m for _, m in starts):.0f} MiB\n")
    rounds = [one_round(options, data_dir) for _ in range(options.rounds)]
    print("| | pictures/s | of the loop | p50 ms | p99 ms |\n|---|---|---|---|---|")
    for name in rounds[0]:
        rate, p50, p99 = (statistics.median(one[name][figure] for one in rounds) for figure in ("rate", "p50", "p99"))
        ratio = statistics.median(one[name]["rate"] / one["loop"]["rate"] for one in rounds)
        print(f"| {name} | {rate:.1f} | {ratio:.2f} | {p50:.1f} | {p99:.1f} |")


def one_round(options: argparse.Namespace, data_dir: Path) -> dict[str, dict[str, float]]:
    results = {"loop": part(options, data_dir, "loop", core=0)}
    for concurrency in CONCURRENCIES:
        with machine.daemon("server", data_dir, core=0) as server:
            results[f"server c{concurrency}"] = part(options, data_dir, f"{concurrency}@{server.address}", core=1)
    return results


def part(options: argparse.Namespace, data_dir: Path, name: str, core: int) -> dict[str, float]:
    command = ["taskset", "-c", str(core), sys.executable, __file__, str(options.folder), "--data-dir", str(data_dir)]
    done = subprocess.run([*command, "--seconds", str(options.seconds), "--part", name], stdout=subprocess.PIPE, check=True)
    result: dict[str, float] = json.loads(done.stdout)
    return result


def run_part(options: argparse.Namespace) -> None:
    pictures = [path.read_bytes() for path in sorted(options.folder.rglob("*.jpg")) or sorted(options.folder.rglob("*.png"))]
    pictures = random.Random(0).sample(pictures, min(256, len(pictures)))  # noqa: S311 - any sample will do
    if options.part == "loop":
        latencies = loop(options, pictures)
    else:
        concurrency, address = options.part.split("@")
        latencies = asyncio.run(load(address, int(concurrency), pictures, options.seconds))
    latencies.sort()
    quantiles = {f"p{q}": 1000 * latencies[min(len(latencies) - 1, len(latencies) * q // 100)] for q in (50, 99)}
    print(json.dumps({"rate": len(latencies) / options.seconds, **quantiles}))


def loop(options: argparse.Namespace, pictures: list[bytes]) -> list[float]:
    version = max((options.data_dir / "models/bench").glob("[0-9]*"), key=lambda path: int(path.name))
    spec = read_manifest((version / MANIFEST).read_bytes()).preprocess
    session = Session((version / MODEL).read_bytes(), provider=CPU, threads=1, max_batch_size=1)
    session.warm(load_image(pictures[0], spec))
    latencies = []
    start = now = time.perf_counter()
    while now - start < options.seconds:
        session.run(load_image(pictures[len(latencies) % len(pictures)], spec)[None])
        before, now = now, time.perf_counter()
        latencies.append(now - before)
    return latencies


async def load(address: str, concurrency: int, pictures: list[bytes], seconds: float) -> list[float]:
    latencies: list[float] = []
    async with eyas.aio.Client(address) as client:

        async def caller(number: int) -> None:
            while (begin := time.perf_counter()) < end:
                await client.classify("bench", pictures[(number + len(latencies)) % len(pictures)])
                latencies.append(time.perf_counter() - begin)

        end = time.perf_counter() + 1
        await asyncio.gather(*(caller(n) for n in range(concurrency)))  # warms both sides
        latencies.clear()
        end = time.perf_counter() + seconds
        await asyncio.gather(*(caller(n) for n in range(concurrency)))
    return latencies


if __name__ == "__main__":
    main()
