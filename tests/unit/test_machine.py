"""machine: which keys sign prediction ids."""

from __future__ import annotations

from pathlib import Path

import pytest
import structlog

from eyasd.config import read_settings, revealed
from eyasd.core.errors import StorageFailed
from eyasd.machine import feedback_keys
from eyasd.storage.local import LocalStore

NEW, OLD = "a new key for all of them", "the key of last summer"


def test_those_of_the_settings_the_first_of_which_signs(tmp_path: Path, log: structlog.typing.FilteringBoundLogger) -> None:
    settings = read_settings(None, {"serving": {"feedback_key": f"{NEW}, {OLD}"}})
    assert feedback_keys(settings, LocalStore(tmp_path), log) == [NEW, OLD]
    assert read_settings(None, revealed(settings)).serving == settings.serving  # as an acceptor gets them
    assert list(tmp_path.iterdir()) == []


def test_else_that_of_the_repository_or_one_of_this_process(
    tmp_path: Path, log: structlog.typing.FilteringBoundLogger, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = read_settings(None, {})
    (kept,) = feedback_keys(settings, LocalStore(tmp_path), log)
    assert feedback_keys(settings, LocalStore(tmp_path), log) == [kept]

    def read_only(*_: object) -> bool:
        raise StorageFailed("Read-only file system")

    monkeypatch.setattr(LocalStore, "create", read_only)
    assert feedback_keys(settings, LocalStore(tmp_path), log) == [kept]
    with structlog.testing.capture_logs() as lines:
        first, second = (feedback_keys(settings, LocalStore(tmp_path / "elsewhere"), structlog.get_logger()) for _ in range(2))
    assert first != second
    assert [(line["log_level"], line["error"]) for line in lines] == [("warning", "Read-only file system")] * 2
