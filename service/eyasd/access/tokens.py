"""Tokens of their own: a file, or a folder of files as a mounted Secret is, of lines that hold a digest of each.

    NAME sha256:DIGEST ROLES [expires=TIME]
    shop sha256:9f86d081884c7d65...  classify:clothing*,feedback  expires=2027-01-01

Tokens are random and 256 bits long, so that one digest of SHA-256 keeps them as well as a slow hash keeps a password. Several lines
may have one name: the new token of somebody stands beside the old one until all have the new one.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from eyasd.access.identity import Identity, Kind
from eyasd.access.roles import Grant, parse_grants, written

_PREFIX: Final = "eyas_"  # by which scanners of sources and of logs know one
_BYTES: Final = 32
_MOST_BYTES: Final = 4 * 1024 * 1024
NAME: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._@-]{0,62}[A-Za-z0-9])?", re.ASCII)
_DIGEST: Final = re.compile(r"sha256:([0-9a-f]{64})", re.ASCII)
_EXPIRES: Final = "expires="
_FORM: Final = "write NAME sha256:DIGEST ROLES, and expires=TIME if need be, as `eyasd token` does"
# What is told of a line may be in a log.
_SECRET: Final = re.compile(rf"{_PREFIX}|[0-9a-f]{{32}}")
_NO_NAME: Final = "is no name: use 1 to 64 letters, digits and . _ @ -, with a letter or digit at both ends"


@dataclass(frozen=True, slots=True)
class Entry:
    """What a line says.

    Attributes:
        identity: whose token it is.
        expires: after which it opens nothing; None is never.
    """

    identity: Identity
    expires: datetime | None


class Tokens:
    """The tokens of some lines."""

    def __init__(self, entries: Mapping[bytes, Entry] | None = None) -> None:
        """Takes what `parse` returned: what each token's digest stands for."""
        self._entries = dict(entries or {})

    def __len__(self) -> int:
        return len(self._entries)

    def find(self, token: str) -> Entry | None:
        """Returns whose a token is, expired or not; None where it is nobody's."""
        # Found by a digest, whose bytes a stranger cannot choose one by one, so that the time of it tells nothing of other tokens.
        return self._entries.get(digest_of(token))

    @classmethod
    def parse(cls, texts: Mapping[str, str]) -> Tokens:
        """Returns the tokens of texts, by where they are from.

        Raises:
            ValueError: a line is not as it must be; the message says which, and nothing of its digest.
        """
        entries: dict[bytes, Entry] = {}
        for place, text in texts.items():
            for number, line in enumerate(text.splitlines(), 1):
                if line.strip() and not line.lstrip().startswith("#"):
                    digest, entry = _entry(line, f"{place}, line {number}")
                    if digest in entries:
                        raise ValueError(f"{place}, line {number}: the token of {entry.identity.name} is in another line, too")
                    entries[digest] = entry
        return cls(entries)


def read_texts(path: Path) -> dict[str, str]:
    """Returns the texts of a file, or of the files of a folder, by their names; what begins with a dot is none of them.

    Raises:
        OSError: it cannot be read.
        ValueError: it is too large, or no text.
    """
    files = sorted(one for one in path.iterdir() if not one.name.startswith(".") and one.is_file()) if path.is_dir() else [path]
    texts = {}
    for file in files:
        with file.open("rb") as opened:
            content = opened.read(_MOST_BYTES + 1)
        if len(content) > _MOST_BYTES:
            raise ValueError(f"{file} has over {_MOST_BYTES:,} bytes")
        try:
            texts[str(file)] = content.decode()
        except UnicodeDecodeError:
            raise ValueError(f"{file} is no text") from None
    return texts


def digest_of(token: str) -> bytes:
    """Returns what is kept of a token, 32 bytes whatever its length."""
    return hashlib.sha256(token.encode(errors="surrogateescape")).digest()


def make_token() -> str:
    """Returns a new token."""
    return _PREFIX + secrets.token_urlsafe(_BYTES)


def line_of(token: str, name: str, grants: Iterable[Grant], expires: datetime | None) -> str:
    """Returns the line of a token, from which it cannot be told.

    Raises:
        ValueError: nobody may be named so.
    """
    if not NAME.fullmatch(name):
        raise ValueError(f"{name[:80]!r} {_NO_NAME}")
    until = f" {_EXPIRES}{expires.astimezone(UTC).strftime('%Y-%m-%dT%H:%M:%SZ')}" if expires is not None else ""
    return f"{name} sha256:{digest_of(token).hex()} {written(grants)}{until}"


def expiry(text: str, now: datetime) -> datetime:
    """Returns the time that is so many days from now, `90d`, or a date or time.

    Raises:
        ValueError: it is neither.
    """
    if re.fullmatch(r"[0-9]{1,5}d", text, re.ASCII):
        return now + timedelta(days=int(text[:-1]))
    return _time(f"{_EXPIRES}{text}")


def _entry(line: str, place: str) -> tuple[bytes, Entry]:
    words = line.split()
    if len(words) not in {3, 4}:
        raise ValueError(f"{place}: {_FORM}")
    name, digest, roles = words[:3]
    found = _DIGEST.fullmatch(digest)
    if not NAME.fullmatch(name):
        raise ValueError(f"{place}: the first word {_NO_NAME}")  # not repeated, as it may be a token, or hold the digest of one
    if found is None:
        raise ValueError(f"{place}: the second word is not sha256: and 64 hexadecimal digits; was a token written there itself?")
    try:
        grants = parse_grants(roles)
        expires = _time(words[3]) if len(words) == 4 else None
    except ValueError as error:
        told = f"a word stands where another should: {_FORM}" if _SECRET.search(str(error)) else error
        raise ValueError(f"{place}: {told}") from None
    return bytes.fromhex(found[1]), Entry(Identity(name, Kind.TOKEN, grants), expires)


def _time(word: str) -> datetime:
    if word.startswith(_EXPIRES):
        try:
            time = datetime.fromisoformat(word.removeprefix(_EXPIRES))
        except ValueError:
            pass
        else:
            return time if time.tzinfo else time.replace(tzinfo=UTC)
    raise ValueError(f"{word[:80]!r} is not expires= and a time such as 2027-01-31 or 2027-01-31T12:00:00Z")
