"""What of its environment a daemon hands on to the programs that it starts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

# The daemon's own settings, among them tokens, keys and the database's password, and what a collector wants to be told.
_OWN: Final = ("EYASD_", "OTEL_EXPORTER_OTLP_HEADERS")


def handed_on(environment: Mapping[str, str]) -> dict[str, str]:
    """Returns all but what is for the daemon alone: who reads hostile networks and pictures need not have it.

    The clouds' credentials stay, as a training program fetches its dataset with them.
    """
    return {name: value for name, value in environment.items() if not name.startswith(_OWN)}
