"""Where the requests for each model may lead, and what is kept of them, for servers that ask several times a second.

On a disk a look costs a `stat` a folder, see `registry.remembered`. In an object store it costs a request a prefix, so a server
asks for one small object there, which whoever appends a record changes after it; only where it is another one are the prefixes
listed, and of the records only those read that are new. Who appends a record and dies before the change has told nobody: every
minute a look is taken in any case.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from eyasd.core.capture import CaptureRecord
from eyasd.core.promotion import AliasRecord
from eyasd.core.traffic import Pointers, TrafficRecord
from eyasd.registry.aliases import Aliases
from eyasd.registry.capturing import Capturing
from eyasd.registry.traffic import Traffic
from eyasd.storage.store import Store

LOOK_SECONDS: Final = 60.0
_REQUESTS_AT_ONCE: Final = 8

_Record = AliasRecord | TrafficRecord | CaptureRecord


class Following:
    """The pointers of every model in a store. Safe to use from several threads."""

    def __init__(self, store: Store, aliases: Aliases, traffic: Traffic, capturing: Capturing) -> None:
        self._store, self._aliases, self._traffic, self._capturing = store, aliases, traffic, capturing
        self._lock = threading.Lock()
        self._found: dict[str, Pointers] = {}
        self._news: str | None = None
        self._due = 0.0  # on the clock of time.monotonic
        self._read: dict[str, _Record] = {}  # the newest of each history, by key; none ever changes

    def pointers(self) -> Mapping[str, Pointers]:
        """Returns where the requests for each model may lead, of models that have an alias."""
        news = self._store.news()  # before the look: what changes meanwhile is seen at the next
        if news is None:
            return self._look()
        with self._lock:
            if news != self._news or time.monotonic() >= self._due:
                self._found = self._listed()
                self._news, self._due = news, time.monotonic() + LOOK_SECONDS
            return self._found

    def _look(self) -> dict[str, Pointers]:
        found = {}
        for model in self._store.children(""):
            aliases = {alias: record.version for alias, record in self._aliases.current(model).items()}
            if aliases:
                found[model] = Pointers(aliases, self._traffic.get(model), self._capturing.get(model))
        return found

    def _listed(self) -> dict[str, Pointers]:
        """Returns what `_look` does, by one listing, three a model, and a request for each record that is new."""
        models = self._store.children("")
        with ThreadPoolExecutor(_REQUESTS_AT_ONCE) as threads:
            prefixes = [f"{model}/{kind}" for model in models for kind in ("aliases", "traffic", "capture")]
            # Keys are sorted and numbers are of one length, so of each history the newest comes last.
            newest = {key.rpartition("/")[0]: key for keys in threads.map(self._store.keys, prefixes) for key in keys}
            self._read = dict(zip(newest.values(), threads.map(self._record, newest.values()), strict=True))
        aliases: dict[str, dict[str, int]] = {}
        traffic: dict[str, TrafficRecord] = {}
        capture: dict[str, CaptureRecord] = {}
        for key, record in self._read.items():
            model, _, rest = key.partition("/")
            if isinstance(record, AliasRecord):
                aliases.setdefault(model, {})[rest.split("/")[1]] = record.version
            elif isinstance(record, TrafficRecord):
                traffic[model] = record
            else:
                capture[model] = record
        return {model: Pointers(versions, traffic.get(model), capture.get(model)) for model, versions in sorted(aliases.items())}

    def _record(self, key: str) -> _Record:
        known = self._read.get(key)
        if known is not None:
            return known
        match key.split("/")[1]:
            case "aliases":
                return self._aliases.records.read(key)
            case "traffic":
                return self._traffic.records.read(key)
        return self._capturing.records.read(key)
