"""machine: which keys sign prediction ids, and where versions are loaded from."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
import structlog

from builders import write_bundle
from eyasd.config import read_settings, revealed
from eyasd.core.bundle import MODEL
from eyasd.core.errors import StorageFailed
from eyasd.machine import feedback_keys, messages_of, source_of
from eyasd.registry.models import Models
from eyasd.storage.local import LocalStore
from eyasd.telemetry.metrics import Metrics

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


def test_versions_are_loaded_from_the_registry_and_from_what_is_kept_of_it(
    tmp_path: Path, metrics: Metrics, log: structlog.typing.FilteringBoundLogger
) -> None:
    models = Models(LocalStore(tmp_path / "models"))
    models.publish("colours", write_bundle(tmp_path / "bundle"), "job1")
    assert source_of(read_settings(None, {}), models, metrics, log) is models
    (tmp_path / "a file").touch()
    settings = read_settings(None, {"registry": {"cache_dir": tmp_path / "a file"}})
    with structlog.testing.capture_logs() as lines:
        source_of(settings, models, metrics, structlog.get_logger()).fetch("colours", 1, MODEL)
        for thread in threading.enumerate():
            if thread.name == "model-cache":
                thread.join(60)
    ((level, said),) = [(line["log_level"], line["error"]) for line in lines]
    assert level == "warning"
    assert said.startswith(f"{tmp_path / 'a file'} cannot be used: ")
    assert metrics.model_cache_files.labels("failed").value == 1


GIB = 1024**3


@pytest.mark.parametrize(
    ("settings", "memory", "messages_and_streams"),
    [
        ({}, 64 * GIB, (32, 128)),
        ({}, 10 * GIB, (32, 128)),
        ({}, 2 * GIB, (6, 25)),
        ({}, GIB // 4, (4, 4)),
        ({"streams": 500}, 2 * GIB, (6, 500)),
        ({"arriving_messages": 8, "streams": 16}, 64 * GIB, (8, 16)),
    ],
)
def test_messages_that_come_take_half_of_the_memory_unless_set(
    settings: dict[str, int], memory: int, messages_and_streams: tuple[int, int]
) -> None:
    assert messages_of(read_settings(None, {"api": settings}).api, memory) == messages_and_streams
