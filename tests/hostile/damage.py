"""Bytes that are nearly what they were: flipped, cut, doubled, moved; or as formats break, with sums that tell of it mended."""

from __future__ import annotations

import json
import struct
import tarfile
import zlib
from collections.abc import Callable
from random import Random
from typing import Any, Final

_PNG: Final = b"\x89PNG\r\n\x1a\n"
_NUMBERS: Final = (
    b"\0",
    b"\1",
    b"\x7f",
    b"\x80",
    b"\xff",
    b"\xff\xff",
    b"\x7f\xff\xff\xff",
    b"\x80\0\0\0",
    b"\xff\xff\xff\xff",
    b"\0\0\0\0",
)
# What no document of Eyas may hold, or what is at the edge of what it may.
_VALUES: Final[tuple[Any, ...]] = (
    None, True, False, 0, -1, 1, 2, 1e300, -0.0, 0.5, 2**31, 2**63 - 1, 2**63, -(2**63) - 1, 10**400, 1e-320, "", " ", "\0",
    "\ud800", "..", "../x", "/", "a" * 70_000, "1970-01-01T00:00:00+00:00", "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59-14:00",
    "2026-02-30", [], {}, [[]], [0], {"": 0}, [None], ["a", "a"],
)  # fmt: skip
_BARE: Final = (
    b"NaN",
    b"-Infinity",
    b"1e999",
    b"-0",
    b"1" * 5_000,
    b"[" * 3_000,
    b'{"a":' * 2_000,
    b"\xff",
    b'"\\ud800"',
    b"\xef\xbb\xbf",
)


def damaged(data: bytes, random: Random) -> bytes:
    """Returns the bytes with one to five things wrong with them."""
    made = bytearray(data)
    for _ in range(random.choice((1, 1, 2, 3, 5))):
        _CHANGES[random.randrange(len(_CHANGES))](made, random)
    return bytes(made)


def damaged_png(data: bytes, random: Random) -> bytes:
    """Returns a damaged picture; where it is a PNG, mostly with the sums of its chunks as they should be."""
    made = damaged(data, random)
    return summed_png(made) if made.startswith(_PNG) and random.random() < 0.8 else made


def summed_png(data: bytes) -> bytes:
    """Returns a PNG whose chunks have the sums that they should have, as far as there are chunks."""
    made, place = bytearray(data), len(_PNG)
    while place + 12 <= len(made):
        end = place + 8 + int.from_bytes(made[place : place + 4])
        if end + 4 > len(made):
            break
        made[end : end + 4] = struct.pack(">I", zlib.crc32(made[place + 4 : end]))
        place = end + 4
    return bytes(made)


def damaged_tar(data: bytes, random: Random) -> bytes:
    """Returns a damaged tar, mostly with the sums of its headers as they should be."""
    made = bytearray(damaged(data, random))
    if random.random() < 0.8:
        for place in range(0, len(made) - tarfile.BLOCKSIZE + 1, tarfile.BLOCKSIZE):
            block = made[place : place + tarfile.BLOCKSIZE]
            if block[257:262] == b"ustar":
                made[place + 148 : place + 156] = b"%06o\0 " % (sum(block[:148]) + 8 * 32 + sum(block[156:]))
    return bytes(made)


def damaged_json(data: bytes, random: Random) -> bytes:
    """Returns a JSON document in which a value, or a key, is another, is gone, or is there twice; or damaged bytes."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return damaged(data, random)
    holders = _holders(document)
    if not holders or random.random() < 0.2:
        return damaged(data, random)
    for _ in range(random.choice((1, 1, 2))):
        _change(random.choice(holders), random)
    made = json.dumps(document, ensure_ascii=random.random() < 0.5).encode(errors="surrogatepass")
    if random.random() < 0.2:  # what `json` would not write
        made = made.replace(random.choice((b"0", b"1", b'"', b"null", b"true")), random.choice(_BARE), 1)
    return made


def _holders(document: Any) -> list[Any]:
    """Returns the lists and objects of a document that hold something."""
    found, left = [], [document]
    while left:
        one = left.pop()
        if isinstance(one, dict | list) and one:
            found.append(one)
            left += one.values() if isinstance(one, dict) else one
    return found


def _change(holder: Any, random: Random) -> None:
    if not holder:
        return
    key = random.choice(list(holder)) if isinstance(holder, dict) else random.randrange(len(holder))
    kind = random.randrange(5)
    if kind == 0:
        del holder[key]
    elif kind == 1 and isinstance(holder, list):
        holder += [holder[key]] * random.choice((1, 2, 100))
    elif kind == 1:
        holder[random.choice(("", "x", "format_version", f"{key}x"))] = holder[key]
    elif kind == 2 and isinstance(holder[key], int | float) and abs(holder[key]) < 2**64:
        holder[key] = random.choice((-holder[key], holder[key] + 1, holder[key] * 1e9, str(holder[key]), float(holder[key])))
    else:
        holder[key] = random.choice(_VALUES)


def _at(made: bytearray, random: Random) -> int:
    return random.randrange(len(made) + 1)


def _flip(made: bytearray, random: Random) -> None:
    if made:
        made[random.randrange(len(made))] ^= 1 << random.randrange(8)


def _set(made: bytearray, random: Random) -> None:
    if made:
        made[random.randrange(len(made))] = random.randrange(256)


def _number(made: bytearray, random: Random) -> None:
    at, number = _at(made, random), random.choice(_NUMBERS)
    made[at : at + len(number)] = number


def _cut(made: bytearray, random: Random) -> None:
    del made[_at(made, random) :]


def _take_out(made: bytearray, random: Random) -> None:
    at = _at(made, random)
    del made[at : at + random.choice((1, 2, 4, 16, 64))]


def _double(made: bytearray, random: Random) -> None:
    at = _at(made, random)
    piece = made[at : at + random.choice((1, 4, 32, 256))]
    made[at:at] = piece * random.choice((1, 1, 3, 20))


def _move(made: bytearray, random: Random) -> None:
    at, other = _at(made, random), _at(made, random)
    piece = made[at : at + random.choice((1, 4, 32))]
    made[other : other + len(piece)] = piece


def _insert(made: bytearray, random: Random) -> None:
    at = _at(made, random)
    made[at:at] = random.randbytes(random.choice((1, 2, 8)))


_CHANGES: Final[tuple[Callable[[bytearray, Random], None], ...]] = (_flip, _set, _number, _cut, _take_out, _double, _move, _insert)
