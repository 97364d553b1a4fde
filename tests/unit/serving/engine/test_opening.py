"""serving.engine.opening: a version that is opened beside others that answer lets them go first, and then is their equal."""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from builders import colour_network, golden, write_bundle
from eyasd.core.errors import BrokenBundle
from eyasd.core.preprocess import Preprocess
from eyasd.serving.engine.opening import Task, open_version
from eyasd.serving.network import session as sessions
from eyasd.serving.network.precision import Chosen
from eyasd.serving.network.providers import CPU


class NoLog:
    """Hears nothing."""

    def info(self, event: str, **fields: object) -> None: ...

    def warning(self, event: str, **fields: object) -> None: ...


@pytest.fixture
def files(tmp_path: Path) -> Mapping[str, bytes]:
    write_bundle(tmp_path)
    return {file.name: file.read_bytes() for file in tmp_path.iterdir()}


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The niceness of each thread that opened a network, in turn."""
    found: list[int] = []

    class Noted(sessions.Session):
        def __init__(self, *arguments: Any, **named: Any) -> None:
            found.append(os.getpriority(os.PRIO_PROCESS, threading.get_native_id()))
            super().__init__(*arguments, **named)

    monkeypatch.setattr(sessions, "Session", Noted)
    return found


def open_it(files: Mapping[str, bytes], **more: Any) -> Chosen:
    options: dict[str, Any] = {"threads": 1, "aside": False} | more
    task = Task(model="colours", version=1, provider=CPU, precision="auto", max_batch_size=4, max_delay_seconds=0, **options)
    return open_version(task, files, NoLog())


@pytest.mark.parametrize(("threads", "aside", "times"), [(1, False, [0]), (2, False, [0]), (1, True, [19]), (2, True, [19, 0])])
def test_who_opens_beside_others_lets_them_go_first(
    files: Mapping[str, bytes], opened: list[int], threads: int, aside: bool, times: list[int]
) -> None:
    usual = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    chosen = open_it(files, threads=threads, aside=aside)
    assert opened == [max(usual, niceness) for niceness in times]
    assert np.allclose(chosen.session.run(golden().images).probabilities, golden().probabilities, atol=1e-6)
    assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) == usual


@pytest.mark.parametrize("change", [{"preprocess": Preprocess(crop_px=64)}, {"labels": ("blue", "green")}])
def test_a_version_whose_pictures_or_labels_are_not_its_network_s_is_refused(tmp_path: Path, change: dict[str, Any]) -> None:
    write_bundle(tmp_path, **change)
    with pytest.raises(BrokenBundle, match=r"the version sees \[64, 64, 3\]|gives answers of shape"):
        open_it({file.name: file.read_bytes() for file in tmp_path.iterdir()})


@pytest.mark.parametrize(
    "images", [np.zeros((0, 32, 32, 3), np.uint8), np.zeros((3, 32, 32, 3), np.float64), np.zeros(3, np.uint8)]
)
def test_golden_pictures_that_prove_nothing_are_refused(files: dict[str, bytes], images: Any) -> None:
    files["golden.npz"] = replace(golden(), images=images).to_bytes()
    with pytest.raises(BrokenBundle, match=r"golden\.npz has pictures of the sizes"):
        open_it(files)


def test_answers_that_are_no_numbers_are_refused(files: dict[str, bytes]) -> None:
    files["model.onnx"] = colour_network(gain=float("nan"))
    with pytest.raises(BrokenBundle, match="they differ by nan"):
        open_it(files)
