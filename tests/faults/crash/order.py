"""Whether a power cut would have taken back what was acknowledged: read from the order of the calls.

A file is flushed before it gets its name; a folder is flushed after a name in it changed, and all is flushed before somebody is
told. Hidden files and SQLite's shared index are nothing that anybody looks for afterwards, and the name of its log is its own care.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import PurePath

from faults.crash.scenario import SCRATCH
from faults.crash.shim import Call

_CONTENT = ("write", "truncate", "allocate")


def unordered(calls: Iterable[Call], passing: Iterable[str]) -> Iterator[str]:
    """Yields what is wrong with the order, a sentence each; `passing` are names that nobody needs afterwards."""
    state = _Unflushed({SCRATCH, *passing})
    for call in calls:
        if call.is_note:
            yield from state.at_note(call.path)
        elif call.what in _CONTENT:
            state.content.add(call.path)
        elif call.what == "flush":
            state.flush(call.path)
        elif call.what in {"rename", "link"}:
            if call.path in state.content:
                yield f"{call.other} gets its name before its content is flushed"
            state.named(call.other)
        elif call.what in {"mkdir", "open", "unlink"}:
            state.named(call.path)
            if call.what == "unlink":
                state.content.discard(call.path)


class _Unflushed:
    """What is in the kernel's memory alone: files with content, and names by their folders."""

    def __init__(self, passing: set[str]) -> None:
        self._passing = passing
        self.content: set[str] = set()
        self._names: dict[str, str] = {}

    def named(self, path: str) -> None:
        """A name came or went."""
        if self._matters(path) and not path.endswith("-wal"):
            self._names[str(PurePath(path).parent)] = path

    def flush(self, path: str) -> None:
        """A file or a folder is on the disk."""
        self.content.discard(path)
        self._names.pop(path, None)

    def at_note(self, note: str) -> Iterator[str]:
        """Yields what is told too early."""
        for path in [*sorted(self.content), *self._names.values()]:
            if self._matters(path):
                yield f"{note!r} is told before {path} is on the disk"

    def _matters(self, path: str) -> bool:
        parts = PurePath(path).parts
        return not (parts[-1].startswith(".") or parts[-1].endswith("-shm") or self._passing.intersection(parts))
