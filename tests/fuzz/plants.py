"""Bugs to plant, by which it is seen that the targets find any: each is a line of Eyas that is not there, or does less."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from types import SimpleNamespace
from typing import Any, Final


@dataclass(frozen=True, slots=True)
class Plant:
    """A bug.

    Attributes:
        target: that has to find it.
        module: in which it is.
        name: what is replaced there.
        value: what takes its place.
    """

    target: str
    module: str
    name: str
    value: Any

    def put(self) -> None:
        """Puts it into this process, for good."""
        setattr(import_module(self.module), self.name, self.value)


PLANTS: Final[Mapping[str, Plant]] = {
    # A name may begin with a dot, and be nothing else.
    "dots": Plant("names.names", "eyasd.core.names", "_IDENTIFIER", re.compile(r"[a-z0-9._-]{1,64}")),
    # A number may have any digits, and as many as it likes.
    "digits": Plant("names.pages", "eyasd.api.paging", "_NUMBER", re.compile(r"\d+")),
    # Of a signature the first byte alone is compared.
    "prefix": Plant(
        "tokens.predictions",
        "eyasd.serving.feedback.ids",
        "hmac",
        SimpleNamespace(compare_digest=lambda one, other: one[:1] == other[:1]),
    ),
    # What simplejpeg has no name for is nobody's business.
    "chroma": Plant("pictures.headers", "eyasd.core.jpeg", "_REFUSED", (ValueError,)),
    # Pictures of any size are decoded.
    "sizes": Plant("pictures.pixels", "eyasd.core.preprocess", "_check_size", lambda *_: None),
    # Whatever an archive calls a file, it is written there.
    "outside": Plant("datasets.archives", "eyasd.training.data.unpacked", "inner_parts", lambda name, _: name.split("/")),
    # Weights may lie in any other file.
    "elsewhere": Plant("networks.graphs", "eyasd.core.graph", "_place", lambda _: None),
}
