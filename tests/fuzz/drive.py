"""Drives one target with atheris, in a process of its own, as the end of a run of libFuzzer is the end of its process.

`python -m fuzz.drive TARGET [--plant BUG] FLAGS`, where FLAGS are libFuzzer's; `fuzz.__main__` is what a person calls.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from random import Random
from typing import Final

import atheris

from fuzz.target import target_of

# What the targets run through, and was not imported yet, tells atheris which branches it takes.
_WATCHED: Final = ["eyasd", "PIL", "aiohttp.multipart", "csv", "jwt", "numpy.lib", "tarfile", "urllib.parse", "zipfile"]
# The share of inputs that are made by who knows the format; libFuzzer makes the others.
_KNOWING: Final = 0.5
# A process that waits for a processor among many others takes so many times as long.
_WAITS: Final = 20


def main() -> None:
    """Never returns."""
    _begin_anew()
    reader = argparse.ArgumentParser(prog="python -m fuzz.drive", description=__doc__)
    reader.add_argument("target")
    reader.add_argument("--plant", help="a bug to find, see `fuzz.plants`")
    asked, flags = reader.parse_known_args()
    with atheris.instrument_imports(include=_WATCHED, enable_loader_override=False):
        target = target_of(asked.target)
        if asked.plant:
            from fuzz.plants import PLANTS

            PLANTS[asked.plant].put()
    longest = 0.0

    def once(data: bytes) -> None:
        nonlocal longest
        began = time.process_time()  # how long the process had to wait for a processor is not the input's doing
        target.check(data)
        took = time.process_time() - began
        if took > longest:
            longest = took
            sys.stderr.write(f"LONGEST {took:.4f}\n")
        assert took < target.seconds, f"It took {took:.1f} s."

    known = target.vary

    def vary(data: bytes, most: int, seed: int) -> bytes:
        random = Random(seed)
        made: bytes = known(data, random) if known and random.random() < _KNOWING else atheris.Mutate(data, most)
        return made[:most]

    with tempfile.NamedTemporaryFile("w", prefix="eyas-fuzz-") as words:
        for word in target.words:
            words.write('"{}"\n'.format("".join(f"\\x{byte:02x}" for byte in word)))
        words.flush()
        limits = [f"-max_len={target.most_bytes}", f"-timeout={_WAITS * target.seconds}", f"-rss_limit_mb={target.megabytes}"]
        arguments = [sys.argv[0], *limits, *([f"-dict={words.name}"] if target.words else []), *flags]
        atheris.Setup(arguments, once, **({"custom_mutator": vary} if known else {}))
        atheris.Fuzz()


def _begin_anew() -> None:
    """Goes on in a child, and ends as that does.

    A process that was begun by vfork is said to have had the most memory that its parent ever had, and libFuzzer believes it.
    """
    if child := os.fork():
        sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))


if __name__ == "__main__":
    main()
