"""What is fuzzed: a function of bytes that keeps an invariant, and what makes bytes worth trying.

A check returns where the bytes were read rightly, or refused with the error of Eyas that its callers know; anything else that it
raises has been found, and so is a hang. Knows nothing of what drives it: hypothesis and the standing inputs in `make test`,
atheris in `make fuzz`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from random import Random
from typing import Final, cast

from hostile.damage import damaged

# Of a sentence that people read; a message may quote what it refuses, in part.
_MOST_CHARACTERS: Final = 2_000

Vary = Callable[[bytes, Random], bytes]


@dataclass(frozen=True, slots=True)
class Target:
    """One thing that reads what strangers send.

    Attributes:
        name: within its module; of `headers` in `pictures`, the full one is `pictures.headers`.
        check: the invariant; raises where it does not hold.
        seeds: returns what inputs begin with, the same each time.
        words: that the format knows.
        vary: returns another input, made from one as only who knows the format can; None leaves that to libFuzzer.
        most_bytes: of an input.
        seconds: of a processor that an input may take.
        megabytes: that the process may have, some 170 of which are its own.
    """

    name: str
    check: Callable[[bytes], None]
    seeds: Callable[[], Iterable[bytes]]
    words: tuple[bytes, ...] = ()
    vary: Vary | None = None
    most_bytes: int = 4_096
    seconds: int = 5
    megabytes: int = 500


def varied(target: Target, data: bytes, random: Random) -> bytes:
    """Returns another input, made without atheris: damaged, mostly as only who knows the format can, or with a word more."""
    if target.words and random.random() < 0.2:
        at = random.randrange(len(data) + 1)
        return (data[:at] + random.choice(target.words) + data[at:])[: target.most_bytes]
    return (target.vary or damaged)(data, random)[: target.most_bytes]


def target_of(full: str) -> Target:
    """Returns the target of a full name; imports no module but its own. Raises LookupError."""
    module, _, name = full.partition(".")
    if module in modules():
        for target in import_module(f"fuzz.targets.{module}").TARGETS:
            if target.name == name:
                return cast("Target", target)
    raise LookupError(full)


def modules() -> list[str]:
    """Returns the modules that have targets."""
    return sorted(path.stem for path in (Path(__file__).parent / "targets").glob("*.py"))


def names() -> list[str]:
    """Returns the full names of all targets."""
    return [f"{module}.{target.name}" for module in modules() for target in import_module(f"fuzz.targets.{module}").TARGETS]


def sentence(message: str) -> str:
    """Returns a message if a person can read it: it is neither empty nor endless, and has words."""
    assert message.strip() == message, message[:500]
    assert 10 < len(message) < _MOST_CHARACTERS, message[:500]
    assert message.count(" ") >= 3, message[:500]
    return message


def split(data: bytes, pieces: int) -> list[bytes]:
    """Returns an input as so many pieces, which a byte 0 separates; what is not there is empty."""
    found = data.split(b"\0", pieces - 1)
    return found + [b""] * (pieces - len(found))


def text_of(data: bytes) -> str:
    """Returns any bytes as the text that a protobuf string, which is always UTF-8, could hold."""
    return data.decode(errors="replace")
