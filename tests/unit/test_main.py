"""__main__: as the first process of a container."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from eyasd.__main__ import main


@pytest.fixture(autouse=True)
def handler() -> Iterator[None]:
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def test_ends_at_sigterm_before_a_daemon_has_begun_to_listen_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getpid", lambda: 1)
    assert main(["config"]) == 0
    with pytest.raises(SystemExit, match="143"):
        signal.raise_signal(signal.SIGTERM)


def test_leaves_signals_as_they_are_elsewhere() -> None:
    before = signal.getsignal(signal.SIGTERM)
    assert main(["config"]) == 0
    assert signal.getsignal(signal.SIGTERM) is before
