"""Tries the images with real containers: `make image-check`, or `python docker/check.py --engine podman server-cpu trainer`.

Each container has what the restricted pod security standard leaves it, and less: a root file system that is read-only, no
capability, no way to more rights, no network but its own loopback. The trainer trains handwritten digits, and the servers answer
with what it has published in a volume. What is found is printed as docs/benchmarks.md has it.
"""

from __future__ import annotations

import argparse
import json
import secrets
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "examples"))

import demo  # noqa: E402

VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
TARGETS = {
    "server": f"localhost/eyas-server:{VERSION}",
    "server-cpu": f"localhost/eyas-server:{VERSION}-cpu",
    "trainer": f"localhost/eyas-trainer:{VERSION}",
}
TOKEN = secrets.token_hex(16)
BARE = ("--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges", "--network=none", "--tmpfs=/tmp")
MODULES = {"server": set[str](), "server-cpu": set[str](), "trainer": {"torch"}}
TRAIN = ("--model", "digits", "--preset", "fast", "--set", "image_size_px=64", "--set", "horizontal_flip=false")
WANTED_ACCURACY = 0.8
CLASSIFY = """
import os, pathlib, eyas
paths = sorted(pathlib.Path("/pictures/test").glob("*/*"))[::10]
with eyas.Client("127.0.0.1:50051", token=os.environ["EYASD_API__TOKEN"]) as client:
    answers = [client.classify("digits", path.read_bytes()).label for path in paths]
print(sum(answer == path.parent.name for answer, path in zip(answers, paths)) / len(paths))
"""
ZOMBIES = """
import pathlib
print(sum(path.read_text().rpartition(")")[2].split()[0] == "Z" for path in pathlib.Path("/proc").glob("[0-9]*/stat")))
"""
PATIENCE_SECONDS = 180


class Wrong(Exception):
    """An image is not as it should be; the message says how."""


class Engine:
    """What runs containers."""

    def __init__(self, program: str) -> None:
        self._program = program

    def __call__(self, *words: str | Path, stdin: str | None = None) -> str:
        """Returns what a command says."""
        done = subprocess.run([self._program, *words], input=stdin, capture_output=True, text=True, check=False)
        if done.returncode:
            raise Wrong(
                f"`{self._program} {' '.join(map(str, words[:4]))} ...` ended with {done.returncode}: {done.stderr.strip()[-2000:]}"
            )
        return done.stdout

    def told(self, name: str) -> dict[str, Any]:
        """Returns what is known of a container or an image."""
        known: list[dict[str, Any]] = json.loads(self("inspect", name))
        return known[0]

    def log(self, name: str) -> list[dict[str, Any]]:
        """Returns what a daemon has logged, on its standard error."""
        done = subprocess.run([self._program, "logs", name], capture_output=True, text=True, check=False)
        return [json.loads(line) for line in done.stderr.splitlines() if line.startswith("{")]

    @contextmanager
    def container(self, image: str, *options: str) -> Iterator[str]:
        """Starts a container, yields its name, and has it end in order."""
        name = f"eyas-{secrets.token_hex(4)}"
        self("run", "--detach", "--name", name, *BARE, "--env", f"EYASD_API__TOKEN={TOKEN}", *options, image)
        try:
            yield name
            self.stop(image, name)
        except Wrong:
            for line in self.log(name)[-20:]:
                sys.stderr.write(f"{line}\n")
            raise
        finally:
            with suppress(Wrong):
                self("rm", "--force", "--volumes", name)

    def stop(self, image: str, name: str) -> None:
        """Has a container end in order."""
        self("stop", "--time", "60", name)
        status = self.told(name)["State"]["ExitCode"]
        if status or self.log(name)[-1]["event"] != "stopped":
            raise Wrong(f"{image} was told to end and did not do so in order; its exit status is {status}.")


def main() -> int:
    """Tries the images, and returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", default="podman", choices=["podman", "docker"])
    parser.add_argument("targets", nargs="*", default=list(TARGETS), help="of the Dockerfile; the trainer is tried with a server")
    options = parser.parse_args()
    engine = Engine(options.engine)
    demo.HOME.mkdir(exist_ok=True)
    pictures = demo.write_digits(demo.HOME.resolve() / "digits")
    volume = f"eyas-{secrets.token_hex(4)}"
    engine("volume", "create", volume)
    rows = {}
    try:
        for target in sorted(options.targets, reverse=True):  # the trainer, then servers
            image, attempt = TARGETS[target], try_trainer if target == "trainer" else try_server
            look(engine, target)
            rows[image] = {"size": f"{engine.told(image)['Size'] / 1e6:,.0f} MB", **attempt(engine, image, volume, pictures)}
    except Wrong as wrong:
        sys.stderr.write(f"image-check: {wrong}\n")
        return 1
    finally:
        engine("volume", "rm", "--force", volume)
    report(rows)
    return 0


def look(engine: Engine, target: str) -> None:
    """Looks at what is in an image, and at what it says of itself."""
    image = TARGETS[target]
    told = engine.told(image)["Config"]
    labels = told["Labels"]
    expect(image, "user", told["User"], "1000:1000")
    expect(image, "entry point", told["Entrypoint"], ["eyasd"])
    expect(image, "version", labels["org.opencontainers.image.version"], VERSION)
    expect(image, "licence", labels["org.opencontainers.image.licenses"], "Apache-2.0")
    if not health(engine, image):
        raise Wrong(f"{image} has no health check: build it with --format docker.")
    found = json.loads(
        engine("run", "--rm", "-i", *BARE, "--entrypoint", "python", image, "-", stdin=(ROOT / "docker/inside.py").read_text())
    )
    expect(image, "user who runs", found["user"], "1000:1000")
    for what in ("tools", "writable", "uncompiled"):
        expect(image, what, found[what], [])
    expect(image, "modules", set(found["modules"]), MODULES[target])
    expect(image, "bill of materials", found["listed"], found["installed"])


def expect(image: str, what: str, found: object, wanted: object) -> None:
    """Compares."""
    if found != wanted:
        raise Wrong(f"{image}: {what} is {found!r}, and should be {wanted!r}.")


def health(engine: Engine, image: str) -> list[str]:
    """Returns the command that asks a container of an image whether it is SERVING."""
    told = engine.told(image)
    check = told.get("Healthcheck") or told["Config"].get("Healthcheck") or {}
    words: list[str] = check.get("Test", [])
    return words[1:]


def try_trainer(engine: Engine, image: str, volume: str, pictures: Path) -> dict[str, str]:
    """Trains, and leaves a version in the volume."""
    roots = ("--env", 'EYASD_TRAINING__DATA_ROOTS=["/pictures"]')  # as it has a token, it reads uploads alone otherwise
    with engine.container(image, *roots, *mounts(volume, pictures)) as name:
        row = await_serving(engine, image, name)
        began = time.monotonic()
        told = json.loads(engine("exec", name, "eyas", "train", "/pictures", *TRAIN, "--token", TOKEN, "--json"))
        seconds = time.monotonic() - began
        accuracy = told["evaluation"]["accuracy"]
        if accuracy < WANTED_ACCURACY:
            raise Wrong(f"{image} has learned digits with an accuracy of {accuracy}.")
        if left := int(engine("exec", "-i", name, "python", "-", stdin=ZOMBIES)):
            raise Wrong(f"{image}: {left} processes have ended, and nobody has waited for them.")
        return {**row, "its work": f"digits trained in {seconds:.0f} s, accuracy {accuracy:.3f}"}


def try_server(engine: Engine, image: str, volume: str, pictures: Path) -> dict[str, str]:
    """Has a server answer with what the trainer has published."""
    with engine.container(image, *mounts(volume, pictures)) as name:
        row = await_serving(engine, image, name)
        right = float(engine("exec", "-i", name, "python", "-", stdin=CLASSIFY))
        if right < WANTED_ACCURACY:
            raise Wrong(f"{image} is right about {right:.0%} of the digits.")
        return {**row, "its work": f"{right:.0%} of the digits right"}


def mounts(volume: str, pictures: Path) -> tuple[str, ...]:
    """Returns the options that give a container the data folder and the digits."""
    return "--volume", f"{volume}:/var/lib/eyas", "--volume", f"{pictures}:/pictures:ro"


def await_serving(engine: Engine, image: str, name: str) -> dict[str, str]:
    """Waits until the health check of the image is content, and returns how long the daemon took and what it holds."""
    check, end = health(engine, image), time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            engine("exec", name, *check)
            break
        except Wrong as wrong:
            if time.monotonic() > end or not engine.told(name)["State"]["Running"]:
                raise Wrong(f"{image} is not SERVING after {PATIENCE_SECONDS} s: {wrong}") from wrong
            time.sleep(0.5)
    began = datetime.fromisoformat(engine.told(name)["State"]["StartedAt"])
    serving = next(line for line in engine.log(name) if line["event"] == "serving")
    seconds = (datetime.fromisoformat(serving["timestamp"]) - began).total_seconds()
    return {
        "start to SERVING": f"{seconds:.1f} s",
        "memory then": engine("stats", "--no-stream", "--format", "{{.MemUsage}}", name).split()[0],
    }


def report(rows: Mapping[str, Mapping[str, str]]) -> None:
    """Prints a table."""
    heads = ["image", *next(iter(rows.values()))]
    for cells in (heads, ["---"] * len(heads), *([name, *row.values()] for name, row in rows.items())):
        print(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    sys.exit(main())
