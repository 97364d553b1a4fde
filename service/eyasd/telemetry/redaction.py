"""What is left out of logs and traces: credentials, and what callers call their files.

A caller is told his own words; whoever reads a log is told what it takes to find the call again. A path becomes the beginning of
its digest, so that lines about the same file can still be told to be.
"""

from __future__ import annotations

import re
from hashlib import sha256
from typing import Any, Final

_HIDDEN: Final = "***"
# What is before the @ of an address, and behind its ?, where presigned ones have their signature.
_USER: Final = re.compile(r"(\b[a-z][a-z0-9+.-]*://)[^/@\s'\"]*@", re.IGNORECASE)
_QUERY: Final = re.compile(r"(\b[a-z][a-z0-9+.-]*://[^\s?'\"<>]*)\?[^\s'\"<>]*", re.IGNORECASE)
_BEARER: Final = re.compile(r"\b(bearer|basic)\s+[A-Za-z0-9._~+/=-]{6,}", re.IGNORECASE)
# Tokens that `eyasd token` makes, and JSON web tokens, which begin with {" in base64.
_TOKEN: Final = re.compile(r"\beyas_[A-Za-z0-9_-]{20,}|\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]*")
# KEY=VALUE and KEY: VALUE, also in JSON and in a dictionary's repr.
_NAMED: Final = re.compile(
    r"((?:password|passwd|secret|token|api[_-]?key|access[_-]?key(?:[_-]?id)?|authorization|signature|credential)\w*['\"]?\s*[=:]\s*['\"]?)"
    r"[^\s'\",;&})]{4,}",
    re.IGNORECASE,
)
# An address of a place or a path: in quotes whatever it holds, else up to where a word ends.
_QUOTED: Final = re.compile(r"(?<!\w)(['\"])([^'\"\n]*/[^'\"\n]*)\1(?!\w)")
_PLACE: Final = re.compile(r"(?<![\w.:/@-])((?:[a-z][a-z0-9+.-]*:/)?(?:/[^\s/'\"`,;:()<>]+)+/?)")
# Names of ours that have a / and are no paths.
_NAME: Final = r"[\w.-]{1,64}"
_OF_A_MODEL: Final = rf"/versions/\d+|/(aliases|captured)/{_NAME}|/(policy|traffic|capture)"
_OURS: Final = re.compile(rf"jobs/{_NAME}|(models|datasets)/{_NAME}({_OF_A_MODEL})?|{_NAME}/\d+")


def without_credentials(text: str) -> str:
    """Returns a text without what would let its reader in somewhere."""
    if "://" in text:
        text = _QUERY.sub(rf"\1?{_HIDDEN}", _USER.sub(rf"\1{_HIDDEN}@", text))
    return _TOKEN.sub(_HIDDEN, _NAMED.sub(rf"\1{_HIDDEN}", _BEARER.sub(rf"\1 {_HIDDEN}", text)))


def redacted(text: str) -> str:
    """Returns a text that holds what callers have sent, without credentials, and with digests in the place of paths."""
    text = without_credentials(text)
    if "/" not in text:
        return text
    return _PLACE.sub(lambda found: place(found[1]), _QUOTED.sub(lambda found: f"{found[1]}{place(found[2])}{found[1]}", text))


def place(name: str) -> str:
    """Returns what is said of where a dataset or a file is: the name of an uploaded one, or what kind of a place, and a digest."""
    if "/" not in name or _OURS.fullmatch(name):
        return name
    scheme, found, _ = name.partition("://")
    digest = sha256(name.encode(errors="replace")).hexdigest()[:8]
    return f"{scheme if found else 'path'}:{digest}"


def fields(value: Any) -> Any:
    """Returns a value of a log's line, or of a traceback's, without credentials."""
    if isinstance(value, str):
        return without_credentials(value)
    if isinstance(value, dict):
        return {key: fields(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [fields(one) for one in value]
    return value
