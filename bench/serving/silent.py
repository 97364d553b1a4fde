"""A daemon that counts nothing, to see what counting costs: `python silent.py ARGUMENTS-OF-EYASD`."""

from __future__ import annotations

import sys

from eyasd.__main__ import main
from eyasd.serving.queue import load
from eyasd.telemetry import instruments


class _Nothing:
    """A series of whatever kind, which forgets what it is told."""

    value = 0.0

    def nothing(self, *_: object) -> None:
        """Does nothing."""

    inc = dec = set = set_function = observe = nothing


def silence() -> None:
    """Lets every instrument forget what it is told, and the load of resources, too."""
    series = _Nothing()
    for kind in (instruments.Counter, instruments.Gauge, instruments.Histogram):
        for name in ("inc", "dec", "set", "set_function", "observe"):
            if hasattr(kind, name):
                setattr(kind, name, _Nothing.nothing)
    instruments.Instrument.labels = lambda *_: series  # type: ignore[method-assign,assignment,return-value]
    instruments.Instrument.collect = lambda _: []  # type: ignore[method-assign]
    load.Load.wait = _Nothing.nothing  # type: ignore[method-assign]
    load.FullPace.observe = lambda *_: 0.0  # type: ignore[method-assign]


if __name__ == "__main__":
    silence()
    sys.exit(main())
